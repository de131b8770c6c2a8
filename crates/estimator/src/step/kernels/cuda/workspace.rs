//! The workspace that cuDNN uses during a convolution. libtorch asks cuDNN how much its chosen plan
//! needs, takes that from the caching allocator and returns it after the call (`run_conv_plan` of
//! `Conv_v8.cpp`, the default since 2.0 and in 2.11: `cudnnv8_enabled_check_debug` of
//! `ConvUtils.h`). There is no limit; a plan whose workspace cannot be allocated is skipped for the
//! next one (`try_configs`), so a step may run in less memory than stated here, but more slowly.
//!
//! The figures follow what cuDNN 9.19 answers for the engine that its heuristics offer first. It was asked
//! without a GPU, for each compute capability (`workspaces.txt`, made by
//! `crates/standin/tools/workspaces.py`). With `torch.backends.cudnn.benchmark` the fastest of ten engines
//! is taken, which only a GPU can tell: its workspace can be another one.

use super::super::super::sizes::ConvSize;
use super::Cuda;

/// Whether workspaces are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workspace {
    /// No workspace, to count only tensors.
    None,
    /// The workspaces of the engines that cuDNN's heuristics offer first.
    Heuristics,
}

/// What cuDNN computes. Its image is the larger one where the stride is 2, so that a transposed
/// convolution is an input gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Forward,
    InputGradient,
    WeightGradient,
}

/// Index tables of an implicit GEMM, the weight's pointers and counters.
const BASE_BYTES: u64 = 2 << 20;

/// A weight gradient is a long sum over pixels: up to this many 128x128 tiles of the weight, two for
/// each of the 144 multiprocessors of the largest GPUs, are accumulated at a time, in fp32.
const PARTIAL_TILES: u64 = 288;

impl Workspace {
    pub(super) fn bytes(self, cuda: Cuda, conv: &ConvSize, operation: Operation) -> u64 {
        if self == Self::None {
            return 0;
        }
        let sums = if operation == Operation::WeightGradient {
            partial_sums(conv)
        } else {
            0
        };
        BASE_BYTES
            .saturating_add(copies(cuda, conv, operation))
            .saturating_add(sums)
    }
}

fn partial_sums(conv: &ConvSize) -> u64 {
    const TILE: u64 = 128;
    let tiles = conv
        .outputs
        .div_ceil(TILE)
        .saturating_mul(conv.inputs.saturating_mul(conv.taps).div_ceil(TILE));
    conv.parameter_bytes()
        .saturating_mul(PARTIAL_TILES / tiles.max(1))
}

/// Copies of the image, the result and the weight in the layout that the engine computes in.
fn copies(cuda: Cuda, conv: &ConvSize, operation: Operation) -> u64 {
    let (image, result) = copied(cuda, conv, operation);
    let unit = 16 / conv.element_bytes();
    let padded = |channels: u64| channels.div_ceil(unit).saturating_mul(unit);
    let has_tensor_cores = cuda.has_tensor_cores(conv);
    // Tensor cores read channels in multiples of 16 bytes.
    let needs_padding = |channels: u64| has_tensor_cores && !channels.is_multiple_of(unit);
    let inputs = (conv.inputs, conv.input_pixels());
    let outputs = (conv.outputs, conv.output_pixels());
    let (large, small) = if conv.stride == 2 {
        (outputs, inputs)
    } else {
        (inputs, outputs)
    };
    let mut sum = 0_u64;
    for (is_copied, (channels, pixels)) in [(image, large), (result, small)] {
        if is_copied || needs_padding(channels) {
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

/// Whether the image and the result are copied.
fn copied(cuda: Cuda, conv: &ConvSize, operation: Operation) -> (bool, bool) {
    use Operation::{Forward, InputGradient, WeightGradient};
    const NONE: (bool, bool) = (false, false);
    const BOTH: (bool, bool) = (true, true);
    let (major, _) = cuda.compute_capability;
    let channels_last = cuda.memory_format.is_channels_last();
    match (conv.precision.is_half(), channels_last) {
        (true, true) => match (major, operation) {
            (10, InputGradient) => BOTH,
            (10, Forward) if conv.outputs > 64 => BOTH,
            (..=7, InputGradient) if conv.taps == 1 => BOTH,
            _ => NONE,
        },
        (true, false) => BOTH,
        // The images: the engine for few channels copies nothing.
        (false, _) if operation == WeightGradient && conv.inputs < 4 => NONE,
        (false, true) => match (major, operation) {
            (..=7, WeightGradient) => NONE,
            (..=7, _) => BOTH,
            _ if conv.taps == 1 => BOTH,
            (9, _) => NONE,
            (12.., InputGradient) if conv.stride == 2 => BOTH,
            (_, Forward) => (true, false),
            (_, InputGradient) => (false, true),
            (_, WeightGradient) => BOTH,
        },
        (false, false) => match (major, operation) {
            (..=7, _) => NONE,
            (8, Forward) => (true, false),
            _ => BOTH,
        },
    }
}

#[cfg(test)]
mod tests {
    use config::{MemoryFormat, Precision};

    use super::*;

    const CAPABILITIES: [(u32, u32); 7] =
        [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)];

    /// A row of `workspaces.txt`: the operation on a convolution, its memory format, and the bytes of
    /// each compute capability.
    fn row(line: &str) -> (Operation, ConvSize, MemoryFormat, Vec<u64>) {
        let (name, kib) = line.split_once(" : ").unwrap();
        let numbers =
            |text: &str| -> Vec<u64> { text.split(' ').map(|it| it.parse().unwrap()).collect() };
        let [op, kind, last, batch, c, height, width, k, r, stride] = numbers(name)[..] else {
            panic!("{line}");
        };
        let operation = match op {
            10 => Operation::Forward,
            11 => Operation::WeightGradient,
            _ => Operation::InputGradient,
        };
        let (inputs, outputs) = if stride == 2 { (k, c) } else { (c, k) };
        let conv = ConvSize {
            batch,
            inputs,
            outputs,
            height,
            width,
            taps: r * r,
            stride,
            precision: if kind == 0 {
                Precision::Fp32
            } else {
                Precision::Fp16
            },
        };
        let bytes = numbers(kib).into_iter().map(|kib| kib << 10).collect();
        (operation, conv, MemoryFormat::of(last == 1), bytes)
    }

    /// Never less than cuDNN's own figure, but for a small share of what the step holds; and mostly
    /// not more.
    #[test]
    fn the_figures_of_cudnn() {
        let lines = include_str!("workspaces.txt").lines();
        let (mut num_rows, mut num_close) = (0, 0);
        for line in lines.filter(|line| !line.starts_with('#')) {
            let (operation, conv, memory_format, bytes) = row(line);
            let images = (conv.inputs * conv.input_pixels() + conv.outputs * conv.output_pixels())
                * conv.element_bytes();
            for (capability, bytes) in CAPABILITIES.into_iter().zip(bytes) {
                let cuda = Cuda {
                    memory_format,
                    ..Cuda::new(capability)
                };
                let said = Workspace::Heuristics.bytes(cuda, &conv, operation);
                let tolerated = images / 16 + (8 << 20);
                // Small convolutions can take several times their images, far from a step's peak.
                let is_small = images < 160 << 20;
                assert!(
                    is_small || bytes <= said + tolerated,
                    "{capability:?} {line}: {said} of {bytes}"
                );
                num_rows += 1;
                num_close += u64::from(said.abs_diff(bytes) <= tolerated);
            }
        }
        assert_eq!((num_close, num_rows), (520, 644));
    }
}
