//! The data of a run: training and validation images, checked, with notes for the user.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::RunConfig;

use super::proposal::Images;
use super::understood::Understood;
use crate::error::Result;
use crate::usage::UsageError;
use data::folder::{Dataset, Pair, SplitOptions, scan as scan_folder};
use data::windows::{Choice, WindowSource};
use data::{
    FolderSource, Loader, LoaderConfig, PartSurvey, Reading, Source, SynthSource, synth, verify,
};

/// Batches that workers keep ahead of the step.
const PREFETCH: usize = 2;

/// Built-in pages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// Pages for training.
    pub train: usize,
    /// Pages for validation, from other seeds.
    pub val: usize,
}

/// The samples of a run, ready to be read.
#[derive(Debug)]
pub struct RunData {
    /// Name of the data in file names.
    pub name: String,
    /// Whether the data is drawn instead of read.
    pub built_in: bool,
    /// Training images, shuffled and augmented.
    pub train: Loader,
    /// Validation images.
    pub val: Loader,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// What looks wrong.
    pub warnings: Vec<String>,
    /// How files become samples; `None` for built-in pages.
    pub reading: Option<Reading>,
    /// A sum that changes with any pixel of the files; `None` for built-in pages.
    pub contents: Option<u64>,
    /// A folder with images that were not trained on; `None` for built-in pages.
    pub images_to_try: Option<PathBuf>,
}

impl RunData {
    /// How many images there are for so many ranks.
    pub fn images(&self, ranks: usize) -> Images {
        Images {
            training: self.train.source().len(),
            validation: self.val.source().len(),
            ranks: u32::try_from(ranks.max(1)).unwrap_or(u32::MAX),
        }
    }

    /// Built-in comic pages.
    ///
    /// # Errors
    /// [`UsageError`] for several classes or other channels; [`Error::Data`](crate::Error::Data) for a size that pages cannot have.
    pub fn built_in(config: &RunConfig, pages: Pages) -> Result<Self> {
        if config.classes != 1 {
            return Err(UsageError::ClassesOfPages {
                classes: config.classes,
            }
            .into());
        }
        if config.in_channels != 3 {
            return Err(UsageError::ChannelsOfPages {
                channels: config.in_channels,
            }
            .into());
        }
        let (h, w) = (config.img_size.height, config.img_size.width);
        let train = SynthSource::new(config.seed, pages.train, h, w)?;
        let val = SynthSource::new(synth::val_seed(config.seed), pages.val, h, w)?;
        let [train, val]: [Arc<dyn Source>; 2] = [Arc::new(train), Arc::new(val)];
        let mut notes = vec![format!("data: built-in comic pages, seed {}", config.seed)];
        for (what, source) in [("train", &train), ("val", &val)] {
            let drawn = verify(source.as_ref(), config.workers as usize, |_, _| ())?;
            notes.push(format!(
                "{what}: {} images of {h}x{w}, foreground {:.1} %",
                drawn.samples,
                100.0 * drawn.foreground()
            ));
        }
        Ok(Self {
            name: name_of(None),
            built_in: true,
            train: training_loader(train, config)?,
            val: Loader::new(val, validation_loader(config))?,
            notes,
            warnings: Vec::new(),
            reading: None,
            contents: None,
            images_to_try: None,
        })
    }

    /// The images and masks of a folder, of which `cache_bytes` may stay decoded in memory.
    ///
    /// # Errors
    /// If a file cannot be read, or a thread cannot be started.
    pub(crate) fn of_folder(
        folder: &Path,
        understood: Understood,
        config: &RunConfig,
        cache_bytes: u64,
    ) -> Result<Self> {
        let (mut notes, warnings) = (understood.notes(), understood.warnings());
        let Understood {
            dataset,
            survey,
            reading,
            ..
        } = understood;
        let images_to_try = to_try(&dataset);
        let contents = survey.train.fingerprint ^ survey.val.fingerprint.rotate_left(1);
        let source =
            |pairs, part, choice| samples_of(pairs, &reading, config, (part, choice), cache_bytes);
        let train = source(dataset.train, &survey.train, Choice::Drawn)?;
        let val = source(dataset.val, &survey.val, Choice::Covering)?;
        if config.crop {
            notes.push(format!(
                "windows of {}: {} per epoch, and {} cover the images for validation",
                config.img_size,
                train.len(),
                val.len()
            ));
        }
        Ok(Self {
            name: name_of(Some(folder)),
            built_in: false,
            train: training_loader(train, config)?,
            val: Loader::new(val, validation_loader(config))?,
            notes,
            warnings,
            reading: Some(reading),
            contents: Some(contents),
            images_to_try,
        })
    }

    /// The same images in batches of another size.
    ///
    /// # Errors
    /// Only the errors of [`Loader::new`].
    pub fn in_batches(self, config: &RunConfig) -> Result<Self> {
        Ok(Self {
            train: training_loader(Arc::clone(self.train.source()), config)?,
            val: Loader::new(Arc::clone(self.val.source()), validation_loader(config))?,
            ..self
        })
    }
}

/// The folder of the images for testing, or else for validation; one of them if masks or images for training lie there
/// as well.
fn to_try(dataset: &Dataset) -> Option<PathBuf> {
    let pair = dataset.test.first().or(dataset.val.first())?;
    let folder = pair.image.parent()?;
    let is_here = |path: &Path| path.parent() == Some(folder);
    let is_mixed = pair.mask.paths().iter().any(|mask| is_here(mask))
        || dataset.train.iter().any(|it| is_here(&it.image));
    Some(if is_mixed { &pair.image } else { folder }.to_owned())
}

/// The name of the data in file names: the folder's name, or a fixed one for the built-in pages.
pub(crate) fn name_of(folder: Option<&Path>) -> String {
    let Some(folder) = folder else {
        return "balloons".to_owned();
    };
    let real = folder.canonicalize().ok();
    real.and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "data".to_owned())
}

/// Scans a folder according to the configuration.
pub(crate) fn scan(folder: &Path, config: &RunConfig) -> Result<Dataset> {
    if folder.is_file() {
        return Err(UsageError::DataIsAFile {
            path: folder.to_owned(),
        }
        .into());
    }
    let options = SplitOptions {
        val_percent: config.val_percent,
        seed: config.seed,
    };
    Ok(scan_folder(folder, &options)?)
}

/// The images of a part of a folder as samples, of which `cache_bytes` may stay decoded in memory: whole, or
/// windows of them.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn samples_of(
    pairs: Vec<Pair>,
    reading: &Reading,
    config: &RunConfig,
    (part, choice): (&PartSurvey, Choice),
    cache_bytes: u64,
) -> Result<Arc<dyn Source>> {
    let (reading, size) = (reading.clone(), size_of(config));
    Ok(if config.crop {
        let source = WindowSource::new(pairs, reading, size, &part.sizes, choice)?;
        Arc::new(source.with_cache_bytes(cache_bytes))
    } else {
        let source = FolderSource::new(pairs, reading, size.0, size.1);
        Arc::new(source.with_cache_bytes(cache_bytes))
    })
}

/// Samples of an epoch on the images of a part of a folder.
pub(crate) fn num_samples(part: &PartSurvey, config: &RunConfig) -> usize {
    if config.crop {
        part.num_windows(size_of(config))
    } else {
        part.samples
    }
}

/// (height, width).
pub(crate) fn size_of(config: &RunConfig) -> (usize, usize) {
    (
        config.img_size.height as usize,
        config.img_size.width as usize,
    )
}

fn training_loader(source: Arc<dyn Source>, config: &RunConfig) -> Result<Loader> {
    let loader = Loader::new(
        source,
        LoaderConfig {
            shuffle: true,
            augment: config.augment,
            ..validation_loader(config)
        },
    )?;
    Ok(loader)
}

/// The loader configuration for validation: all samples, in order, without augmentation.
pub(crate) fn validation_loader(config: &RunConfig) -> LoaderConfig {
    LoaderConfig {
        batch: config.batch as usize,
        workers: config.workers as usize,
        prefetch: PREFETCH,
        shuffle: false,
        seed: config.seed,
        augment: false,
        drop_last: false,
    }
}
