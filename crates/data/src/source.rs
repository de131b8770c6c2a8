//! The sources of samples: a folder, or the generator of comic pages.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::decode::{self, Decoded, ImageRule, Origin};
use super::folder::Pair;
use super::masks::MaskRule;
use super::thin::Thin;
use super::{DataError, resize, synth};

/// Default limit of memory for a source's decoded samples: 512 MiB.
pub const DEFAULT_CACHE_BYTES: u64 = 512 << 20;

/// One image with its mask, both in the size of the [`Source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// `[H, W, C]`.
    pub image: Vec<u8>,
    /// Class of each pixel, `[H, W]`: 0 or 1 for one class, 0 to N-1 for N.
    pub mask: Vec<u8>,
}

impl Sample {
    /// C of its image.
    pub fn channels(&self) -> usize {
        self.image.len() / self.mask.len().max(1)
    }

    /// The image for people, RGB: of more than three channels the first three, and of fewer the first.
    pub fn rgb(&self) -> Cow<'_, [u8]> {
        let channels = self.channels();
        if channels == 3 {
            return Cow::Borrowed(&self.image);
        }
        let pixels = self.image.chunks_exact(channels.max(1));
        pixels
            .flat_map(|pixel| match *pixel {
                [red, green, blue, ..] => [red, green, blue],
                [gray, ..] => [gray; 3],
                [] => [0; 3],
            })
            .collect()
    }
}

/// How the files of a folder become samples, decided by a [`Survey`](super::Survey).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// How values of images become bytes.
    pub image: ImageRule,
    /// How values of masks become classes.
    pub mask: MaskRule,
}

/// Samples by index. All have one size and can be loaded from any thread.
pub trait Source: Send + Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether the source has no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of every sample in pixels, (height, width).
    fn size(&self) -> (usize, usize);

    /// Channels of every image.
    fn channels(&self) -> usize {
        3
    }

    /// Number of images: several samples may be windows of one.
    fn num_images(&self) -> usize {
        self.len()
    }

    /// The image of the sample at `index`. Samples of an image follow each other.
    fn image_of(&self, index: usize) -> usize {
        index
    }

    /// The samples of an image.
    fn samples_of(&self, image: usize) -> Range<usize> {
        image..image + 1
    }

    /// The name of the sample's image for people: its stem in a folder.
    fn name(&self, index: usize) -> String;

    /// The sample, unaugmented. The same index gives the same bytes each time.
    ///
    /// # Errors
    /// A [`DataError`] that names the file.
    fn load(&self, index: usize) -> Result<Sample, DataError>;

    /// The sample in an epoch of a run with this seed, unaugmented. The same arguments give the same bytes each time;
    /// only windows for training depend on more than the index.
    ///
    /// # Errors
    /// As [`Self::load`].
    fn load_in_epoch(&self, index: usize, _seed: u64, _epoch: u64) -> Result<Sample, DataError> {
        self.load(index)
    }

    /// The colour of a class in its masks, if they have colours.
    fn colour_of(&self, _class: u8) -> Option<[u8; 3]> {
        None
    }

    /// Size of the sample's image before it was resized or cut, (height, width). For files it is known once
    /// the sample has been loaded.
    fn original_size(&self, _index: usize) -> Option<(usize, usize)> {
        Some(self.size())
    }
}

/// Pairs of files, decoded, checked and resized, and cached as far as they fit.
#[derive(Debug)]
pub struct FolderSource {
    pairs: Vec<Pair>,
    reading: Reading,
    height: usize,
    width: usize,
    cache: Cache,
    original: Vec<OnceLock<(usize, usize)>>,
}

impl FolderSource {
    /// The samples of `pairs`, read by `reading`, at `height` x `width`, with at most
    /// [`DEFAULT_CACHE_BYTES`] of them in memory.
    pub fn new(pairs: Vec<Pair>, reading: Reading, height: usize, width: usize) -> Self {
        let cache = Cache::new(pairs.len(), DEFAULT_CACHE_BYTES);
        let original = pairs.iter().map(|_| OnceLock::new()).collect();
        Self {
            pairs,
            reading,
            height,
            width,
            cache,
            original,
        }
    }

    /// As [`Self::new`], with another limit of memory; 0 caches nothing.
    #[must_use]
    pub fn with_cache_bytes(mut self, limit_bytes: u64) -> Self {
        self.cache = Cache::new(self.pairs.len(), limit_bytes);
        self
    }

    /// The files, in the order of the samples.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The sample at `index`, and what its mask would lose at the size `to`.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn load_for(&self, index: usize, to: (usize, usize)) -> Result<(Sample, Thin), DataError> {
        let mut thin = Thin::default();
        let sample = self.read(index, |mask, from| thin = Thin::of(mask, from, to))?;
        Ok((sample, thin))
    }

    /// Calls `look` with the mask and its size before it is resized.
    fn read(
        &self,
        index: usize,
        look: impl FnOnce(&[u8], (usize, usize)),
    ) -> Result<Sample, DataError> {
        let (Sample { image, mask }, size) = read_whole(&self.pairs[index], &self.reading)?;
        look(&mask, size);
        self.original[index].get_or_init(|| size);
        Ok(Sample {
            image: resize::image(
                image,
                self.reading.image.channels,
                size,
                (self.height, self.width),
            )?,
            mask: resize::mask(mask, size, (self.height, self.width)),
        })
    }
}

/// An image with its mask at its own size, which is returned as well.
pub(crate) fn read_whole(
    pair: &Pair,
    reading: &Reading,
) -> Result<(Sample, (usize, usize)), DataError> {
    let image = decode::image(&pair.image, &reading.image)?;
    let size = (image.height, image.width);
    let mask = read_mask(pair, &reading.mask, &image)?;
    let image = image.pixels;
    Ok((Sample { image, mask }, size))
}

/// The classes of the pixels of `image`. Masks in several files are united.
fn read_mask(pair: &Pair, rule: &MaskRule, image: &Decoded) -> Result<Vec<u8>, DataError> {
    let image_size = (image.height, image.width);
    let mut united = Vec::new();
    for path in pair.mask.paths() {
        let labels = decode::labels(path)?;
        let size = (labels.height, labels.width);
        let unknown = |value| DataError::MaskValue {
            mask: path.clone(),
            value,
        };
        let mut classes = rule.classes(&labels).map_err(unknown)?;
        if is_turned(path, size, &pair.image, image_size, image.origin)? {
            classes = decode::turned(classes, (size.0, size.1, 1), image.origin.orientation);
        }
        if united.is_empty() {
            united = classes;
        } else {
            for (pixel, other) in united.iter_mut().zip(classes) {
                *pixel = (*pixel).max(other);
            }
        }
    }
    Ok(united)
}

/// Whether a mask was drawn on the pixels of its image as stored, and not as viewers show them: if
/// only that size is its own.
///
/// # Errors
/// [`DataError::MaskSize`] if the mask has neither size.
pub(crate) fn is_turned(
    mask: &Path,
    mask_size: (usize, usize),
    image: &Path,
    image_size: (usize, usize),
    origin: Origin,
) -> Result<bool, DataError> {
    if mask_size == image_size {
        return Ok(false);
    }
    if mask_size == origin.raw_size {
        return Ok(true);
    }
    Err(DataError::MaskSize {
        mask: mask.to_owned(),
        image: image.to_owned(),
        mask_size,
        image_size,
    })
}

impl Source for FolderSource {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    fn channels(&self) -> usize {
        self.reading.image.channels
    }

    fn name(&self, index: usize) -> String {
        self.pairs[index].stem.clone()
    }

    fn colour_of(&self, class: u8) -> Option<[u8; 3]> {
        self.reading.mask.colour_of(class)
    }

    fn load(&self, index: usize) -> Result<Sample, DataError> {
        let sample = self
            .cache
            .get_or_load(index, || self.read(index, |_, _| ()));
        sample.map(Arc::unwrap_or_clone)
    }

    fn original_size(&self, index: usize) -> Option<(usize, usize)> {
        self.original[index].get().copied()
    }
}

/// Drawn comic pages with speech balloons, one class; see [`synth`].
#[derive(Debug)]
pub struct SynthSource {
    seed: u64,
    height: u32,
    width: u32,
    cache: Cache,
    pages: usize,
}

impl SynthSource {
    /// Pages 0 to `pages - 1` of `seed`, of which at most [`DEFAULT_CACHE_BYTES`] are cached.
    /// Validation needs another seed than training, see [`synth::val_seed`].
    ///
    /// # Errors
    /// [`DataError::Size`] if a side is below [`synth::MIN_SIDE`] or above [`decode::MAX_SIDE`].
    pub fn new(seed: u64, pages: usize, height: u32, width: u32) -> Result<Self, DataError> {
        synth::check_size(height, width)?;
        Ok(Self {
            seed,
            height,
            width,
            cache: Cache::new(pages, DEFAULT_CACHE_BYTES),
            pages,
        })
    }
}

impl Source for SynthSource {
    fn len(&self) -> usize {
        self.pages
    }

    fn size(&self) -> (usize, usize) {
        (self.height as usize, self.width as usize)
    }

    fn name(&self, index: usize) -> String {
        format!("page-{index:05}")
    }

    fn load(&self, index: usize) -> Result<Sample, DataError> {
        let page = self.cache.get_or_load(index, || {
            let page = synth::page(self.seed, index as u64, self.height, self.width);
            Ok(Sample {
                image: page.image,
                mask: page.mask,
            })
        });
        page.map(Arc::unwrap_or_clone)
    }
}
