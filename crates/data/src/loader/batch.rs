//! A batch of bytes, and the pool that its buffers return to.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::Sample;

/// Samples in one buffer, ready for `from_blob`. Dropping the batch returns its buffers to
/// the loader.
#[derive(Debug)]
pub struct Batch {
    /// `[N, H, W, C]`: viewed as `[N, C, H, W]` this is channels-last.
    pub images: Vec<u8>,
    /// Class of each pixel, `[N, H, W]`.
    pub masks: Vec<u8>,
    /// N.
    pub len: usize,
    /// C of the images.
    pub channels: usize,
    /// H in pixels.
    pub height: usize,
    /// W in pixels.
    pub width: usize,
    /// Index of each sample in the source, `[N]`.
    pub indices: Vec<usize>,
    /// Index of the image of each sample, `[N]`: windows of one image share it.
    pub image_indices: Vec<usize>,
    pool: Option<Pool>,
}

impl Batch {
    /// An empty batch for samples of `height` x `width` with `channels`, with its own buffers.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self {
            images: Vec::new(),
            masks: Vec::new(),
            len: 0,
            channels,
            height,
            width,
            indices: Vec::new(),
            image_indices: Vec::new(),
            pool: None,
        }
    }

    /// Whether the batch has no samples.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `sample`, a whole image, which has the index `index` in its source.
    ///
    /// # Panics
    /// As [`Self::push_of`].
    pub fn push(&mut self, sample: &Sample, index: usize) {
        self.push_of(index, sample, index);
    }

    /// Appends `sample`, which is of `image` and has the index `index` in its source.
    ///
    /// # Panics
    /// If the sample has another size, which is a bug in its source.
    pub fn push_of(&mut self, image: usize, sample: &Sample, index: usize) {
        let pixels = self.height * self.width;
        assert_eq!(
            sample.image.len(),
            pixels * self.channels,
            "an image differs in size from its batch"
        );
        assert_eq!(
            sample.mask.len(),
            pixels,
            "a mask differs in size from its batch"
        );
        self.images.extend_from_slice(&sample.image);
        self.masks.extend_from_slice(&sample.mask);
        self.indices.push(index);
        self.image_indices.push(image);
        self.len += 1;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.put(
                std::mem::take(&mut self.images),
                std::mem::take(&mut self.masks),
            );
        }
    }
}

/// Buffers to reuse, so that in steady state an epoch allocates nothing large.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    put: Sender<(Vec<u8>, Vec<u8>)>,
    take: Receiver<(Vec<u8>, Vec<u8>)>,
}

impl Pool {
    pub(super) fn new(buffers: usize) -> Self {
        let (put, take) = bounded(buffers);
        Self { put, take }
    }

    /// An empty batch with room for `samples`, in used buffers if available.
    pub(super) fn batch(
        &self,
        samples: usize,
        channels: usize,
        (height, width): (usize, usize),
    ) -> Batch {
        let (mut images, mut masks) = self.take.try_recv().unwrap_or_default();
        images.clear();
        masks.clear();
        images.reserve(samples * height * width * channels);
        masks.reserve(samples * height * width);
        let mut batch = Batch::new(channels, height, width);
        (batch.images, batch.masks, batch.pool) = (images, masks, Some(self.clone()));
        batch
    }

    fn put(&self, images: Vec<u8>, masks: Vec<u8>) {
        // If the pool is full, these buffers are not needed and are freed.
        let _surplus = self.put.try_send((images, masks));
    }
}
