//! `inspect`: what a folder of images and masks holds, and what `fit`, or `snug train`, would make of it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use config::cli::{Inspect, KeyFlags, program};
use config::{MaskValue, Resolved};
use serde::Serialize;

use super::console;
use super::flags::DeviceFlag;
use crate::error::{Error, Result};
use crate::run::chosen::{Open, choose};
use crate::run::outlook::Outlook;
use crate::run::outputs::{count, sheet};
use crate::run::understood::{Asked, Class, Part, Understood};
use data::{Oddities, Source as _};

#[derive(Debug, Args)]
#[command(mut_arg("crop", |arg| arg.help("Look at windows of `--img-size` cut from images at their own resolution, as \
    training on them would, instead of whole images scaled to it: on or off")))]
pub(super) struct InspectArgs {
    /// Folder of images and masks
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    pub(super) keys: KeyFlags<Inspect>,
    /// Also draw images with their masks laid over them, as training sees them; those whose masks fit worst
    /// come first
    #[arg(long, value_name = "FILE.png", value_parser = PathBufValueParser::new().try_map(png))]
    sheet: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a folder holds, for programs.
#[derive(Debug, Serialize)]
struct Report {
    layout: String,
    parts: Vec<Part>,
    masks: String,
    classes: Vec<Class>,
    /// Values whose pixels do not count.
    ignore: Vec<MaskValue>,
    images: Images,
    left_out: Vec<LeftOut>,
    notes: Vec<String>,
    /// What training would make of the images.
    training: Outlook,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Images {
    /// Channels of the network's input.
    channels: usize,
    /// Values that become 0 and 255, if those of more than 8 bits are spread: of all channels, or of each.
    ranges: Vec<[f32; 2]>,
    deep: usize,
    turned: usize,
    masks_turned: usize,
    transparent: usize,
    paged: usize,
    non_finite: usize,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    path: String,
    reason: String,
}

fn png(path: PathBuf) -> Result<PathBuf, &'static str> {
    let is_png = path
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("png"));
    is_png.then_some(path).ok_or("must end in `.png`")
}

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let Resolved {
        mut config,
        origins,
    } = args.keys.resolve()?;
    let asked = Asked::of(&config, |key| origins.given_by_user(key));
    let mut read = Understood::read(&args.folder, &config, asked, None, count("reading"))?;
    let chosen = if program::is_snug() && args.keys.are_open() {
        let open = Open {
            origins: &origins,
            device: DeviceFlag::default().resolve()?,
            warm: None,
        };
        choose(&mut read, &mut config, &open)?
    } else {
        read.look(&config)?;
        Vec::new()
    };
    let outlook = Outlook::of(&read.survey.train, &config, read.loses_structures());
    if args.json {
        let text = serde_json::to_string_pretty(&Report::of(&read, outlook))
            .map_err(|error| Error::io("write", "stdout", error.into()))?;
        console::print(&text);
    } else {
        read.notes().iter().for_each(|line| console::print(line));
        for it in &chosen {
            console::print(&format!("chosen: {it}"));
        }
        console::print(&outlook.to_string());
        read.warnings().iter().for_each(|line| console::warn(line));
    }
    if let Some(path) = &args.sheet {
        let source = read.thumbnails();
        let worst_first = read.worst_first();
        let drawn = sheet::write(&source, &worst_first, path)?;
        let names: Vec<String> = drawn.iter().map(|&index| source.name(index)).collect();
        console::note(&format!(
            "drew {} images, those whose masks fit worst first: {} ({})",
            names.len(),
            path.display(),
            names.join(", ")
        ));
    }
    Ok(())
}

impl Report {
    fn of(read: &Understood, training: Outlook) -> Self {
        let Oddities {
            deep,
            turned,
            masks_turned,
            transparent,
            paged,
            non_finite,
        } = read.survey.all.oddities;
        let left_out = read.dataset.left_out.iter().map(|it| LeftOut {
            path: it.path.display().to_string(),
            reason: it.reason.to_string(),
        });
        Self {
            layout: read.dataset.layout.clone(),
            parts: read.parts(),
            masks: read.reading.mask.kind.to_string(),
            classes: read.classes(),
            ignore: read.ignored().unwrap_or_default(),
            images: Images {
                channels: read.reading.image.channels,
                ranges: read
                    .reading
                    .image
                    .ranges
                    .iter()
                    .map(|it| [it.low, it.high])
                    .collect(),
                deep,
                turned,
                masks_turned,
                transparent,
                paged,
                non_finite,
            },
            left_out: left_out.collect(),
            notes: read.dataset.notes.clone(),
            training,
            warnings: read.warnings(),
        }
    }
}
