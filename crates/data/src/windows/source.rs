//! Windows of the images of a folder, as samples.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Window, covering, num_covering};
use crate::cache::Cache;
use crate::folder::Pair;
use crate::random::{RandomUse, stream};
use crate::source::read_whole;
use crate::{DEFAULT_CACHE_BYTES, DataError, Reading, Sample, Source, decode};

/// Which windows of an image are samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Other ones in each epoch, for training: as many as would cover the image. One third lie on foreground.
    Drawn,
    /// Those that cover the image, for scores: every pixel counts in one of them and is ignored in others.
    Covering,
}

/// Windows cut from images at their own resolution. Images are cached whole, as far as they fit, and smaller
/// ones are reflected at their borders.
#[derive(Debug)]
pub struct WindowSource {
    pairs: Vec<Pair>,
    reading: Reading,
    choice: Choice,
    window: (usize, usize),
    /// Of each image, (height, width).
    sizes: Vec<(usize, usize)>,
    /// The first sample of each image, and at the end the number of all.
    firsts: Vec<usize>,
    cache: Cache,
    /// The image of the last window, cached or not: windows that cover an image come one after another.
    last: Mutex<Option<(usize, Arc<Sample>)>>,
}

impl WindowSource {
    /// Windows of (height, width) of the images of `pairs`, read by `reading`. `sizes` has the sizes of images, as a
    /// [`Survey`](crate::Survey) found them; others are read.
    ///
    /// # Errors
    /// A [`DataError`] that names a file whose size cannot be read.
    pub fn new(
        pairs: Vec<Pair>,
        reading: Reading,
        window: (usize, usize),
        sizes: &BTreeMap<PathBuf, (usize, usize)>,
        choice: Choice,
    ) -> Result<Self, DataError> {
        let size = |pair: &Pair| match sizes.get(&pair.image) {
            Some(&size) => Ok(size),
            None => decode::raster(&pair.image).map(|it| (it.height, it.width)),
        };
        let sizes: Vec<_> = pairs.iter().map(size).collect::<Result<_, _>>()?;
        let mut firsts = vec![0];
        let mut next = 0;
        for &size in &sizes {
            next += num_covering(size, window);
            firsts.push(next);
        }
        Ok(Self {
            cache: Cache::new(pairs.len(), DEFAULT_CACHE_BYTES),
            pairs,
            reading,
            choice,
            window,
            sizes,
            firsts,
            last: Mutex::default(),
        })
    }

    /// As [`Self::new`], with another limit of memory; 0 caches nothing.
    #[must_use]
    pub fn with_cache_bytes(mut self, limit_bytes: u64) -> Self {
        self.cache = Cache::new(self.pairs.len(), limit_bytes);
        self
    }

    /// An image with its mask, at its own size.
    fn whole(&self, image: usize) -> Result<Arc<Sample>, DataError> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sample)) = last().as_ref().filter(|(index, _)| *index == image) {
            return Ok(Arc::clone(sample));
        }
        let sample = self.cache.get_or_load(image, || {
            let pair = &self.pairs[image];
            let (sample, now) = read_whole(pair, &self.reading)?;
            let before = self.sizes[image];
            if now != before {
                let path = pair.image.clone();
                return Err(DataError::SizeChanged { path, before, now });
            }
            Ok(sample)
        })?;
        *last() = Some((image, Arc::clone(&sample)));
        Ok(sample)
    }
}

impl Source for WindowSource {
    fn len(&self) -> usize {
        self.firsts.last().copied().unwrap_or(0)
    }

    fn size(&self) -> (usize, usize) {
        self.window
    }

    fn channels(&self) -> usize {
        self.reading.image.channels
    }

    fn num_images(&self) -> usize {
        self.pairs.len()
    }

    fn image_of(&self, index: usize) -> usize {
        self.firsts.partition_point(|&first| first <= index) - 1
    }

    fn samples_of(&self, image: usize) -> Range<usize> {
        self.firsts[image]..self.firsts[image + 1]
    }

    fn name(&self, index: usize) -> String {
        self.pairs[self.image_of(index)].stem.clone()
    }

    fn colour_of(&self, class: u8) -> Option<[u8; 3]> {
        self.reading.mask.colour_of(class)
    }

    fn load(&self, index: usize) -> Result<Sample, DataError> {
        self.load_in_epoch(index, 0, 0)
    }

    fn load_in_epoch(&self, index: usize, seed: u64, epoch: u64) -> Result<Sample, DataError> {
        let image = self.image_of(index);
        let (whole, size) = (self.whole(image)?, self.sizes[image]);
        match self.choice {
            Choice::Drawn => {
                let mut random = stream(RandomUse::Window, seed, epoch, index as u64);
                let window = Window::drawn(&whole.mask, size, self.window, &mut random);
                Ok(window.of(&whole, size, self.window))
            }
            Choice::Covering => {
                let window = &covering(size, self.window, (0, 0))[index - self.firsts[image]];
                let mut sample = window.of(&whole, size, self.window);
                window.ignore_others(&mut sample.mask, self.window.1);
                Ok(sample)
            }
        }
    }

    fn original_size(&self, index: usize) -> Option<(usize, usize)> {
        Some(self.sizes[self.image_of(index)])
    }
}
