//! A folder of images and masks, read once, and what was understood, in words.

use std::path::{Path, PathBuf};

use config::keys::KEYS;
use config::{ImageSize, MaskValue, Overrides, Resolved, RunConfig};
use data::alignment::Alignment;
use data::decode::{ImageRule, Range};
use data::folder::Dataset;
use data::masks::{Request, Shares, Undecided, Value};
use data::{DataError, FolderSource, PartSurvey, Reading, Source as _, Survey, Thin};
use serde::Serialize;

use super::outputs::sheet;
use super::run_data;
use crate::error::Result;
use crate::usage::UsageError;

/// A file in a folder of images and masks that lists its classes, in the table of a configuration.
const CLASSES: &str = "classes.toml";

/// How many images are looked at, pairs of neighbours spread evenly over those for training.
const LOOKED_AT: usize = 32;
/// What is wrong with images that are in two parts.
const ELSEWHERE: &str = "in another part as well, pixel for pixel, so scores are too high";
/// What is wrong with floats.
const NON_FINITE: &str = "with non-finite values (NaN or infinite), which are read as the lowest";

/// The share of thin structures above which masks lose what matters.
const TOO_THIN: f64 = 0.2;

/// Classes below this share of the pixels are shown with more digits.
const SMALL_SHARE: f64 = 0.001;

/// A folder of images and masks whose files have all been read.
#[derive(Debug, Clone)]
pub(crate) struct Understood {
    /// Which files belong together.
    pub(crate) dataset: Dataset,
    /// What is in them.
    pub(crate) survey: Survey,
    /// How they become samples.
    pub(crate) reading: Reading,
    /// The file in the folder that lists its classes.
    listed_in: Option<PathBuf>,
    /// Whether masks lie on the edges of their images, as far as [looked at](Self::look).
    alignment: Alignment,
    /// What masks lose when they are resized, and to which size, as far as looked at.
    thin: (Thin, ImageSize),
}

impl Understood {
    /// Reads `folder`, with as many channels and classes as were asked for, or else as its files have. A network is
    /// used on images as it was trained, and on masks as far as their values are the same. `progress`
    /// is called with (done, all) after each image, from several threads.
    ///
    /// # Errors
    /// [`UsageError`], or [`Error::Data`](crate::Error::Data) with the file and what is wrong with it.
    pub(crate) fn read(
        folder: &Path,
        config: &RunConfig,
        asked: Asked,
        trained: Option<&Reading>,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self> {
        let dataset = run_data::scan(folder, config)?;
        let survey = Survey::of(&dataset, config.workers as usize, progress)?;
        let (request, listed_in) = request(folder, config, asked.classes)?;
        let in_channels = asked.in_channels.map(|num| num as usize);
        let reading = decide(&survey, in_channels, request, trained);
        let (reading, is_asked) = reading.map_err(|undecided| DataError::Undecided {
            path: folder.to_owned(),
            undecided: undecided.into(),
        })?;
        Ok(Self {
            dataset,
            survey,
            reading,
            listed_in: listed_in.filter(|_| is_asked),
            alignment: Alignment::default(),
            thin: (Thin::default(), config.img_size),
        })
    }

    /// Looks at some of the images for training with their masks. [`warnings`](Self::warnings) says what is
    /// wrong with them, at the size of `config`; windows of images are not resized, and lose nothing.
    ///
    /// # Errors
    /// As [`Source::load`](data::Source::load).
    pub(crate) fn look(&mut self, config: &RunConfig) -> Result<()> {
        let (source, size) = (self.thumbnails(), run_data::size_of(config));
        let mut all = Thin::default();
        let load = |index| {
            if config.crop {
                return source.load(index);
            }
            let (sample, thin) = source.load_for(index, size)?;
            all += thin;
            Ok(sample)
        };
        self.alignment = Alignment::of(source.len(), LOOKED_AT, sheet::SIDE, load)?;
        self.thin = (all, config.img_size);
        Ok(())
    }

    /// Whether too much of what masks show would vanish at the size that was [looked at](Self::look).
    pub(crate) fn loses_structures(&self) -> bool {
        self.thin.0.share() > TOO_THIN
    }

    /// The images for training in the size of a sheet.
    pub(crate) fn thumbnails(&self) -> FolderSource {
        let (pairs, reading) = (self.dataset.train.clone(), self.reading.clone());
        FolderSource::new(pairs, reading, sheet::SIDE, sheet::SIDE).with_cache_bytes(0)
    }

    /// The images that were looked at, those whose masks fit worst first.
    pub(crate) fn worst_first(&self) -> Vec<usize> {
        self.alignment.worst_first()
    }

    /// The channels of the network's input, as `in_channels` of a configuration.
    pub(crate) fn in_channels(&self) -> u32 {
        u32::try_from(self.reading.image.channels).unwrap_or(u32::MAX)
    }

    /// The classes of the network, as `classes` of a configuration.
    pub(crate) fn num_classes(&self) -> u32 {
        u32::try_from(self.reading.mask.num_classes).unwrap_or(u32::MAX)
    }

    /// Values of masks that are ignored, as `ignore` of a configuration.
    pub(crate) fn ignored(&self) -> Option<Vec<MaskValue>> {
        let ignored: Vec<_> = self
            .reading
            .mask
            .ignored()
            .into_iter()
            .map(written)
            .collect();
        (!ignored.is_empty()).then_some(ignored)
    }

    /// What was understood, one line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut lines = vec![format!("layout: {}", self.dataset.layout)];
        lines.extend(self.dataset.notes.iter().cloned());
        lines.extend(self.images());
        lines.push(self.masks());
        lines.extend(self.ignored_share());
        lines.extend(self.parts().iter().map(Part::line));
        lines
    }

    /// What all pixels for training are, if nothing can be learnt from them.
    pub(crate) fn only_class(&self) -> Option<String> {
        let shares = self.shares(&self.survey.train);
        let mut learnt = shares
            .pixels
            .iter()
            .enumerate()
            .filter(|(_, pixels)| **pixels > 0);
        match (learnt.next(), learnt.next()) {
            (Some((class, _)), None) => Some(self.reading.mask.name_of(class)),
            (None, _) if shares.ignored > 0 => Some("ignored".to_owned()),
            _ => None,
        }
    }

    /// What looks wrong, one line each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let shares = self.shares(&self.survey.train);
        let only = self.only_class();
        if let Some(class) = &only {
            lines.push(format!(
                "masks: every pixel for training is {class}: there is nothing to learn"
            ));
        }
        let missing: Vec<String> = (1..self.reading.mask.num_classes)
            .filter(|&class| shares.pixels[class] == 0 && only.is_none())
            .map(|class| self.reading.mask.name_of(class))
            .collect();
        if !missing.is_empty() {
            lines.push(format!(
                "masks: no image for training shows {}",
                missing.join(", ")
            ));
        }
        match self.survey.all.oddities.non_finite {
            0 => {}
            1 => lines.push(format!("images: one {NON_FINITE}")),
            num => lines.push(format!("images: {num} {NON_FINITE}")),
        }
        let val = self.shares(&self.survey.val);
        if self.survey.val.samples > 0 && only.is_none() && val.foreground() == 0.0 {
            lines.push(
                "masks: no image for validation shows foreground, so every score is 0".to_owned(),
            );
        }
        match self.survey.leaked {
            0 => {}
            1 => lines.push(format!("images: one for training is {ELSEWHERE}")),
            num => lines.push(format!("images: {num} for training are {ELSEWHERE}")),
        }
        let name = |index: usize| self.dataset.train[index].stem.clone();
        lines.extend(self.alignment.warning(name));
        let (thin, size) = self.thin;
        if self.loses_structures() {
            lines.push(format!(
                "masks: {:.0} % of what is not background is thinner than a pixel at {size}: lines break and dots \
                 vanish; a larger `--img-size` or `--crop on` keeps them",
                100.0 * thin.share()
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

    /// Pixels that do not count, if there are values for them.
    fn ignored_share(&self) -> Option<String> {
        let values: Vec<String> = self.ignored()?.iter().map(ToString::to_string).collect();
        let shares = self.shares(&self.survey.all);
        let all = shares.pixels.iter().sum::<u64>() + shares.ignored;
        let share = 100.0 * shares.ignored as f64 / all.max(1) as f64;
        Some(format!(
            "ignored: {share:.1} % of the pixels, with the value {}",
            values.join(", ")
        ))
    }

    fn shares(&self, part: &PartSurvey) -> Shares {
        self.reading.mask.shares(&part.masks)
    }

    /// How images are read, if not all of them are bytes as viewers show them.
    fn images(&self) -> Option<String> {
        let odd = self.survey.all.oddities;
        let mut parts = Vec::new();
        let ImageRule { channels, ranges } = &self.reading.image;
        if *channels != 3 {
            let noun = if *channels == 1 {
                "channel"
            } else {
                "channels"
            };
            parts.push(format!("{channels} {noun}"));
        }
        if odd.deep > 0 {
            let scale = match ranges[..] {
                [] => "scaled by their full range".to_owned(),
                [Range { low, high }] => format!("{low} to {high} become 0 to 255"),
                _ => {
                    let ranges = ranges.iter().map(|it| format!("{} to {}", it.low, it.high));
                    let ranges: Vec<_> = ranges.collect();
                    format!("{} become 0 to 255, channel by channel", ranges.join(", "))
                }
            };
            parts.push(format!("{} of more than 8 bits, {scale}", odd.deep));
        }
        let are_shown = self.survey.are_shown(*channels);
        for (count, what) in [
            (odd.turned, "turned as EXIF says"),
            (odd.masks_turned, "whose mask is turned with them"),
            (
                if are_shown { odd.transparent } else { 0 },
                "transparent, shown on white",
            ),
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
        let listed = self.listed_in.as_ref().map_or_else(String::new, |path| {
            format!(", as `{}` lists them", path.display())
        });
        if rule.num_classes == 1 {
            return format!("masks: {}{listed}", rule.kind);
        }
        let classes = self.classes().into_iter().map(|class| {
            let digits = if class.share < SMALL_SHARE { 3 } else { 1 };
            format!("{} {:.digits$} %", class.name, 100.0 * class.share)
        });
        let classes: Vec<String> = classes.collect();
        format!(
            "masks: {}, {} classes{listed}: {}",
            rule.kind,
            rule.num_classes,
            classes.join(", ")
        )
    }
}

/// What is given before files are read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// Channels of the network's input.
    in_channels: Option<u32>,
    /// Classes of the network.
    classes: Option<u32>,
}

impl Asked {
    /// Those keys of `config` that are given.
    pub(crate) fn of(config: &RunConfig, is_given: impl Fn(&str) -> bool) -> Self {
        let all = Self::all(config);
        Self {
            in_channels: all.in_channels.filter(|_| is_given("in_channels")),
            classes: all.classes.filter(|_| is_given("classes")),
        }
    }

    /// The network of `config`.
    pub(crate) const fn all(config: &RunConfig) -> Self {
        Self {
            in_channels: Some(config.in_channels),
            classes: Some(config.classes),
        }
    }
}

/// How to read the files of `survey`, and whether by `request` rather than as a network was `trained`.
fn decide(
    survey: &Survey,
    in_channels: Option<usize>,
    request: Request,
    trained: Option<&Reading>,
) -> Result<(Reading, bool), Undecided> {
    let Some(trained) = trained else {
        return Ok((survey.reading(in_channels, &request)?, true));
    };
    survey.channels(Some(trained.image.channels))?;
    let (image, masks) = (trained.image.clone(), &survey.all.masks);
    if request.values.is_none() {
        let ignore = request.ignore.as_deref().unwrap_or_default();
        let rule = trained.mask.clone().ignoring(ignore, masks);
        if let Some(mask) = rule.filter(|rule| rule.knows(masks)) {
            return Ok((Reading { image, mask }, false));
        }
        // The classes of other values would be a guess.
        if trained.mask.num_classes > 1 {
            return Err(trained.mask.unknown(masks));
        }
    }
    let ignored = Some(trained.mask.ignored()).filter(|it| !it.is_empty());
    let ignore = request.ignore.clone().or(ignored);
    let found = survey.reading(in_channels, &Request { ignore, ..request })?;
    Ok((Reading { image, ..found }, true))
}

/// What is known of the masks of `folder` before they are read: by the configuration, or else by a
/// `classes.toml` in it, which is returned as well.
fn request(
    folder: &Path,
    config: &RunConfig,
    num_classes: Option<u32>,
) -> Result<(Request, Option<PathBuf>)> {
    let mut request = Request {
        num_classes: num_classes.map(|num| num as usize),
        names: config.class_names.clone(),
        values: config.class_values.as_deref().map(read_values),
        ignore: config.ignore.as_deref().map(read_values),
    };
    let path = folder.join(CLASSES);
    if request.values.is_some() || !path.is_file() {
        return Ok((request, None));
    }
    let Resolved {
        config: listed,
        origins,
    } = config::resolve(None, Some(&path), Overrides::default())?;
    let is_list = |key: &str| ["class_names", "class_values", "ignore"].contains(&key);
    let has_list = listed.class_names.is_some() || listed.class_values.is_some();
    let mut others = KEYS.iter().filter(|key| origins.given_by_user(key.name));
    let belongs = |key: &str| is_list(key) || key == "classes" && has_list;
    let other = others.find(|key| !belongs(key.name));
    if let Some(other) = other {
        let key = other.name;
        return Err(UsageError::NotATableOfClasses { path, key }.into());
    }
    request.names = request.names.or(listed.class_names);
    request.values = listed.class_values.as_deref().map(read_values);
    request.ignore = request.ignore.or(listed.ignore.as_deref().map(read_values));
    Ok((request, Some(path)))
}

fn read_values(values: &[MaskValue]) -> Vec<Value> {
    let read = |value: &MaskValue| match *value {
        MaskValue::Number(number) => Value::Number(number),
        MaskValue::Colour(colour) => Value::Colour(colour),
    };
    values.iter().map(read).collect()
}

const fn written(value: Value) -> MaskValue {
    match value {
        Value::Number(number) => MaskValue::Number(number),
        Value::Colour(colour) => MaskValue::Colour(colour),
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
