//! What oneDNN and libtorch's own kernels allocate inside of an operation, in libtorch 2.11 (oneDNN
//! 3.10.2): read off recorded allocations of single convolutions with one and with two threads.
//!
//! On AVX512 and channels-last it is what they take. The other kernels are bounded from above:
//! channels-first, where operands are copied into blocks of channels, and AVX2, for which a CPU with
//! AVX512 was held to it. What AVX2 takes in half precision is not known, nor what AMX does.

mod blocks;
mod weight_gradient;

use schedule::Element;

use super::super::sizes::ConvSize;

/// What a bound allows for scalars, counts and barriers that are not counted one by one.
const UNCOUNTED_BYTES: u64 = 16 << 10;
/// Scratch of a convolution for each thread, and beside them (4,096 bytes in a forward, 4,224 in the
/// gradient of the input).
const THREAD_BYTES: u64 = 4_120;
const SMALL_BYTES: u64 = 4_224;
/// Scratch of a transposed convolution for each thread, beside half of an image, and beside threads:
/// the most that was recorded, in fp32 and in half precision.
const UP_BYTES: (u64, u64) = (8_216, 12_416);
const UP_HALF_BYTES: (u64, u64) = (14_360, 16_512);

/// Instruction sets whose kernels are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX512; in half precision AVX512-BF16 without AMX.
    Avx512,
    /// AVX2, in fp32.
    Avx2,
}

/// In which order the numbers of an image lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFormat {
    /// Pixel by pixel.
    ChannelsLast,
    /// Channel by channel; libtorch's default.
    ChannelsFirst,
}

/// The CPU that a step runs on, and how images lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Threads of libtorch within an operation, up to [`Self::MAX_THREADS`].
    pub threads: u32,
    /// Whose kernels run.
    pub isa: Isa,
    /// Of images and weights.
    pub memory_format: MemoryFormat,
}

/// Rounds up to whole blocks of channels.
fn padded(channels: u64, block: u64) -> u64 {
    channels.div_ceil(block).saturating_mul(block)
}

fn product(factors: &[u64]) -> u64 {
    factors
        .iter()
        .fold(1, |product: u64, factor| product.saturating_mul(*factor))
}

impl Isa {
    /// Channels of a block.
    const fn block(self) -> u64 {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 => 8,
        }
    }

    /// Channels that a convolution writes, in whole blocks: of two or of three vectors where there
    /// are more than one. At most by 6 % of a weight too many from 240 channels on, where both occur.
    fn written(self, channels: u64) -> u64 {
        let block = self.block();
        if channels <= block {
            return block;
        }
        match self {
            Self::Avx512 => padded(channels, 2 * block),
            Self::Avx2 => padded(channels, 3 * block),
        }
    }
}

impl Cpu {
    /// More than a CPU has; each is looked at when work is shared out.
    pub const MAX_THREADS: u32 = 1024;

    /// With AVX512, channels-last.
    pub const fn avx512(threads: u32) -> Self {
        Self {
            threads,
            isa: Isa::Avx512,
            memory_format: MemoryFormat::ChannelsLast,
        }
    }

    /// Whether it is known what kernels take in this type.
    pub const fn knows(self, element: Element) -> bool {
        matches!((self.isa, element), (Isa::Avx512, _) | (_, Element::Single))
    }

    /// Whether peaks are bounds from above, and not what is measured.
    pub const fn is_bounded(self) -> bool {
        !matches!(
            (self.isa, self.memory_format),
            (Isa::Avx512, MemoryFormat::ChannelsLast)
        )
    }

    /// What is not counted one by one, where a bound is asked for.
    pub(super) const fn uncounted(self) -> u64 {
        if self.is_bounded() {
            UNCOUNTED_BYTES
        } else {
            0
        }
    }

    /// At least one, at most [`Self::MAX_THREADS`].
    fn num_threads(self) -> u64 {
        u64::from(self.threads.clamp(1, Self::MAX_THREADS))
    }

    fn is_channels_first(self) -> bool {
        self.memory_format == MemoryFormat::ChannelsFirst
    }

    /// Forward of a convolution.
    pub(super) fn convolution(self, conv: &ConvSize) -> u64 {
        if conv.is_small() {
            return Self::columns(conv);
        }
        if self.in_blocks(conv) {
            return self.blocked_forward(conv);
        }
        self.weight_copy(conv.inputs, conv.outputs, conv)
            .saturating_add(self.small())
    }

    /// The gradient of its input.
    pub(super) fn input_gradient(self, conv: &ConvSize) -> u64 {
        if conv.is_small() {
            return if conv.stride == 2 {
                Self::columns(conv)
            } else {
                0
            };
        }
        if self.in_blocks(conv) {
            let blocked = self.blocked_input_gradient(conv);
            return blocked.saturating_add(self.turned(conv));
        }
        self.weight_copy(conv.outputs, conv.inputs, conv)
            .saturating_add(self.small())
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
        let image = product(&[conv.outputs, conv.height, conv.width, conv.element_bytes]);
        let (of_thread, beside) = if conv.element_bytes == 2 {
            UP_HALF_BYTES
        } else {
            UP_BYTES
        };
        let scratch = (image / 2)
            .saturating_add(of_thread)
            .saturating_mul(self.num_threads())
            .saturating_add(beside);
        if self.is_channels_first() {
            return self.blocked_transposed(conv, scratch);
        }
        self.weight_copy(conv.inputs, conv.outputs, conv)
            .saturating_add(scratch)
    }

    /// What a weight's gradient takes while it comes out of its blocks into the parameter's order.
    pub(super) fn reordered(self, conv: &ConvSize) -> u64 {
        let copies = if self.is_channels_first() { 1 } else { 2 };
        let bytes = conv.weight_bytes().saturating_mul(copies);
        bytes.saturating_add(self.rest_of_blocks(conv))
    }

    /// The weight once more, in blocks of the channels that are written; in half precision of pairs
    /// of those that are read.
    fn weight_copy(self, read: u64, written: u64, conv: &ConvSize) -> u64 {
        let read = if conv.element_bytes == 2 {
            read.next_multiple_of(2)
        } else {
            read
        };
        product(&[
            read,
            self.isa.written(written),
            conv.taps,
            conv.element_bytes,
        ])
    }

    fn small(self) -> u64 {
        SMALL_BYTES + THREAD_BYTES * self.num_threads()
    }
}
