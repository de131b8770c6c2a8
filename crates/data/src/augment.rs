//! Random variations of image and mask together, and of the image's brightness.
//!
//! Flips and quarter turns only move pixels, so that a mask stays exact. Only square
//! samples get quarter turns, because a batch has one size.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Sample;
use super::random::{RandomUse, stream};

/// Contrast is scaled about mid-gray by a factor between 1 - `CONTRAST` and 1 + `CONTRAST`.
const MAX_CONTRAST: f32 = 0.05;
/// Brightness changes by at most this, out of 255.
const MAX_BRIGHTNESS: f32 = 5.0;

/// The variation of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augmentation {
    /// Mirror left and right.
    pub flip_horizontal: bool,
    /// Mirror top and bottom.
    pub flip_vertical: bool,
    /// Swap rows and columns; combined with flips this makes all quarter turns.
    pub transpose: bool,
    /// Contrast factor about mid-gray; 1 changes nothing.
    pub contrast: f32,
    /// Value added to every channel; 0 changes nothing.
    pub brightness: f32,
}

impl Augmentation {
    /// The variation of sample `index` in `epoch`, a function of the arguments only.
    pub fn draw(seed: u64, epoch: u64, index: usize, height: usize, width: usize) -> Self {
        let mut rng = stream(RandomUse::Augment, seed, epoch, index as u64);
        let coin = |rng: &mut ChaCha8Rng| rng.random::<bool>();
        Self {
            flip_horizontal: coin(&mut rng),
            flip_vertical: coin(&mut rng),
            transpose: coin(&mut rng) && height == width,
            contrast: 1.0 + rng.random_range(-MAX_CONTRAST..=MAX_CONTRAST),
            brightness: rng.random_range(-MAX_BRIGHTNESS..=MAX_BRIGHTNESS),
        }
    }

    /// Applies the variation to `sample`, `[H, W, C]` and `[H, W]`, in place.
    pub fn apply(&self, sample: &mut Sample, height: usize, width: usize) {
        self.shade(&mut sample.image);
        let channels = sample.channels();
        self.turn(&mut sample.image, channels, height, width);
        self.turn(&mut sample.mask, 1, height, width);
    }

    fn turn(&self, bytes: &mut [u8], channels: usize, height: usize, width: usize) {
        debug_assert_eq!(bytes.len(), height * width * channels);
        let mut swap = |one: (usize, usize), other: (usize, usize)| {
            let [one, other] = [one, other].map(|(row, column)| (row * width + column) * channels);
            for channel in 0..channels {
                bytes.swap(one + channel, other + channel);
            }
        };
        if self.flip_horizontal {
            for row in 0..height {
                for column in 0..width / 2 {
                    swap((row, column), (row, width - 1 - column));
                }
            }
        }
        if self.flip_vertical {
            for row in 0..height / 2 {
                for column in 0..width {
                    swap((row, column), (height - 1 - row, column));
                }
            }
        }
        if self.transpose {
            debug_assert_eq!(height, width);
            for row in 0..height {
                for column in row + 1..width {
                    swap((row, column), (column, row));
                }
            }
        }
    }

    fn shade(&self, image: &mut [u8]) {
        let table: Vec<u8> = (0..=255_u8)
            .map(|value| {
                let shaded = (f32::from(value) - 127.5) * self.contrast + 127.5 + self.brightness;
                to_u8(shaded)
            })
            .collect();
        for value in image {
            *value = table[usize::from(*value)];
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range"
)]
fn to_u8(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: Augmentation = Augmentation {
        flip_horizontal: false,
        flip_vertical: false,
        transpose: false,
        contrast: 1.0,
        brightness: 0.0,
    };

    /// A sample whose image encodes the position of each pixel, and whose mask is its first channel.
    fn marked(channels: usize, height: usize, width: usize) -> Sample {
        let mask: Vec<u8> = (0..height * width)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        Sample {
            image: mask
                .iter()
                .flat_map(|&m| [m, m / 2, 255 - m, m ^ 7].into_iter().take(channels))
                .collect(),
            mask,
        }
    }

    #[test]
    fn each_variation_moves_pixels_as_named() {
        let moved = |augmentation: Augmentation, height, width| {
            let mut sample = marked(1, height, width);
            augmentation.apply(&mut sample, height, width);
            sample.mask
        };
        assert_eq!(moved(NONE, 2, 3), [0, 1, 2, 3, 4, 5]);
        let horizontal = Augmentation {
            flip_horizontal: true,
            ..NONE
        };
        assert_eq!(moved(horizontal, 2, 3), [2, 1, 0, 5, 4, 3]);
        let vertical = Augmentation {
            flip_vertical: true,
            ..NONE
        };
        assert_eq!(moved(vertical, 3, 2), [4, 5, 2, 3, 0, 1]);
        let transpose = Augmentation {
            transpose: true,
            ..NONE
        };
        assert_eq!(moved(transpose, 2, 2), [0, 2, 1, 3]);
        // A flip and a transpose make a quarter turn.
        let turn = Augmentation {
            flip_vertical: true,
            ..transpose
        };
        assert_eq!(moved(turn, 2, 2), [2, 0, 3, 1]);
    }

    #[test]
    fn brightness_touches_the_image_only_and_saturates() {
        let mut sample = Sample {
            image: vec![0, 128, 255],
            mask: vec![1],
        };
        Augmentation {
            brightness: 20.0,
            ..NONE
        }
        .apply(&mut sample, 1, 1);
        assert_eq!((sample.image, sample.mask), (vec![20, 148, 255], vec![1]));
    }

    #[test]
    fn epochs_and_samples_differ() {
        let draw = |epoch, index| Augmentation::draw(1, epoch, index, 8, 8);
        assert_eq!(draw(3, 4), draw(3, 4));
        assert_ne!(draw(3, 4), draw(4, 3));
    }

    proptest! {
        #[test]
        fn image_and_mask_move_together(
            seed: u64, index in 0_usize..100, channels in 1_usize..5, height in 1_usize..9, width in 1_usize..9,
        ) {
            let drawn = Augmentation::draw(seed, 0, index, height, width);
            prop_assert!(!drawn.transpose || height == width);
            let moves = Augmentation { contrast: 1.0, brightness: 0.0, ..drawn };
            let mut sample = marked(channels, height, width);
            moves.apply(&mut sample, height, width);
            let first: Vec<u8> = sample.image.chunks_exact(channels).map(|p| p[0]).collect();
            prop_assert_eq!(&first, &sample.mask);
            let mut sorted = sample.mask;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, marked(channels, height, width).mask);
        }
    }
}
