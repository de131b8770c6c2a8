//! The memory that oneDNN and libtorch's own kernels allocate inside an operation, in libtorch 2.11
//! (oneDNN 3.10.2), taken from recorded allocations of single convolutions with one and two
//! threads.
//!
//! On AVX512 and channels-last the figures are what the kernels take. The other kernels are bounded
//! from above: channels-first, where operands are copied into blocks of channels, AVX2, which
//! was recorded on a CPU with AVX512 that was restricted to it, and AMX, whose gradients of weights need less than those
//! of AVX512. AVX2 in half precision is unknown.

mod blocks;
mod weight_gradient;

use config::{MemoryFormat, Precision};

use super::super::sizes::ConvSize;

/// The allowance in a bound for scalars, counts and barriers that are not counted one by one.
const UNCOUNTED_BYTES: u64 = 16 << 10;
/// The allowance with AMX, per thread: above what was recorded with one and two threads, in both memory formats.
const AMX_BYTES: u64 = 320 << 10;
/// Scratch memory of a convolution, per thread and in addition (4,096 bytes in a forward, 4,224 in
/// the gradient of the input).
const THREAD_BYTES: u64 = 4_120;
const SMALL_BYTES: u64 = 4_224;
/// Scratch memory of a transposed convolution, per thread (in addition to half of an image) and in
/// addition to the threads': the most that was recorded, in fp32 and in half precision.
const UP_BYTES: (u64, u64) = (8_216, 12_416);
const UP_HALF_BYTES: (u64, u64) = (14_360, 16_512);

/// Instruction sets whose kernels are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX512; in half precision, AVX512-BF16 without AMX.
    Avx512,
    /// AVX2, only in fp32.
    Avx2,
    /// AMX, only in bf16.
    Amx,
}

/// The CPU that a step runs on, and the memory format there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Threads that libtorch uses within an operation, up to [`Self::MAX_THREADS`].
    pub threads: u32,
    /// The instruction set whose kernels run.
    pub isa: Isa,
    /// The memory format of images and weights.
    pub memory_format: MemoryFormat,
    /// Whether batch norm, ReLU and pooling are libtorch's operators, even where our own kernels could run.
    pub exact_kernels: bool,
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
            Self::Avx512 | Self::Amx => 16,
            Self::Avx2 => 8,
        }
    }

    /// Channels that a convolution writes, in whole blocks. A block has two or three vectors if the
    /// channels fill more than one. From 240 channels on, where both occur, this is too high by at
    /// most 6 % of a weight.
    fn written(self, channels: u64) -> u64 {
        let block = self.block();
        if channels <= block {
            return block;
        }
        match self {
            Self::Avx512 | Self::Amx => padded(channels, 2 * block),
            Self::Avx2 => padded(channels, 3 * block),
        }
    }
}

impl Cpu {
    /// A bound above any real CPU; the computation of shares loops over all threads.
    pub const MAX_THREADS: u32 = 1024;

    /// A CPU with AVX512, channels-last.
    pub const fn avx512(threads: u32) -> Self {
        Self {
            threads,
            isa: Isa::Avx512,
            memory_format: MemoryFormat::ChannelsLast,
            exact_kernels: false,
        }
    }

    /// Whether the memory of the kernels in this precision is known.
    pub const fn knows(self, precision: Precision) -> bool {
        matches!(
            (self.isa, precision),
            (Isa::Avx512 | Isa::Amx, Precision::Bf16)
                | (Isa::Avx512 | Isa::Avx2, Precision::Fp32 | Precision::Tf32)
        )
    }

    /// Whether peaks are upper bounds rather than the measured figures.
    pub const fn is_bounded(self) -> bool {
        !matches!(
            (self.isa, self.memory_format),
            (Isa::Avx512, MemoryFormat::ChannelsLast)
        )
    }

    /// The allowance for bytes that are not counted one by one, if peaks are bounds.
    pub(super) fn uncounted(self) -> u64 {
        match self.isa {
            Isa::Amx => self.num_threads() * AMX_BYTES,
            _ if self.is_bounded() => UNCOUNTED_BYTES,
            _ => 0,
        }
    }

    /// The number of threads: at least one, at most [`Self::MAX_THREADS`].
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

    /// The gradient of a convolution's input.
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

    /// The buffer into which libtorch's own kernels unfold each image: every pixel's window, or the
    /// output of a transposed convolution.
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
        let image = product(&[conv.outputs, conv.height, conv.width, conv.element_bytes()]);
        let (of_thread, beside) = if conv.element_bytes() == 2 {
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

    /// The bytes that a weight gradient needs while it is reordered from blocks to the parameter's
    /// order.
    pub(super) fn reordered(self, conv: &ConvSize) -> u64 {
        let copies = if self.is_channels_first() { 1 } else { 2 };
        let bytes = conv.weight_bytes().saturating_mul(copies);
        bytes.saturating_add(self.rest_of_blocks(conv))
    }

    /// A copy of the weight, in blocks of the written channels; in half precision, the read
    /// channels are in pairs.
    fn weight_copy(self, read: u64, written: u64, conv: &ConvSize) -> u64 {
        let read = if conv.element_bytes() == 2 {
            read.next_multiple_of(2)
        } else {
            read
        };
        product(&[
            read,
            self.isa.written(written),
            conv.taps,
            conv.element_bytes(),
        ])
    }

    fn small(self) -> u64 {
        SMALL_BYTES + THREAD_BYTES * self.num_threads()
    }
}
