//! The workspace that cuDNN uses during a convolution. libtorch asks cuDNN how much its chosen plan
//! needs, takes that from the caching allocator and returns it after the call (`run_conv_plan` of
//! `Conv_v8.cpp`, the default since 2.0 and in 2.11: `cudnnv8_enabled_check_debug` of
//! `ConvUtils.h`). There is no limit; a plan whose workspace cannot be allocated is skipped for the
//! next one (`try_configs`), so a step may run in less memory than stated here, but more slowly.
//!
//! The figures are what cuDNN 9.19 answers for the engine that its heuristics offer first, for a convolution of
//! about the same batch, channels and image size ([`table`]). It was asked without a GPU, for each compute capability. With
//! `torch.backends.cudnn.benchmark` the fastest of ten engines is taken, which only a GPU can tell: its workspace
//! can be another one.

use super::super::super::sizes::ConvSize;
use super::Cuda;
use super::table::{self, Copied, Taken};

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

impl Workspace {
    pub(super) fn bytes(self, cuda: Cuda, conv: &ConvSize, operation: Operation) -> u64 {
        if self == Self::None {
            return 0;
        }
        let mut taken = table::taken(cuda, conv, operation).unwrap_or(BOUND);
        let is_weight = operation == Operation::WeightGradient && conv.element_bytes() == 4;
        let copies = cuda.is_deterministic && cuda.compute_capability >= DETERMINISTIC_FROM;
        let replaces = copies && is_weight && taken == NOTHING;
        if replaces {
            taken = DETERMINISTIC;
        }
        let unit = 16 / conv.element_bytes();
        let inputs = (conv.inputs, conv.input_pixels());
        let outputs = (conv.outputs, conv.output_pixels());
        let (image, result) = if conv.stride == 2 {
            (outputs, inputs)
        } else {
            (inputs, outputs)
        };
        let bytes = |(channels, pixels): (u64, u64), copied| {
            let channels = match copied {
                Copied::No => 0,
                Copied::Plain => channels,
                Copied::Padded => channels.div_ceil(unit).saturating_mul(unit),
            };
            channels
                .saturating_mul(pixels)
                .saturating_mul(conv.element_bytes())
        };
        let copied = bytes(image, taken.image).saturating_add(bytes(result, taken.result));
        let copied = copied.saturating_mul(1 + u64::from(taken.is_twice));
        let partial_sums = if replaces {
            PARTIAL_SUMS.min(copied / 32)
        } else {
            0
        };
        copied
            .saturating_add(partial_sums)
            .saturating_add(conv.weight_bytes().saturating_mul(taken.num_weights))
            .saturating_add(taken.rest_bytes)
    }
}

const NOTHING: Taken = Taken {
    image: Copied::No,
    result: Copied::No,
    is_twice: false,
    num_weights: 0,
    rest_bytes: 0,
};

/// The engines for weight gradients in fp32 that take nothing mostly add in any order. Of 172 such gradients on
/// cards of 8.0 to 12.0, the first deterministic engine took copies of both tensors for 149 (up to 6 % more), and
/// less for 23; for all of 128 on 7.5 it took nothing either.
const DETERMINISTIC_FROM: (u32, u32) = (8, 0);
const DETERMINISTIC: Taken = Taken {
    image: Copied::Plain,
    result: Copied::Plain,
    ..NOTHING
};

/// What such an engine takes in addition, within 0.9 MB: 0.2 to 1.9 MB were seen where the copies take 37 to 101 MB.
const PARTIAL_SUMS: u64 = 1 << 20;

/// Taken where cuDNN offers no engine: copies of both tensors, and a rest as of the weight gradients of the
/// widest stages. It is no bound of the whole table, some of whose engines take more.
const BOUND: Taken = Taken {
    image: Copied::Padded,
    result: Copied::Padded,
    rest_bytes: 256 << 20,
    ..NOTHING
};

#[cfg(test)]
mod tests {
    use config::{MemoryFormat, Precision};

    use super::super::table::CAPABILITIES;
    use super::*;

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
        assert_eq!((num_close, num_rows), (644, 644));
    }
}
