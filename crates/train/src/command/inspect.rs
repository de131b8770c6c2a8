//! `train inspect`: what a folder of images and masks holds, and what `fit` would make of it.

use std::path::PathBuf;

use clap::Args;
use config::RunConfig;
use serde::Serialize;

use super::console;
use crate::error::{Error, Result};
use crate::run::outputs::sheet;
use crate::run::understood::{Class, Part, Understood, progress};
use data::{FolderSource, Oddities};

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Folder of images and masks
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Classes of the masks; left out, the masks decide
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..256))]
    classes: Option<u32>,
    /// Also draw images with their masks laid over them, as training sees them
    #[arg(long, value_name = "FILE.png")]
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
    images: Images,
    left_out: Vec<LeftOut>,
    notes: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Images {
    /// Values that become 0 and 255, if those of more than 8 bits are spread.
    range: Option<[f32; 2]>,
    deep: usize,
    turned: usize,
    masks_turned: usize,
    transparent: usize,
    paged: usize,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    path: String,
    reason: String,
}

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let config = RunConfig::default();
    let read = Understood::read(&args.folder, &config, args.classes, None, progress())?;
    if args.json {
        let text = serde_json::to_string_pretty(&Report::of(&read))
            .map_err(|error| Error::io("write", "stdout", error.into()))?;
        console::print(&text);
    } else {
        read.notes().iter().for_each(|line| console::print(line));
        read.warnings().iter().for_each(|line| console::warn(line));
    }
    if let Some(path) = &args.sheet {
        let source = FolderSource::new(read.dataset.train, read.reading, sheet::SIDE, sheet::SIDE);
        let drawn = sheet::write(&source.with_cache_bytes(0), path)?;
        console::note(&format!("drew {drawn} images: {}", path.display()));
    }
    Ok(())
}

impl Report {
    fn of(read: &Understood) -> Self {
        let Oddities {
            deep,
            turned,
            masks_turned,
            transparent,
            paged,
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
            images: Images {
                range: read.reading.image.range.map(|it| [it.low, it.high]),
                deep,
                turned,
                masks_turned,
                transparent,
                paged,
            },
            left_out: left_out.collect(),
            notes: read.dataset.notes.clone(),
            warnings: read.warnings(),
        }
    }
}
