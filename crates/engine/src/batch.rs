//! Batches on their way to the device: the input of a forward pass, and how bytes become images.

use std::ops::Range;

use config::RunConfig;
use data::masks::IGNORE;
use data::{Batch, Sample};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};
use torch_ext::ops::{one_value, pinned};

use crate::error::Result;
use crate::loss::PixelWeight;

/// Images with their masks, on the host or on the device.
#[derive(Debug, Clone)]
pub enum Pixels<'a> {
    /// A range of the images of a batch in host memory.
    Host(&'a Batch, Range<usize>),
    /// Bytes `[N, H, W, C]` and masks `[N, H, W]`, on the device.
    Bytes(&'a Tensor, &'a Tensor),
    /// Images `[N, C, H, W]` in fp32 and masks `[N, H, W]`, on the device.
    Images(&'a Tensor, &'a Tensor),
}

/// The input of one forward pass of a step.
#[derive(Debug, Clone)]
pub struct MicroBatch<'a> {
    /// The images.
    pub pixels: Pixels<'a>,
    /// Which batch of the step they belong to, from 0.
    pub batch: usize,
    /// The weight of their mean loss in the loss of the step.
    pub share: f64,
    /// If pixels of the batch are ignored, the weight of the others.
    pub ignoring: Option<PixelWeight>,
}

impl<'a> MicroBatch<'a> {
    /// The only micro-batch of its step: images `[N, C, H, W]` and masks `[N, H, W]`, on the device. All
    /// pixels count.
    pub fn whole(images: &'a Tensor, masks: &'a Tensor) -> Self {
        Self {
            pixels: Pixels::Images(images, masks),
            batch: 0,
            share: 1.0,
            ignoring: None,
        }
    }
}

/// Splits batches into micro-batches of at most `most` images. Each image has the same weight in the loss of the step,
/// which has `images` in all.
pub fn micro_batches(
    batches: &[Batch],
    most: u32,
    images: usize,
) -> impl Iterator<Item = MicroBatch<'_>> {
    batches.iter().enumerate().flat_map(move |(index, batch)| {
        let ignoring = PixelWeight::of(batch);
        parts(batch.len, most as usize).map(move |part| MicroBatch {
            ignoring: ignoring.map(|weight| weight.of_part(part.len(), batch.len)),
            share: part.len() as f64 / images.max(1) as f64,
            pixels: Pixels::Host(batch, part),
            batch: index,
        })
    })
}

/// The number of images in batches.
pub fn num_images(batches: &[Batch]) -> usize {
    batches.iter().map(|batch| batch.len).sum()
}

/// Ranges that cover `len` images, at most `most` in each.
pub(crate) fn parts(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let most = most.max(1);
    (0..len)
        .step_by(most)
        .map(move |from| from..len.min(from + most))
}

/// How batches become tensors.
#[derive(Debug, Clone, Copy)]
pub struct Upload {
    /// The target device.
    pub device: Device,
    /// Whether images become channels-last.
    pub channels_last: bool,
}

impl Upload {
    /// How the batches of a run under `config` become tensors.
    pub const fn of(config: &RunConfig, device: Device) -> Self {
        Self {
            device,
            channels_last: config.use_channels_last,
        }
    }

    /// Images `[N, C, H, W]` in fp32 and masks `[N, H, W]` in u8, on the device.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn pixels(&self, pixels: &Pixels<'_>) -> Result<(Tensor, Tensor)> {
        match pixels {
            Pixels::Host(batch, part) => self.part(batch, part.clone()),
            Pixels::Bytes(bytes, masks) => Ok((self.images(bytes)?, masks.shallow_clone())),
            Pixels::Images(images, masks) => Ok((images.shallow_clone(), masks.shallow_clone())),
        }
    }

    /// A whole batch in the form that [`Self::pixels`] returns.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn batch(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        self.part(batch, 0..batch.len)
    }

    /// A range of the images of a batch in the form that [`Self::pixels`] returns.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn part(&self, batch: &Batch, part: Range<usize>) -> Result<(Tensor, Tensor)> {
        let [bytes, masks] = bytes_of(batch, part)?;
        Ok((self.images(&bytes)?, self.uploaded(&masks)?))
    }

    /// A whole batch on the device, as bytes `[N, H, W, C]` and masks `[N, H, W]`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn device_bytes(&self, batch: &Batch) -> Result<[Tensor; 2]> {
        self.bytes(&Pixels::Host(batch, 0..batch.len))
    }

    /// The bytes of images, `[N, H, W, C]`, and of masks, `[N, H, W]`, on the device.
    ///
    /// # Errors
    /// If memory runs out.
    pub(crate) fn bytes(&self, pixels: &Pixels<'_>) -> Result<[Tensor; 2]> {
        match pixels {
            Pixels::Host(batch, part) => {
                let [images, masks] = bytes_of(batch, part.clone())?;
                Ok([self.uploaded(&images)?, self.uploaded(&masks)?])
            }
            Pixels::Bytes(first, second) | Pixels::Images(first, second) => {
                Ok([first.shallow_clone(), second.shallow_clone()])
            }
        }
    }

    /// Moves bytes from the host to the device. To a GPU they go from pinned memory, so that the host
    /// does not wait for the copy; libtorch keeps that memory until the copy is done.
    fn uploaded(&self, bytes: &Tensor) -> Result<Tensor> {
        const ASYNCHRONOUS: bool = true;
        if !self.device.is_cuda() || bytes.device().is_cuda() {
            return Ok(bytes.f_to_device(self.device)?);
        }
        // Pinned memory is scarce on some machines; a copy from ordinary memory only waits.
        let pinned = pinned(bytes);
        let from = pinned.as_ref().unwrap_or(bytes);
        Ok(from.f_to_device_(self.device, bytes.kind(), ASYNCHRONOUS, false)?)
    }

    /// Converts image bytes, `[N, H, W, C]`, to the network's input: `[N, C, H, W]`, fp32 in [0, 1].
    /// The bytes are in channels-last order already; the other format needs a copy.
    fn images(&self, bytes: &Tensor) -> Result<Tensor> {
        let bytes = self.uploaded(bytes)?;
        let images = match bytes.size4()? {
            // One channel has the same order in both formats, and libtorch tells them apart by their strides.
            (n, h, w, 1) if !self.channels_last => bytes.f_view([n, 1, h, w])?,
            _ => bytes.f_permute([0, 3, 1, 2])?,
        };
        let mut images = images.f_to_kind(Kind::Float)?;
        // Like torchvision's `to_tensor`: a division, not a multiplication by the inverse.
        let images = images.f_div_(&one_value(255.0, self.device)?)?;
        Ok(if self.channels_last {
            images
        } else {
            images.f_contiguous()?
        })
    }
}

/// A range of a batch on the host: bytes `[N, H, W, C]`, and masks `[N, H, W]`.
fn bytes_of(batch: &Batch, part: Range<usize>) -> Result<[Tensor; 2]> {
    let pixels = batch.height * batch.width;
    let of = |pixels: usize| part.start * pixels..part.end * pixels;
    let (images, masks) = (
        &batch.images[of(batch.channels * pixels)],
        &batch.masks[of(pixels)],
    );
    let size = [part.len(), batch.height, batch.width, batch.channels];
    let [n, h, w, c] = size.map(|d| d.cast_signed() as i64);
    Ok([
        Tensor::f_from_data_size(images, &[n, h, w, c], Kind::Uint8)?,
        Tensor::f_from_data_size(masks, &[n, h, w], Kind::Uint8)?,
    ])
}

/// A batch of random images and two-class masks, determined by `seed`: for measurements and proofs. If
/// the masks of `config` have values that are ignored, so have these.
pub fn noise(config: &RunConfig, seed: u64) -> Batch {
    let [height, width] = [config.img_size.height, config.img_size.width].map(|d| d as usize);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let channels = config.in_channels as usize;
    let mut batch = Batch::new(channels, height, width);
    for index in 0..config.batch as usize {
        let mut sample = Sample {
            image: vec![0; height * width * channels],
            mask: vec![0; height * width],
        };
        random.fill_bytes(&mut sample.image);
        for class in &mut sample.mask {
            *class = random.random_range(0..2);
            if config.ignore.is_some() && random.random_ratio(1, 8) {
                *class = IGNORE;
            }
        }
        batch.push(&sample, index);
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_batch() {
        let all: Vec<_> = parts(7, 3).collect();
        assert_eq!(all, [0..3, 3..6, 6..7]);
        assert_eq!(parts(4, 0).count(), 4);
        assert_eq!(parts(0, 3).count(), 0);
    }

    #[test]
    fn the_shares_of_a_step_add_up_to_one() {
        let config = RunConfig {
            img_size: config::ImageSize::new(16, 32),
            batch: 5,
            ..RunConfig::default()
        };
        let last = RunConfig {
            batch: 1,
            ..config.clone()
        };
        let batches = [noise(&config, 1), noise(&last, 2)];
        let all: Vec<_> = micro_batches(&batches, 2, num_images(&batches)).collect();
        let batches: Vec<_> = all.iter().map(|micro| micro.batch).collect();
        assert_eq!(batches, [0, 0, 0, 1]);
        // An image of a small batch counts as much as any other.
        assert_eq!(all[2].share.to_bits(), all[3].share.to_bits());
        let sum: f64 = all.iter().map(|micro| micro.share).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }
}
