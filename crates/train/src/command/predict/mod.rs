//! `train predict`: masks for images, at the size of the images.

mod inputs;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use config::RunConfig;
use config::cli::{Evaluate, KeyFlags};
use data::encode::ColorType;

use inputs::Input;

use super::console;
use super::evaluate::Loaded;
use super::flags::{DeviceFlag, number};
use crate::error::{Error, Result};
use crate::run::outputs::count;
use crate::run::outputs::samples::save_png;
use crate::run::run_data::size_of;
use crate::run::weights::WeightsFile;
use crate::usage::UsageError;
use data::decode::{self, Decoded, ImageRule};
use data::folder;
use data::{Batch, Sample, masks, resize, windows};
use engine::predictor::Predictor;

/// The threshold of a network that does not know a better one.
const HALF: f64 = 0.5;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("images").args(["input", "list"]).required(true).multiple(true)))]
#[command(mut_arg("crop", |arg| arg.help("Predict images in windows of `--img-size` at their own resolution, instead of \
    whole images scaled to it: on or off; without it, as in training")))]
pub(super) struct PredictArgs {
    /// Weights as `fit` or PyTorch wrote them. Those of `fit` hold the size, the precision and what values
    /// mean; for others, a `config.toml` next to them counts
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Images (PNG, JPEG, TIFF, BMP, WebP, GIF), folders with all that is below them, or patterns such as
    /// `scans/**/*.tif`
    #[arg(long, value_name = "PATH", num_args = 1..)]
    input: Vec<PathBuf>,
    /// Files with an input in each line; `-` reads them from stdin
    #[arg(long, value_name = "FILE", num_args = 1..)]
    list: Vec<PathBuf>,
    /// Folder for the masks, named `STEM_mask.png`, in the subfolders of their images: 0 and 255, or class
    /// indices with a palette
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Probability above which a pixel is foreground (one class); without it, the best in the validation of
    /// the training, or 0.5 for weights that do not know it
    #[arg(long, value_name = "P", value_parser = |text: &str| number(text, 0.0, 1.0))]
    threshold: Option<f64>,
    /// Replace existing masks
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Keep existing masks, and make those that are missing
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    pub(super) keys: KeyFlags<Evaluate>,
    #[command(flatten)]
    device: DeviceFlag,
}

pub(super) fn run(args: &PredictArgs) -> Result<()> {
    let Jobs {
        to_do: jobs,
        num_there,
        missing,
    } = jobs(args)?;
    let weights = WeightsFile::open(&args.weights)?;
    let loaded = Loaded::new(&weights, &args.weights, args.keys.clone(), args.device)?;
    let threshold = threshold(args, &loaded)?;
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io("create", &args.out, e))?;
    let mut predictor = Predictor::new(loaded.evaluator(), threshold);
    let (progress, num) = (count("predicting"), jobs.len());
    let of = num + num_there + missing.len();
    let (mut written, mut failed) = (0, missing);
    for path in &failed {
        console::warn(&format!("nothing is at `{}`", path.display()));
    }
    let mut outcome = Ok(());
    for (nth, (image, mask)) in jobs.into_iter().enumerate() {
        match predict(&loaded, &mut predictor, &image, &mask) {
            Ok(()) => written += 1,
            Err(error) if of > 1 && is_of_one_image(&error) => {
                console::warn(&error.message());
                failed.push(image);
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        progress(nth + 1, num);
    }
    if num_there > 0 {
        console::note(&format!("{num_there} mask(s) were there already"));
    }
    if written > 0 || outcome.is_ok() {
        let out = args.out.display();
        console::print(&format!("wrote {written} mask(s) to {out}"));
    }
    outcome?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::WithoutMask { failed, of })
}

/// Whether other images may succeed where one failed.
fn is_of_one_image(error: &Error) -> bool {
    matches!(error, Error::Data(_)) || error.is_out_of_memory()
}

/// The threshold to use; one that the user did not give is said.
fn threshold(args: &PredictArgs, loaded: &Loaded) -> Result<f64> {
    let classes = loaded.config.classes;
    if args.threshold.is_some() && classes > 1 {
        return Err(UsageError::NoThreshold { classes }.into());
    }
    let known = loaded.threshold.filter(|_| classes == 1);
    Ok(match (args.threshold, known) {
        (Some(given), _) => given,
        (None, Some(known)) => {
            console::note(&format!(
                "threshold: {known}, the best in the validation of the training"
            ));
            known
        }
        (None, None) => HALF,
    })
}

struct Jobs {
    /// Images with the masks to write.
    to_do: Vec<(PathBuf, PathBuf)>,
    /// Number of masks that are there already and stay.
    num_there: usize,
    /// Paths in lists that do not exist, and patterns that match nothing.
    missing: Vec<PathBuf>,
}

/// What is to be done, refused as a whole before the first mask is written.
fn jobs(args: &PredictArgs) -> Result<Jobs> {
    let (inputs, left_out) = inputs::find(&args.input, &args.list, &args.out)?;
    let words = left_out.to_string();
    if !words.is_empty() {
        console::note(&format!("left out: {words}"));
    }
    let num = inputs.len();
    refuse_among_data(args, &inputs)?;
    let mut jobs = Vec::new();
    for input in inputs {
        let mask = args.out.join(&input.mask);
        if !mask.exists() || args.overwrite {
            jobs.push((input.image, mask));
        } else if !args.resume {
            return Err(UsageError::MaskExists { mask }.into());
        }
    }
    Ok(Jobs {
        num_there: num - jobs.len(),
        to_do: jobs,
        missing: left_out.missing,
    })
}

/// Refuses a folder inside a data set where training would take the masks for its own.
fn refuse_among_data(args: &PredictArgs, inputs: &[Input]) -> Result<()> {
    let out = std::path::absolute(&args.out).map_err(|e| Error::io("find", &args.out, e))?;
    let existing = out
        .ancestors()
        .find_map(|it| Some((it, it.canonicalize().ok()?)));
    let out = existing.map_or(out.clone(), |(it, real)| {
        real.join(out.strip_prefix(it).unwrap_or(Path::new("")))
    });
    // Further up are folders of many things, which take long to read.
    let near = out.ancestors().take(3);
    for data in near.filter(|it| folder::holds_both(it)) {
        let own = out.strip_prefix(data).unwrap_or(&out);
        // What an interrupted call wrote is no data.
        let without = args.resume.then_some(own);
        if !matches!(folder::contents(data, &[], without), Ok(Some(_))) {
            continue;
        }
        let masks: Vec<PathBuf> = inputs.iter().map(|it| own.join(&it.mask)).collect();
        let is_read = match folder::contents(data, &masks, without) {
            Ok(Some(all)) => masks
                .iter()
                .any(|it| all.images.contains(it) || all.masks.contains(it)),
            _ => true,
        };
        if is_read {
            let (out, data) = (args.out.clone(), data.to_owned());
            return Err(UsageError::AmongData { out, data }.into());
        }
    }
    Ok(())
}

fn predict(
    loaded: &Loaded,
    predictor: &mut Predictor<'_>,
    image: &Path,
    mask: &Path,
) -> Result<()> {
    let config = &loaded.config;
    let channels = config.in_channels as usize;
    let rule = loaded.reading.as_ref().map(|reading| reading.image.clone());
    let rule = rule.unwrap_or_else(|| ImageRule {
        channels,
        ..ImageRule::default()
    });
    let decoded = decode::image(image, &rule)?;
    let original = (decoded.height, decoded.width);
    let mut rung = |words: &str| {
        let image = image.display();
        console::warn(&format!("`{image}`: out of memory; {words}"));
    };
    let mut answer = classes(config, predictor, decoded, &mut rung)?;
    let (colour, palette) = if config.classes == 1 {
        for value in &mut answer {
            *value *= 255;
        }
        (ColorType::Grayscale, None)
    } else {
        let rule = loaded.reading.as_ref().map(|reading| &reading.mask);
        let palette = rule.map_or_else(masks::voc_palette, masks::MaskRule::palette);
        (ColorType::Indexed, Some(palette))
    };
    if let Some(folder) = mask.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    }
    save_png(mask, &answer, original, colour, palette)
}

/// The class of each pixel of an image: of the image scaled to the network's size, or of windows of that size at the
/// image's own resolution.
fn classes(
    config: &RunConfig,
    predictor: &mut Predictor<'_>,
    image: Decoded,
    rung: &mut dyn FnMut(&str),
) -> Result<Vec<u8>> {
    let channels = config.in_channels as usize;
    let (original, size) = ((image.height, image.width), size_of(config));
    let mut predict = |pixels, answer_size| {
        let mut batch = Batch::new(channels, size.0, size.1);
        let mask = vec![0; size.0 * size.1];
        let image = pixels;
        batch.push(&Sample { image, mask }, 0);
        predictor.predict(&batch, answer_size, rung)
    };
    if !config.crop {
        let pixels = resize::image(image.pixels, channels, original, size)?;
        return Ok(predict(pixels, original)?);
    }
    let mut answer = vec![0; original.0 * original.1];
    // A pixel is at least a quarter of a window away from the edges of the window that answers for it.
    for window in windows::covering(original, size, (size.0 / 2, size.1 / 2)) {
        let pixels = window.cut(&image.pixels, channels, original, size);
        let of_window = predict(pixels, size)?;
        window.paste(&of_window, size.1, &mut answer, original.1);
    }
    Ok(answer)
}
