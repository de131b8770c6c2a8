//! The memory that a weight gradient takes. For AVX512 and half precision it is derived from
//! `jit_avx512_core_bf16_conv_kernel.cpp` of oneDNN 3.10.2, so this module has to divide work among
//! threads as oneDNN does.

use super::super::super::sizes::ConvSize;
use super::blocks::BESIDE_BYTES;
use super::{Cpu, Isa, padded, product};

/// Channels of a block.
const BLOCK: u64 = Isa::Avx512.block();
/// Barriers and alignment (8,448 to 8,708 bytes recorded).
const BARRIERS_BYTES: u64 = 8_704;
/// Additional barriers per thread if threads divide the channels of an image (6,020 to 7,556 bytes
/// recorded for two threads).
const SHARED_THREAD_BYTES: u64 = 4_032;
/// Barriers of a pointwise convolution in fp32 (20,864 bytes recorded), and of a few channels that
/// are not channels-last (20,928 to 24,768).
const MORE_BARRIERS_BYTES: u64 = 24_768;
/// The buffer in which a thread of the AVX2 kernels accumulates: at most 5 x 5 x 16 x 16 numbers
/// (`jit_avx2_convolution.cpp`; 27,072 bytes recorded for two threads).
const AVX2_THREAD_BYTES: u64 = 5 * 5 * 16 * 16 * 4;

impl Cpu {
    /// Gradient of a weight, in addition to the gradient itself. `conv` describes the forward.
    pub(in super::super) fn weight_gradient(self, conv: &ConvSize) -> u64 {
        if self.unfolds(conv) {
            return Self::unfolded(conv);
        }
        let scratch = self.sums(conv).saturating_add(self.rest_of_blocks(conv));
        if !self.in_blocks(conv) {
            return scratch;
        }
        let with_copies = self
            .blocked_operands(conv)
            .saturating_add(self.turned(conv))
            .saturating_add(scratch);
        // In half precision the bias gradient of a transposed convolution is summed from an fp32
        // copy.
        let bias = if conv.stride == 2 && conv.element_bytes() == 2 {
            product(&[conv.batch, conv.outputs, conv.height, conv.width, 4])
        } else {
            0
        };
        with_copies.max(bias)
    }

    /// The same with libtorch's own kernels; a gradient with one channel may be copied as well.
    pub(in super::super) fn unfolded_small(self, conv: &ConvSize) -> u64 {
        let copy = if self.is_narrow(conv) {
            Self::large(conv, conv.outputs).saturating_add(BESIDE_BYTES)
        } else {
            0
        };
        Self::columns(conv).saturating_add(copy)
    }

    /// Whether a matrix product replaces a convolution: in half precision, with few channels that
    /// do not fill a block.
    fn unfolds(self, conv: &ConvSize) -> bool {
        self.in_blocks(conv)
            && conv.element_bytes() == 2
            && conv.stride == 1
            && conv.taps > 1
            && conv.inputs < BLOCK
            && !conv.outputs.is_multiple_of(BLOCK)
    }

    /// The windows of all pixels of one image, and four weights in fp32.
    fn unfolded(conv: &ConvSize) -> u64 {
        let windows = product(&[conv.inputs, conv.taps, conv.height, conv.width, 2]);
        windows
            .saturating_add(conv.parameter_bytes().saturating_mul(4))
            .saturating_add(BARRIERS_BYTES)
    }

    /// Buffers of threads and, in half precision, copies in the order in which the kernel reads
    /// them.
    fn sums(self, conv: &ConvSize) -> u64 {
        let fp32 = product(&[
            padded(conv.inputs, BLOCK),
            padded(conv.outputs, BLOCK),
            conv.taps,
            4,
        ]);
        let threads = self.num_threads();
        if self.isa == Isa::Avx2 {
            return AVX2_THREAD_BYTES
                .saturating_mul(threads)
                .saturating_add(BARRIERS_BYTES);
        }
        if conv.element_bytes() > 2 {
            // If images and rows are divided among threads, each thread except one accumulates in
            // its own buffer; if channels are divided, none does. The larger figure is taken.
            let barriers = if conv.taps == 1 || self.in_blocks(conv) {
                MORE_BARRIERS_BYTES
            } else {
                BARRIERS_BYTES
            };
            return fp32.saturating_mul(threads - 1).saturating_add(barriers);
        }
        // The input and the gradient of an image, transposed; rows of the input have two extra
        // elements.
        let transposed = conv.stride == 2;
        let (src, dst) = if transposed {
            // It is computed as a convolution from the large image to the small one.
            (
                product(&[padded(conv.outputs, BLOCK), conv.height, conv.width + 4]),
                product(&[
                    padded(conv.inputs, BLOCK),
                    conv.height / 2,
                    (conv.width / 2).next_multiple_of(2),
                ]),
            )
        } else {
            // Rows have an even length.
            let columns = conv.width.next_multiple_of(2);
            let width = if conv.taps == 1 { columns } else { columns + 2 };
            // Fewer channels than a block form their own block.
            let inputs = if conv.inputs < BLOCK && conv.taps > 1 {
                conv.inputs
            } else {
                padded(conv.inputs, BLOCK)
            };
            (
                product(&[inputs, conv.height, width]),
                product(&[padded(conv.outputs, BLOCK), conv.height, columns]),
            )
        };
        let of_image = src.saturating_add(dst).saturating_mul(2);
        let images = match conv.taps {
            _ if transposed => 1,
            // The kernel uses the copies in blocks.
            1 if self.in_blocks(conv) => 0,
            1 => threads,
            // There the work is divided differently: at most among images only.
            _ if self.in_blocks(conv) && of_image > fp32 => threads,
            _ => self.images_at_once(conv),
        };
        let copies = of_image.saturating_mul(images);
        let sums = if transposed || conv.taps == 1 {
            threads
        } else {
            images
        };
        let shared = if conv.taps > 1 && !transposed && images < threads {
            SHARED_THREAD_BYTES * threads
        } else {
            0
        };
        copies
            .saturating_add(fp32.saturating_mul(sums))
            .saturating_add(8 * padded(conv.outputs, BLOCK))
            .saturating_add(shared)
            .saturating_add(BARRIERS_BYTES)
    }

    /// How many images (or parts of images) oneDNN works on at a time: it divides threads among
    /// images and blocks of channels so that the least memory moves.
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
