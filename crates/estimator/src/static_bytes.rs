//! The bytes that a training step holds whatever the batch size.

use config::{Bytes, Network, ParameterSpec};

use crate::EstimateError;

/// Bytes of one element of weights, gradients and optimizer state, which stay
/// in fp32 even with AMP.
const FP32_BYTES: u64 = 4;
/// Bytes of `num_batches_tracked`, which is an int64.
const INT64_BYTES: u64 = 8;
/// `AdamW` keeps running means of the gradients and of their squares.
const ADAMW_MOMENTS: u64 = 2;

/// Bytes that do not depend on the batch, before any rounding by an allocator.
///
/// At width 64 these are 118.4 MiB of parameters, the same for gradients, and 236.8
/// MiB of `AdamW` state. Gradients are absent at the peak of a step that first sets
/// them to `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticBytes {
    /// Weights that the optimizer updates.
    pub parameters: Bytes,
    /// One gradient per parameter.
    pub gradients: Bytes,
    /// Both moments of `AdamW`, without its step counters, which take 4 bytes per tensor.
    pub optimizer: Bytes,
    /// Running statistics of batch norm.
    pub buffers: Bytes,
}

impl StaticBytes {
    /// Counts the tensors of a network.
    ///
    /// # Errors
    ///
    /// [`EstimateError::TooLarge`] if a figure does not fit 64 bits.
    pub fn of(network: &Network) -> Result<Self, EstimateError> {
        Self::of_tensors(&network.parameters(), network.width)
    }

    /// The same, from the network's [`Network::parameters`]: listing them takes longer than
    /// counting.
    pub(crate) fn of_tensors(tensors: &[ParameterSpec], width: u32) -> Result<Self, EstimateError> {
        let too_large = EstimateError::TooLarge {
            what: "bytes",
            width,
        };
        let parameters = count(tensors, width)?
            .checked_mul(FP32_BYTES)
            .ok_or_else(|| too_large.clone())?;
        let optimizer = parameters
            .checked_mul(ADAMW_MOMENTS)
            .ok_or_else(|| too_large.clone())?;
        let buffers = tensors.iter().try_fold(0_u64, |sum, tensor| {
            let bytes = match tensor.role {
                role if role.is_trainable() => 0,
                config::Role::BnNumBatchesTracked => INT64_BYTES,
                _ => elements(&tensor.shape)?.checked_mul(FP32_BYTES)?,
            };
            sum.checked_add(bytes)
        });
        let all = Self {
            parameters: Bytes(parameters),
            gradients: Bytes(parameters),
            optimizer: Bytes(optimizer),
            buffers: Bytes(buffers.ok_or_else(|| too_large.clone())?),
        };
        // This check ensures that `total` cannot overflow later.
        [all.gradients, all.optimizer, all.buffers]
            .into_iter()
            .try_fold(all.parameters, Bytes::checked_add)
            .ok_or(too_large)
            .map(|_total| all)
    }

    /// The sum of all parts.
    pub fn total(&self) -> Bytes {
        let Self {
            parameters,
            gradients,
            optimizer,
            buffers,
        } = *self;
        Bytes(
            [parameters, gradients, optimizer, buffers]
                .iter()
                .fold(0, |sum, part| sum.saturating_add(part.0)),
        )
    }
}

/// The number of elements that the optimizer updates.
///
/// # Errors
///
/// [`EstimateError::TooLarge`] if the count does not fit 64 bits.
pub fn num_parameters(network: &Network) -> Result<u64, EstimateError> {
    count(&network.parameters(), network.width)
}

fn count(tensors: &[ParameterSpec], width: u32) -> Result<u64, EstimateError> {
    tensors
        .iter()
        .filter(|tensor| tensor.role.is_trainable())
        .try_fold(0_u64, |sum, tensor| {
            sum.checked_add(elements(&tensor.shape)?)
        })
        .ok_or(EstimateError::TooLarge {
            what: "parameters",
            width,
        })
}

fn elements(shape: &[u64]) -> Option<u64> {
    shape
        .iter()
        .try_fold(1_u64, |product, side| product.checked_mul(*side))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_guides_network() {
        let network = Network::new(64, 1);
        assert_eq!(num_parameters(&network), Ok(31_043_521));
        let bytes = StaticBytes::of(&network).unwrap();
        assert_eq!(bytes.parameters.to_string(), "118.4 MiB");
        assert_eq!(bytes.optimizer.to_string(), "236.8 MiB");
        assert_eq!(bytes.total().to_string(), "473.7 MiB");
        // Means and variances of 5,888 batch norm channels, and 18 counters.
        assert_eq!(bytes.buffers, Bytes(5_888 * 2 * 4 + 18 * 8));
    }

    #[test]
    fn absurd_networks_are_errors() {
        let network = Network {
            in_channels: u32::MAX,
            width: u32::MAX,
            classes: u32::MAX,
            depth: 4,
        };
        assert!(StaticBytes::of(&network).is_err());
        assert!(num_parameters(&network).is_err());
    }

    proptest! {
        #[test]
        fn monotone(width in 1..1024_u32, classes in 1..256_u32) {
            let total = |width, classes| StaticBytes::of(&Network::new(width, classes)).unwrap().total();
            let here = total(width, classes);
            prop_assert!(here < total(width + 1, classes));
            prop_assert!(here < total(width, classes + 1));
        }
    }
}
