//! `train predict`: masks for images, at the size of the images.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use config::cli::{Evaluate, KeyFlags};
use image::ExtendedColorType;

use super::console;
use super::evaluate::Loaded;
use super::flags::DeviceFlag;
use crate::error::{Error, Result};
use crate::run::outputs::samples::save_png;
use crate::run::weights::WeightsFile;
use crate::usage::UsageError;
use data::decode;
use data::{Batch, Sample, resize};
use engine::predictor::Predictor;

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// Weights as `fit` or PyTorch wrote them. Those of `fit` hold the size, the precision and what values
    /// mean; for others, a `config.toml` next to them counts
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// An image, or a folder of images (PNG, JPEG, TIFF, BMP, WebP, GIF)
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// Folder for the masks, named `STEM_mask.png`: 0 and 255, or class indices
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Probability above which a pixel is foreground (one class)
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    threshold: f64,
    /// Replace existing masks
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    pub(super) keys: KeyFlags<Evaluate>,
    #[command(flatten)]
    device: DeviceFlag,
}

pub(super) fn run(args: &PredictArgs) -> Result<()> {
    if !(0.0..=1.0).contains(&args.threshold) {
        let found = args.threshold;
        return Err(UsageError::NotAProbability { found }.into());
    }
    let jobs = jobs(args)?;
    let weights = WeightsFile::open(&args.weights)?;
    let loaded = Loaded::new(&weights, &args.weights, args.keys.clone(), args.device)?;
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io("create", &args.out, e))?;
    let mut predictor = Predictor::new(loaded.evaluator(), args.threshold);
    for (image, mask) in &jobs {
        predict(&loaded, &mut predictor, image, mask)?;
    }
    console::print(&format!(
        "wrote {} mask(s) to {}",
        jobs.len(),
        args.out.display()
    ));
    Ok(())
}

/// Images with the masks to write, refused as a whole before the first is written.
fn jobs(args: &PredictArgs) -> Result<Vec<(PathBuf, PathBuf)>> {
    let images = images_of(&args.input)?;
    let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
    let mut jobs = Vec::new();
    for image in &images {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let mask = args.out.join(format!("{stem}_mask.png"));
        if let Some(other) = taken.insert(mask.clone(), image) {
            return Err(UsageError::OneMaskForTwo {
                first: other.to_owned(),
                second: image.clone(),
                mask,
            }
            .into());
        }
        if mask.exists() && !args.overwrite {
            return Err(UsageError::MaskExists { mask }.into());
        }
        jobs.push((image.clone(), mask));
    }
    Ok(jobs)
}

fn images_of(input: &Path) -> Result<Vec<PathBuf>> {
    if !input.is_dir() {
        if input.is_file() {
            return Ok(vec![input.to_owned()]);
        }
        return Err(Error::io(
            "read",
            input,
            std::io::ErrorKind::NotFound.into(),
        ));
    }
    let mut images = Vec::new();
    for entry in std::fs::read_dir(input).map_err(|e| Error::io("read", input, e))? {
        let path = entry.map_err(|e| Error::io("read", input, e))?.path();
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        let is_image = extension.is_some_and(|it| decode::ENDINGS.contains(&it.as_str()));
        if path.is_file() && is_image {
            images.push(path);
        }
    }
    if images.is_empty() {
        let folder = input.to_owned();
        return Err(UsageError::NoImages { folder }.into());
    }
    images.sort();
    Ok(images)
}

fn predict(
    loaded: &Loaded,
    predictor: &mut Predictor<'_>,
    image: &Path,
    mask: &Path,
) -> Result<()> {
    let config = &loaded.config;
    let rule = loaded.reading.as_ref().map(|reading| reading.image);
    let decoded = decode::image(image, &rule.unwrap_or_default())?;
    let original = (decoded.height, decoded.width);
    let (height, width) = crate::run::run_data::size_of(config);
    let pixels = resize::image(decoded.pixels, original, (height, width))?;
    let mut batch = Batch::new(height, width);
    batch.push(
        &Sample {
            image: pixels,
            mask: vec![0; height * width],
        },
        0,
    );
    let mut rung = |words: &str| {
        let image = image.display();
        console::warn(&format!("`{image}`: out of memory; {words}"));
    };
    let mut answer = predictor.predict(&batch, original, &mut rung)?;
    if config.classes == 1 {
        for value in &mut answer {
            *value *= 255;
        }
    }
    let [h, w] = [original.0, original.1].map(|d| u32::try_from(d).unwrap_or(u32::MAX));
    save_png(mask, &answer, h, w, ExtendedColorType::L8)
}
