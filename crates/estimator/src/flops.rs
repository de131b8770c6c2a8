//! Floating-point operations of the convolutions.

use config::{Block, ImageSize, Network};

use crate::EstimateError;

/// Floating-point operations; a multiplication and an addition count as two.
///
/// Only convolutions are counted: batch norm, `ReLU`, pooling, biases and loss are
/// bound by bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flops {
    /// Forward pass.
    pub forward: u64,
    /// Forward and backward. The gradients of a convolution's input and weight each
    /// cost as much as its forward; only the first convolution needs no gradient
    /// of its input, the image.
    pub training: u64,
}

impl Flops {
    /// Operations for one image of this size.
    ///
    /// # Errors
    ///
    /// [`EstimateError::ImageSize`] if the size cannot be halved as often as the
    /// network requires, [`EstimateError::TooLarge`] if a figure exceeds 64 bits.
    pub fn per_image(network: &Network, size: ImageSize) -> Result<Self, EstimateError> {
        let divisor = 1_u32.checked_shl(network.depth).unwrap_or(u32::MAX);
        let halves = |side: u32| side > 0 && side.is_multiple_of(divisor);
        if !halves(size.height) || !halves(size.width) {
            return Err(EstimateError::ImageSize {
                size,
                depth: network.depth,
            });
        }
        Self::checked(network, size).ok_or(EstimateError::TooLarge {
            what: "operations",
            width: network.width,
        })
    }

    fn checked(network: &Network, size: ImageSize) -> Option<Self> {
        let pixels = |level: u32| size.pixels().checked_shr(2 * level);
        let mut forward = 0_u64;
        let mut first = None;
        for block in network.blocks() {
            let cost = match block {
                Block::Down { level, conv } | Block::Bottleneck { level, conv } => {
                    let outer = conv3(conv.in_channels, conv.out_channels, pixels(level)?)?;
                    first = first.or(Some(outer));
                    outer.checked_add(conv3(
                        conv.out_channels,
                        conv.out_channels,
                        pixels(level)?,
                    )?)?
                }
                Block::Up {
                    level,
                    transpose,
                    conv,
                } => {
                    // The stride equals the kernel size, so each output pixel sees one tap.
                    let up = convolution(
                        transpose.in_channels,
                        transpose.out_channels,
                        1,
                        pixels(level)?,
                    )?;
                    up.checked_add(conv3(conv.in_channels, conv.out_channels, pixels(level)?)?)?
                        .checked_add(conv3(conv.out_channels, conv.out_channels, pixels(level)?)?)?
                }
                Block::Head {
                    in_channels,
                    out_channels,
                    ..
                } => convolution(in_channels, out_channels, 1, pixels(0)?)?,
            };
            forward = forward.checked_add(cost)?;
        }
        let training = forward.checked_mul(3)?.checked_sub(first?)?;
        Some(Self { forward, training })
    }
}

fn conv3(inputs: u32, outputs: u32, pixels: u64) -> Option<u64> {
    convolution(inputs, outputs, 9, pixels)
}

fn convolution(inputs: u32, outputs: u32, taps: u64, pixels: u64) -> Option<u64> {
    u64::from(inputs)
        .checked_mul(u64::from(outputs))?
        .checked_mul(2 * taps)?
        .checked_mul(pixels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_guides_network() {
        // These were derived by hand for this network: 385.3 GFLOP forward, 1,155 in training.
        let flops = Flops::per_image(&Network::new(64, 1), ImageSize::new(512, 512)).unwrap();
        assert_eq!(flops.forward / 100_000_000, 3_853);
        assert_eq!(flops.training / 1_000_000_000, 1_155);
    }

    #[test]
    fn absurd_input_is_an_error() {
        let network = Network::new(64, 1);
        for size in [(8, 512), (0, 16), (500, 512)] {
            assert!(Flops::per_image(&network, ImageSize::new(size.0, size.1)).is_err());
        }
        let huge = ImageSize::new(1 << 31, 1 << 31);
        assert!(Flops::per_image(&network, huge).is_err());
        let deep = Network {
            depth: 40,
            ..network
        };
        assert!(Flops::per_image(&deep, ImageSize::new(512, 512)).is_err());
    }

    proptest! {
        #[test]
        fn monotone(width in 1..128_u32, rows in 1..64_u32, columns in 1..64_u32) {
            let forward = |width, rows: u32, columns: u32| {
                let size = ImageSize::new(rows * 16, columns * 16);
                Flops::per_image(&Network::new(width, 1), size).unwrap()
            };
            let here = forward(width, rows, columns);
            prop_assert!(here.forward < here.training);
            for more in [
                forward(width + 1, rows, columns),
                forward(width, rows + 1, columns),
                forward(width, rows, columns + 1),
            ] {
                prop_assert!(here.forward < more.forward && here.training < more.training);
            }
        }
    }
}
