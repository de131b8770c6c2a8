//! What oneDNN allocates inside of an operation, in libtorch 2.11 (oneDNN 3.10.2) on a CPU with
//! AVX512, channels-last: read off recorded allocations, and for the gradient of a weight in half
//! precision derived from `jit_avx512_core_bf16_conv_kernel.cpp`, whose threads it has to divide as
//! oneDNN does.
//!
//! Other instruction sets and channels-first take other kernels, of which nothing is said here.

use super::super::sizes::ConvSize;

/// Channels of a block.
const BLOCK: u64 = 16;
/// Scratch of a convolution beside the copy of its weight (12,336 to 12,464 bytes recorded).
const SMALL_BYTES: u64 = 12_464;
/// Barriers and alignment of the gradient of a weight (8,448 to 8,708 bytes recorded).
const BARRIERS_BYTES: u64 = 8_704;
/// Scratch of a transposed convolution for each thread, beside half of an image (8,216 to 20,480
/// bytes recorded).
const UP_THREAD_BYTES: u64 = 16_384;

/// The CPU that a step runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Threads of libtorch within an operation, up to [`Self::MAX_THREADS`].
    pub threads: u32,
}

/// Rounds up to whole blocks of channels.
fn padded(channels: u64) -> u64 {
    channels.div_ceil(BLOCK).saturating_mul(BLOCK)
}

fn product(factors: &[u64]) -> u64 {
    factors
        .iter()
        .fold(1, |product: u64, factor| product.saturating_mul(*factor))
}

impl Cpu {
    /// More than a CPU has; each is looked at when work is shared out.
    pub const MAX_THREADS: u32 = 1024;

    /// At least one, at most [`Self::MAX_THREADS`].
    fn num_threads(self) -> u64 {
        u64::from(self.threads.clamp(1, Self::MAX_THREADS))
    }

    /// Forward or gradient of the input: the weight once more, in blocks.
    pub(super) fn convolution(conv: &ConvSize) -> u64 {
        if conv.is_small() {
            return Self::columns(conv);
        }
        conv.weight_bytes().saturating_add(SMALL_BYTES)
    }

    /// What libtorch's own kernels unfold, image by image: each pixel's window, or the output of a
    /// transposed convolution.
    pub(super) fn columns(conv: &ConvSize) -> u64 {
        let numbers = match conv.taps {
            9 => product(&[conv.inputs, 9]),
            4 => conv.outputs,
            _ => 0,
        };
        product(&[numbers, conv.height, conv.width, 4])
    }

    /// Forward of a transposed convolution: half of an image of the output for each thread.
    pub(super) fn transposed(self, conv: &ConvSize) -> u64 {
        if conv.is_small() {
            return Self::columns(conv);
        }
        let image = product(&[
            padded(conv.outputs),
            conv.height,
            conv.width,
            conv.element_bytes,
        ]);
        let of_thread = (image / 2).saturating_add(UP_THREAD_BYTES);
        of_thread
            .saturating_mul(self.num_threads())
            .saturating_add(conv.weight_bytes())
    }

    /// Gradient of a weight, beside the gradient itself. `conv` is of the forward.
    pub(super) fn weight_gradient(self, conv: &ConvSize) -> u64 {
        let fp32 = product(&[padded(conv.inputs), padded(conv.outputs), conv.taps, 4]);
        let threads = self.num_threads();
        if conv.element_bytes > 2 {
            // Each thread but one adds up in a buffer of its own where images and rows are shared
            // out, none where channels are: the larger.
            return fp32
                .saturating_mul(threads - 1)
                .saturating_add(BARRIERS_BYTES);
        }
        // Input and gradient of an image, transposed; rows of the input with two more.
        let transposed = conv.stride == 2;
        let (src, dst) = if transposed {
            // As a convolution from the large side to the small one.
            (
                product(&[padded(conv.outputs), conv.height, conv.width + 4]),
                product(&[
                    padded(conv.inputs),
                    conv.height / 2,
                    (conv.width / 2).next_multiple_of(2),
                ]),
            )
        } else {
            let width = if conv.taps == 1 {
                conv.width
            } else {
                conv.width + 2
            };
            // Less than a block is a block of its own.
            let inputs = if conv.inputs < BLOCK && conv.taps > 1 {
                conv.inputs
            } else {
                padded(conv.inputs)
            };
            (
                product(&[inputs, conv.height, width]),
                product(&[padded(conv.outputs), conv.height, conv.width]),
            )
        };
        let images = match conv.taps {
            _ if transposed => 1,
            1 => threads,
            _ => self.images_at_once(conv),
        };
        let copies = src.saturating_add(dst).saturating_mul(2 * images);
        let sums = if transposed { threads } else { images };
        copies
            .saturating_add(fp32.saturating_mul(sums))
            .saturating_add(8 * padded(conv.outputs))
            .saturating_add(BARRIERS_BYTES)
    }

    /// How many images (or parts of them) oneDNN works on at a time: it shares threads out over
    /// images and over blocks of channels so that the least memory moves.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "oneDNN compares these costs in single precision"
    )]
    fn images_at_once(self, conv: &ConvSize) -> u64 {
        let threads = self.num_threads();
        let (blocks_in, blocks_out) = (conv.inputs.div_ceil(BLOCK), conv.outputs.div_ceil(BLOCK));
        let row = conv.width + 2;
        let work = if conv.inputs >= 128 && conv.full_spatial() {
            conv.batch
        } else {
            conv.batch.saturating_mul(conv.height)
        }
        .max(1);
        let float = |value: u64| value as f64;
        let src = float(conv.batch) * float(conv.inputs) * float(conv.height) * float(row) * 2.0;
        let dst =
            float(conv.batch) * float(conv.outputs) * float(conv.height) * float(conv.width) * 2.0;
        let weight = float(conv.inputs) * float(conv.outputs) * float(conv.taps) * 4.0;
        let compensation = 0.5 * (src + dst) / weight;
        let ratio = float(blocks_out) / float(blocks_in);
        let src_coef = (1.0 / ratio).max(1.0) * if compensation < 1.0 { 4.0 } else { 1.0 };
        let (dst_coef, weight_coef) = (ratio.max(1.0), compensation.max(1.0));
        let cost = |images: u64, of_out: u64, of_in: u64| {
            let share = float(work.div_ceil(images)) / float(work);
            let (inputs, outputs) = (
                float(blocks_in.div_ceil(of_in)),
                float(blocks_out.div_ceil(of_out)),
            );
            let pixels = float(conv.batch) * float(BLOCK) * float(conv.height) * share;
            let block = float(conv.taps) * float(BLOCK * BLOCK);
            (src_coef * inputs * pixels * float(row)
                + dst_coef * outputs * pixels * float(conv.width)
                + weight_coef * inputs * outputs * block) as f32
        };
        let mut best = (cost(1, 1, 1), 1);
        for images in 1..=threads.min(work) {
            let rest = threads / images;
            for of_out in 1..=rest.min(blocks_out) {
                let of_in = (rest / of_out).min(blocks_in);
                let cost = cost(images, of_out, of_in);
                if cost <= best.0 {
                    best = (cost, images);
                }
            }
        }
        if best.1 > threads / 2 && best.1 < threads {
            threads.min(work)
        } else {
            best.1
        }
    }
}
