//! Reads every file of a folder once before a run: a bad file stops it at the start and not hours
//! later, and what values mean is decided over all files together.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::decode::{
    self, Form, ImageRule, Labels, MAX_CHANNELS, Orientation, Range, Raster, Samples, ValueRange,
    value_range,
};
use super::folder::{Dataset, MaskFile, Pair};
use super::loader::panicked;
use super::masks::{Request, Tally, Undecided};
use super::parallel::{Merge, gather};
use super::source::is_turned;
use super::{DataError, Reading, windows};

/// What the files of a folder hold, by part.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// For training.
    pub train: PartSurvey,
    /// For validation.
    pub val: PartSurvey,
    /// For `evaluate`.
    pub test: PartSurvey,
    /// All parts together.
    pub all: PartSurvey,
    /// Different images in training that are in validation or in the test as well, pixel for pixel.
    pub leaked: usize,
    /// A mask that is one of several of its image.
    union: Option<PathBuf>,
}

/// What the files of one part of a folder hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartSurvey {
    /// Number of images.
    pub samples: usize,
    /// Lowest height and lowest width of an image, in pixels; 0 without images.
    pub min_size: (usize, usize),
    /// Highest height and highest width.
    pub max_size: (usize, usize),
    /// Height and width of each image.
    pub sizes: BTreeMap<PathBuf, (usize, usize)>,
    /// The lowest and the highest width over height; 0 without images.
    pub aspects: (f64, f64),
    /// Images by their channels: how many, and one of them.
    pub forms: BTreeMap<Form, (usize, PathBuf)>,
    /// The range of images of integers with more than 8 bits, and of images of floats.
    pub ranges: [Option<ValueRange>; 2],
    /// Images that are read in another way than most.
    pub oddities: Oddities,
    /// The values of the masks.
    pub masks: Tally,
    /// A sum of hashes of each name with the pixels of image and mask: it changes with any of them, and
    /// not with their order.
    pub fingerprint: u64,
    /// Hashes of the pixels of each image.
    contents: BTreeSet<u64>,
}

/// Numbers of images that are read in another way than most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// More than 8 bits.
    pub deep: usize,
    /// Turned by EXIF.
    pub turned: usize,
    /// The mask was drawn on the pixels as stored, and is turned with them.
    pub masks_turned: usize,
    /// White shows through.
    pub transparent: usize,
    /// More pages or frames than the first, which is read.
    pub paged: usize,
    /// Some values are not finite.
    pub non_finite: usize,
}

impl Survey {
    /// Reads the files of `dataset` on `workers` threads (0: [`default_workers`]). `progress` is
    /// called with (done, all) after each image, from any of the threads.
    ///
    /// [`default_workers`]: super::default_workers
    ///
    /// # Errors
    /// The error of a single bad image or mask, or [`DataError::Several`].
    pub fn of(
        dataset: &Dataset,
        workers: usize,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self, DataError> {
        let parts = [&dataset.train, &dataset.val, &dataset.test];
        let pairs = || {
            (0..)
                .zip(parts)
                .flat_map(|(part, pairs)| pairs.iter().map(move |it| (part, it)))
        };
        let pairs: Vec<(usize, &Pair)> = pairs().collect();
        let look = |found: &mut [PartSurvey; 3], index: usize| {
            let (part, pair) = pairs[index];
            match catch_unwind(AssertUnwindSafe(|| PartSurvey::of(pair))) {
                Ok(one) => found[part].merge(one?),
                Err(panic) => return Err(panicked(pair.stem.clone(), panic.as_ref())),
            }
            Ok(())
        };
        let [train, val, test] = gather(pairs.len(), workers, progress, look)?;
        let elsewhere: BTreeSet<u64> = val.contents.union(&test.contents).copied().collect();
        let mut all = PartSurvey::default();
        for part in [&train, &val, &test] {
            all.merge(part.clone());
        }
        Ok(Self {
            all,
            leaked: train.contents.intersection(&elsewhere).count(),
            union: pairs.iter().find_map(|(_, pair)| one_of_several(pair)),
            train,
            val,
            test,
        })
    }

    /// How to read the files of this folder, with as many channels as were asked for, or else as the images
    /// have.
    ///
    /// # Errors
    /// [`Undecided`] if the values of the masks or the images have more than one meaning, or those of
    /// masks not the one that was asked for.
    pub fn reading(
        &self,
        channels: Option<usize>,
        request: &Request,
    ) -> Result<Reading, Undecided> {
        let image = self.image_rule(channels)?;
        let mask = self.all.masks.decide(request)?;
        if let (true, Some(path)) = (mask.num_classes > 1, &self.union) {
            return Err(Undecided {
                reason: format!(
                    "`{}` is one of several masks of an image, which can have only one class, not {}",
                    path.display(),
                    mask.num_classes
                ),
                values: Vec::new(),
                advice: "save the classes of all pixels of an image in one file".to_owned(),
            });
        }
        Ok(Reading { image, mask })
    }

    /// Values of images with more than 8 bits are spread from the lowest to the highest, unless they use
    /// the range that they are stored in: floats from 0 to 1, and integers up to white. Colours share their
    /// range, and other channels have each its own.
    fn image_rule(&self, channels: Option<usize>) -> Result<ImageRule, Undecided> {
        let channels = self.channels(channels)?;
        let found = match &self.all.ranges {
            [Some(_), Some(_)] => {
                return Err(Undecided {
                    reason: "some images hold floats, and others integers of more than 8 bits"
                        .to_owned(),
                    values: Vec::new(),
                    advice: "save all images in one of these forms".to_owned(),
                });
            }
            [range, None] | [None, range] => range.as_ref(),
        };
        let mut ranges: Vec<Range> = match found {
            None => Vec::new(),
            Some(found) if self.are_shown(channels) => found.of_all().into_iter().collect(),
            Some(found) => {
                let nominal = found.nominal();
                let spread = |range: Option<Range>| {
                    let is_spread = |it: &Range| it.low < it.high && !found.is_nominal(*it);
                    range.filter(is_spread).unwrap_or(nominal)
                };
                found.of_each(channels).into_iter().map(spread).collect()
            }
        };
        if found.is_some_and(|found| ranges.iter().all(|it| found.is_nominal(*it))) {
            ranges.clear();
        }
        let rule = ImageRule { channels, ranges };
        debug_assert!(rule.is_sound(), "{rule:?}");
        Ok(rule)
    }

    /// Whether all images are gray or RGB, seen in `channels`: what is transparent in them shows white.
    pub fn are_shown(&self, channels: usize) -> bool {
        self.all.forms.keys().all(|form| form.is_shown_as(channels))
    }

    /// Channels of all images: those that were asked for, if each image has them or can be shown in them,
    /// or else those of most.
    ///
    /// # Errors
    /// [`Undecided`] with an image that has others.
    pub fn channels(&self, asked: Option<usize>) -> Result<usize, Undecided> {
        let forms = &self.all.forms;
        let mut natural: BTreeMap<usize, usize> = BTreeMap::new();
        for (form, (count, _)) in forms {
            *natural.entry(form.natural()).or_default() += count;
        }
        let most = natural.iter().max_by_key(|(_, count)| **count);
        let wanted = asked.unwrap_or(most.map_or(3, |(channels, _)| *channels));
        let mut others = forms.iter().filter(|(form, _)| !form.becomes(wanted));
        let Some((form, (_, path))) = others.next() else {
            return Ok(wanted);
        };
        let alpha = if form.has_alpha() { " and alpha" } else { "" };
        let has = format!("`{}` has {}{alpha}", path.display(), form.colours);
        let reason = match asked {
            Some(_) => format!("{has}, not {wanted}"),
            None => format!("others have {wanted}, but {has}"),
        };
        Err(Undecided {
            reason: format!("the channels of the images differ: {reason}"),
            values: Vec::new(),
            advice: "gray is read as 1 channel or as 3, RGB as 3, and other images in as many as they have, alpha \
                     included: save all of them in one form"
                .to_owned(),
        })
    }
}

fn one_of_several(pair: &Pair) -> Option<PathBuf> {
    match &pair.mask {
        MaskFile::One(_) => None,
        MaskFile::Union(paths) => paths.first().cloned(),
    }
}

impl PartSurvey {
    /// Number of windows of this size in an epoch, if images are not resized but cut.
    pub fn num_windows(&self, window: (usize, usize)) -> usize {
        let sizes = self.sizes.values();
        sizes.map(|&it| windows::num_covering(it, window)).sum()
    }

    fn of(pair: &Pair) -> Result<Self, DataError> {
        let image = decode::raster(&pair.image)?;
        if image.channels > MAX_CHANNELS {
            return Err(DataError::TooManyChannels {
                path: pair.image.clone(),
                channels: image.channels,
            });
        }
        let mut found = Self::of_image(&pair.image, &image);
        let (size, origin) = ((image.height, image.width), image.origin);
        // It may be large, and so may the mask.
        drop(image);
        let mut united: Option<(&Path, Labels)> = None;
        for path in pair.mask.paths() {
            let labels = decode::labels(path)?;
            let of_mask = (labels.height, labels.width);
            if is_turned(path, of_mask, &pair.image, size, origin)? {
                found.oddities.masks_turned = 1;
            }
            match &mut united {
                Some((_, united)) if united.values.len() == labels.values.len() => {
                    for (value, other) in united.values.iter_mut().zip(labels.values) {
                        *value = (*value).max(other);
                    }
                }
                _ => united = Some((path, labels)),
            }
        }
        let mut hash = Fnv::default();
        hash.bytes(pair.stem.as_bytes());
        found.contents.iter().for_each(|&it| hash.word(it));
        if let Some((path, labels)) = united {
            labels.values.iter().for_each(|&it| hash.word(it.into()));
            found.masks = Tally::of(path, &labels);
        }
        found.fingerprint = hash.0;
        Ok(found)
    }

    fn of_image(path: &Path, image: &Raster) -> Self {
        let size = (image.height, image.width);
        let aspect = size.1 as f64 / size.0.max(1) as f64;
        let range = value_range(image);
        let is_float = matches!(image.samples, Samples::F32(_));
        let mut hash = Fnv::default();
        for side in [size.0, size.1, image.channels] {
            hash.word(side as u64);
        }
        for colour in image.palette.iter().flatten() {
            hash.bytes(colour);
        }
        match &image.samples {
            Samples::U8(samples) => hash.bytes(samples),
            Samples::U16(samples) => samples.iter().for_each(|&it| hash.word(it.into())),
            Samples::U32(samples) => samples.iter().for_each(|&it| hash.word(it.into())),
            Samples::F32(samples) => samples.iter().for_each(|it| hash.word(it.to_bits().into())),
        }
        Self {
            samples: 1,
            min_size: size,
            max_size: size,
            sizes: BTreeMap::from([(path.to_owned(), size)]),
            aspects: (aspect, aspect),
            oddities: Oddities {
                deep: range.is_some().into(),
                turned: (image.origin.orientation != Orientation::NoTransforms).into(),
                masks_turned: 0,
                transparent: image.is_transparent().into(),
                paged: (image.origin.pages > 1).into(),
                non_finite: (image.num_non_finite() > 0).into(),
            },
            forms: BTreeMap::from([(image.form(), (1, path.to_owned()))]),
            ranges: if is_float {
                [None, range]
            } else {
                [range, None]
            },
            masks: Tally::default(),
            fingerprint: 0,
            contents: BTreeSet::from([hash.0]),
        }
    }
}

/// FNV-1a over words: snapshots keep its results, and the standard library's hash may change with a
/// version.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    const fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
        // A product carries only upwards.
        self.0 ^= self.0 >> 32;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for &word in words {
            self.word(u64::from_le_bytes(word));
        }
        for &byte in rest {
            self.word(byte.into());
        }
        self.word(bytes.len() as u64);
    }
}

impl Merge for PartSurvey {
    fn merge(&mut self, other: Self) {
        if self.samples == 0 {
            (self.min_size, self.max_size) = (other.min_size, other.max_size);
            self.aspects = other.aspects;
        } else if other.samples > 0 {
            let ((a0, a1), (b0, b1)) = (self.aspects, other.aspects);
            self.aspects = (a0.min(b0), a1.max(b1));
            let ((h0, w0), (h1, w1)) = (other.min_size, other.max_size);
            self.min_size = (self.min_size.0.min(h0), self.min_size.1.min(w0));
            self.max_size = (self.max_size.0.max(h1), self.max_size.1.max(w1));
        }
        self.samples += other.samples;
        for (mine, other) in self.ranges.iter_mut().zip(other.ranges) {
            *mine = match (mine.take(), other) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
        }
        for (form, (count, path)) in other.forms {
            let (all, one) = self.forms.entry(form).or_insert_with(|| (0, path.clone()));
            *all += count;
            // The same one in whatever order files are read.
            *one = path.min(std::mem::take(one));
        }
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
        self.oddities.merge(other.oddities);
        self.masks.merge(other.masks);
        self.contents.extend(other.contents);
        self.sizes.extend(other.sizes);
    }
}

impl Oddities {
    fn merge(&mut self, other: Self) {
        self.deep += other.deep;
        self.turned += other.turned;
        self.masks_turned += other.masks_turned;
        self.transparent += other.transparent;
        self.paged += other.paged;
        self.non_finite += other.non_finite;
    }
}

impl Merge for [PartSurvey; 3] {
    fn merge(&mut self, other: Self) {
        for (mine, other) in self.iter_mut().zip(other) {
            mine.merge(other);
        }
    }
}
