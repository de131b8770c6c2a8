//! The workspace that cuDNN uses during a convolution. libtorch asks cuDNN how much its chosen plan
//! needs, takes that from the caching allocator and returns it after the call (`run_conv_plan` of
//! `Conv_v8.cpp`, the default since 2.0 and in 2.11: `cudnnv8_enabled_check_debug` of
//! `ConvUtils.h`). There is no limit; a plan whose workspace cannot be allocated is skipped for the
//! next one (`try_configs`), so a step may run in less memory than stated here, but more slowly.

use super::super::super::sizes::ConvSize;
use super::Cuda;

/// The terms of a workspace. [`Self::DERIVED`] is NOT MEASURED: no table of cuDNN's heuristics is
/// public. It is derived from the construction of the algorithms and meant to be an upper figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Bytes that each convolution needs, whatever the algorithm: index tables of the implicit
    /// GEMM, the weight's pointers and counters.
    pub base_bytes: u64,
    /// For the gradient of a weight, whose sum over pixels is long: this many 128x128 tiles of the
    /// weight are accumulated at a time, in fp32, and added at the end (split-k).
    pub partial_tiles: u64,
    /// Whether tensors are copied into the layout of tensor cores, which is channels-last with the
    /// channels in multiples of eight (four for TF32). With channels-first all tensors are copied,
    /// otherwise only those whose channels are not a multiple (the images, the logits). The copies
    /// are cuDNN's `nchwToNhwcKernel` and `nhwcAddPaddingKernel`. For fp16 they are known (chainer
    /// issue 5076); for TF32 there are also channels-first kernels, which are sometimes quicker
    /// (TensorFlow pull request 56744), so for fp32 this estimate is too high rather than too low.
    pub copies: bool,
    /// The most that Winograd's algorithm may take without tensor cores: tiles of 4x4 become 6x6 in
    /// the input, the output and the weight.
    pub winograd_bytes: u64,
}

impl Workspace {
    /// No workspace, to count only tensors.
    pub const NONE: Self = Self {
        base_bytes: 0,
        partial_tiles: 0,
        copies: false,
        winograd_bytes: 0,
    };

    /// Derived from the construction of the algorithms: two tiles for each of the 144
    /// multiprocessors of the largest GPUs, and 1 GiB for Winograd, above which implicit GEMM is
    /// assumed to be chosen.
    pub const DERIVED: Self = Self {
        base_bytes: 2 << 20,
        partial_tiles: 288,
        copies: true,
        winograd_bytes: 1 << 30,
    };

    pub(super) fn convolution(self, cuda: Cuda, conv: &ConvSize) -> u64 {
        let tensors = if cuda.has_tensor_cores(conv) {
            self.copies(cuda, conv)
        } else {
            self.winograd(conv)
        };
        self.base_bytes.saturating_add(tensors)
    }

    pub(super) fn weight_gradient(self, cuda: Cuda, conv: &ConvSize) -> u64 {
        const TILE: u64 = 128;
        let tiles = conv
            .outputs
            .div_ceil(TILE)
            .saturating_mul(conv.inputs.saturating_mul(conv.taps).div_ceil(TILE));
        let sums = conv
            .parameter_bytes()
            .saturating_mul(self.partial_tiles / tiles.max(1));
        let copies = if cuda.has_tensor_cores(conv) {
            self.copies(cuda, conv)
        } else {
            0
        };
        self.base_bytes.saturating_add(sums).saturating_add(copies)
    }

    fn copies(self, cuda: Cuda, conv: &ConvSize) -> u64 {
        if !self.copies {
            return 0;
        }
        let unit = 16 / conv.element_bytes();
        let is_copied = |channels: u64| {
            !cuda.memory_format.is_channels_last() || !channels.is_multiple_of(unit)
        };
        let padded = |channels: u64| channels.div_ceil(unit).saturating_mul(unit);
        let mut sum = 0_u64;
        for (channels, pixels) in [
            (conv.inputs, conv.input_pixels()),
            (conv.outputs, conv.output_pixels()),
        ] {
            if is_copied(channels) {
                sum = sum.saturating_add(padded(channels).saturating_mul(pixels));
            }
        }
        if sum > 0 {
            let weight = padded(conv.inputs)
                .saturating_mul(padded(conv.outputs))
                .saturating_mul(conv.taps);
            sum = sum.saturating_add(weight);
        }
        sum.saturating_mul(conv.element_bytes())
    }

    /// Non-fused Winograd for 3x3: 36 elements for each 16 of an image and each 9 of the weight.
    fn winograd(self, conv: &ConvSize) -> u64 {
        if conv.taps != 9 {
            return 0;
        }
        let tiles = conv.input_pixels().div_ceil(16);
        let images = conv
            .inputs
            .saturating_add(conv.outputs)
            .saturating_mul(tiles);
        let weight = conv.inputs.saturating_mul(conv.outputs);
        images
            .saturating_add(weight)
            .saturating_mul(36 * 4)
            .min(self.winograd_bytes)
    }
}

#[cfg(test)]
mod tests {
    use config::{MemoryFormat, Precision};

    use super::*;

    /// A 3x3 convolution at 512x512 in half precision, with eight images.
    fn conv(inputs: u64, outputs: u64) -> ConvSize {
        ConvSize {
            batch: 8,
            inputs,
            outputs,
            height: 512,
            width: 512,
            taps: 9,
            stride: 1,
            precision: Precision::Fp16,
        }
    }

    fn copies_mib(channels_last: bool, conv: &ConvSize) -> u64 {
        let cuda = Cuda {
            memory_format: MemoryFormat::of(channels_last),
            ..Cuda::new((9, 0))
        };
        let bytes = Workspace::DERIVED.convolution(cuda, conv);
        (bytes - Workspace::DERIVED.base_bytes) >> 20
    }

    #[test]
    fn copies_for_tensor_cores() {
        // The copies take 512 and 256 MiB, and 0.1 MiB for the weight.
        assert_eq!(copies_mib(false, &conv(128, 64)), 768);
        assert_eq!(copies_mib(true, &conv(128, 64)), 0);
        // Three channels become eight, which takes 32 MiB; the output already has the right layout.
        assert_eq!(copies_mib(true, &conv(3, 64)), 32);
    }

    #[test]
    fn sums_of_a_weights_gradient() {
        let bytes = |conv: &ConvSize| {
            let cuda = Cuda::new((9, 0));
            Workspace::DERIVED.weight_gradient(cuda, conv) - Workspace::DERIVED.base_bytes
        };
        // 64 to 64 has 5 tiles, so 57 sums at a time; 1024 to 1024 has 576 tiles, which keep all
        // multiprocessors busy.
        assert_eq!(bytes(&conv(64, 64)), 57 * 64 * 64 * 9 * 4);
        assert_eq!(bytes(&conv(1024, 1024)), 0);
    }

    #[test]
    fn winograd_is_bounded() {
        let old = Cuda::new((6, 1));
        let bytes = |channels| Workspace::DERIVED.convolution(old, &conv(channels, channels));
        let limit = Workspace::DERIVED.winograd_bytes + Workspace::DERIVED.base_bytes;
        assert!(bytes(8) < limit);
        assert_eq!(bytes(1024), limit);
    }
}
