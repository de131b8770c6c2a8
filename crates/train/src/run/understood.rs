//! A folder of images and masks, read once, and what was understood, in words.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use config::RunConfig;
use config::cli::console;
use data::decode::Range;
use data::folder::Dataset;
use data::masks::{Request, Shares};
use data::{DataError, PartSurvey, Reading, Survey};
use serde::Serialize;

use super::run_data;
use crate::error::Result;
use crate::usage::UsageError;

/// Classes below this share of the pixels are shown with more digits.
const SMALL_SHARE: f64 = 0.001;

/// Time after which reading says how far it is, and then again.
const PATIENCE: Duration = Duration::from_secs(5);

/// A folder of images and masks whose files have all been read.
#[derive(Debug, Clone)]
pub(crate) struct Understood {
    /// Which files belong together.
    pub(crate) dataset: Dataset,
    /// What is in them.
    pub(crate) survey: Survey,
    /// How they become samples.
    pub(crate) reading: Reading,
}

impl Understood {
    /// Reads `folder`, with as many classes as were asked for, or else as its masks have. A network is
    /// used on images as it was trained, and on masks as far as their values are the same. `progress`
    /// is called with (done, all) after each image, from several threads.
    ///
    /// # Errors
    /// [`UsageError`], or [`Error::Data`](crate::Error::Data) with the file and what is wrong with it.
    pub(crate) fn read(
        folder: &Path,
        config: &RunConfig,
        num_classes: Option<u32>,
        trained: Option<&Reading>,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self> {
        let dataset = run_data::scan(folder, config)?;
        let survey = Survey::of(&dataset, config.workers as usize, progress)?;
        let request = Request {
            num_classes: num_classes.map(|num| num as usize),
        };
        let masks = &survey.all.masks;
        let reading = match trained {
            Some(trained) if trained.mask.knows(masks) => Ok(trained.clone()),
            // The classes of other values would be a guess.
            Some(trained) if trained.mask.num_classes > 1 => Err(trained.mask.unknown(masks)),
            Some(trained) => survey.reading(&request).map(|found| Reading {
                image: trained.image,
                ..found
            }),
            None => survey.reading(&request),
        };
        let reading = reading.map_err(|undecided| DataError::Undecided {
            path: folder.to_owned(),
            undecided: undecided.into(),
        })?;
        if let Some(value) = reading.mask.ignored().next() {
            let folder = folder.to_owned();
            return Err(UsageError::IgnoreLabel { folder, value }.into());
        }
        Ok(Self {
            dataset,
            survey,
            reading,
        })
    }

    /// The classes of the network, as `classes` of a configuration.
    pub(crate) fn num_classes(&self) -> u32 {
        u32::try_from(self.reading.mask.num_classes).unwrap_or(u32::MAX)
    }

    /// What was understood, one line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut lines = vec![format!("layout: {}", self.dataset.layout)];
        lines.extend(self.dataset.notes.iter().cloned());
        lines.extend(self.images());
        lines.push(self.masks());
        lines.extend(self.parts().iter().map(Part::line));
        lines
    }

    /// What looks wrong, one line each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let shares = self.shares(&self.survey.train);
        let learnt = shares.pixels.iter().filter(|&&pixels| pixels > 0).count();
        if learnt == 1 {
            let class = shares.pixels.iter().position(|&pixels| pixels > 0);
            lines.push(format!(
                "masks: every pixel for training is {}: there is nothing to learn",
                self.reading.mask.name_of(class.unwrap_or(0))
            ));
        }
        let missing: Vec<String> = (1..self.reading.mask.num_classes)
            .filter(|&class| shares.pixels[class] == 0 && learnt > 1)
            .map(|class| self.reading.mask.name_of(class))
            .collect();
        if !missing.is_empty() {
            lines.push(format!(
                "masks: no image for training shows {}",
                missing.join(", ")
            ));
        }
        if self.survey.leaked > 0 {
            lines.push(format!(
                "images: {} different ones for training are in another part as well, pixel for pixel, so scores are too high",
                self.survey.leaked
            ));
        }
        lines
    }

    /// The parts that have images.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let survey = &self.survey;
        let parts = [
            ("train", &survey.train),
            ("val", &survey.val),
            ("test", &survey.test),
        ];
        let parts = parts.into_iter().filter(|(_, part)| part.samples > 0);
        let part = |(name, part): (_, &PartSurvey)| {
            let shares = self.shares(part);
            Part {
                name,
                images: part.samples,
                min_size: part.min_size,
                max_size: part.max_size,
                foreground: shares.foreground(),
                empty_masks: shares.empty,
                full_masks: shares.full,
            }
        };
        parts.map(part).collect()
    }

    /// The classes of the masks, background first.
    pub(crate) fn classes(&self) -> Vec<Class> {
        let shares = self.shares(&self.survey.all);
        let all: u64 = shares.pixels.iter().sum();
        let class = |(class, &pixels)| Class {
            name: self.reading.mask.name_of(class),
            share: pixels as f64 / all.max(1) as f64,
        };
        shares.pixels.iter().enumerate().map(class).collect()
    }

    fn shares(&self, part: &PartSurvey) -> Shares {
        self.reading.mask.shares(&part.masks)
    }

    /// How images are read, if not all of them are bytes as viewers show them.
    fn images(&self) -> Option<String> {
        let odd = self.survey.all.oddities;
        let mut parts = Vec::new();
        if odd.deep > 0 {
            let scale = match self.reading.image.range {
                Some(Range { low, high }) => format!("{low} to {high} become 0 to 255"),
                None => "scaled by their full range".to_owned(),
            };
            parts.push(format!("{} of more than 8 bits, {scale}", odd.deep));
        }
        for (count, what) in [
            (odd.turned, "turned as EXIF says"),
            (odd.masks_turned, "whose mask is turned with them"),
            (odd.transparent, "transparent, shown on white"),
            (odd.paged, "of several pages, of which the first is read"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        (!parts.is_empty()).then(|| format!("images: {}", parts.join("; ")))
    }

    fn masks(&self) -> String {
        let rule = &self.reading.mask;
        if rule.num_classes == 1 {
            return format!("masks: {}", rule.kind);
        }
        let classes = self.classes().into_iter().map(|class| {
            let digits = if class.share < SMALL_SHARE { 3 } else { 1 };
            format!("{} {:.digits$} %", class.name, 100.0 * class.share)
        });
        let classes: Vec<String> = classes.collect();
        format!(
            "masks: {}, {} classes: {}",
            rule.kind,
            rule.num_classes,
            classes.join(", ")
        )
    }
}

/// A part of a folder.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    name: &'static str,
    images: usize,
    /// Height and width in pixels.
    min_size: (usize, usize),
    max_size: (usize, usize),
    /// Share of the pixels that is not background, 0 to 1.
    foreground: f64,
    empty_masks: u64,
    full_masks: u64,
}

impl Part {
    fn line(&self) -> String {
        let ((h0, w0), (h1, w1)) = (self.min_size, self.max_size);
        let sizes = if (h0, w0) == (h1, w1) {
            format!("{h0}x{w0}")
        } else {
            format!("{h0}x{w0} to {h1}x{w1}")
        };
        let (name, images) = (self.name, self.images);
        let foreground = 100.0 * self.foreground;
        let noun = if images == 1 { "image" } else { "images" };
        let mut line = format!("{name}: {images} {noun} of {sizes}, foreground {foreground:.1} %");
        for (count, what) in [(self.empty_masks, "empty"), (self.full_masks, "full")] {
            if count > 0 {
                let noun = if count == 1 { "mask" } else { "masks" };
                line = format!("{line}, {count} {noun} {what}");
            }
        }
        line
    }
}

/// A class of the masks.
#[derive(Debug, Serialize)]
pub(crate) struct Class {
    name: String,
    /// Share of the pixels that count, 0 to 1.
    share: f64,
}

/// Says every few seconds how many images have been read.
pub(crate) fn progress() -> impl Fn(usize, usize) + Sync {
    let said = Mutex::new(Instant::now());
    move |done, all| {
        let Ok(mut said) = said.try_lock() else {
            return;
        };
        if said.elapsed() >= PATIENCE && done < all {
            console::note(&format!("reading: {done} of {all} images"));
            *said = Instant::now();
        }
    }
}
