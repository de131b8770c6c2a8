//! Channels-first convolutions: oneDNN first copies each operand into blocks of channels, computes
//! on the copies, and then reorders the result. The figures are upper bounds.

use super::super::super::sizes::ConvSize;
use super::{Cpu, padded, product};

/// Biases, and small allocations that are not counted.
pub(super) const BESIDE_BYTES: u64 = 1_024;
/// The most channels of an input that is read in place: an image's three colours.
const FEW: u64 = 3;
/// At most this many channels, kernels are not distinguished. Only networks of width 1 and 2, and
/// the head, have so few.
const NARROW: u64 = 2;

impl Cpu {
    /// Forward, in addition to the result.
    pub(super) fn blocked_forward(self, conv: &ConvSize) -> u64 {
        let out = Self::large(conv, conv.outputs);
        self.around(conv, (conv.inputs, 1), (conv.outputs, 1), out)
    }

    /// Gradient of the input, in addition to the gradient itself.
    pub(super) fn blocked_input_gradient(self, conv: &ConvSize) -> u64 {
        // The input of a transposed convolution is the small image.
        let small = conv.stride * conv.stride;
        let out = Self::large(conv, conv.inputs) / small;
        self.around(conv, (conv.outputs, 1), (conv.inputs, small), out)
    }

    /// Forward of a transposed convolution, in addition to the result; it ends with two copies of
    /// the result.
    pub(super) fn blocked_transposed(self, conv: &ConvSize, scratch: u64) -> u64 {
        let out = Self::large(conv, conv.outputs);
        let before = self
            .blocked(conv, conv.inputs, conv.stride * conv.stride)
            .saturating_add(self.blocked_weight(conv))
            .saturating_add(scratch);
        before.max(out.saturating_mul(2))
    }

    /// Whether a convolution computes on copies. A tensor with one channel has both memory formats
    /// and counts as channels-first.
    pub(super) fn in_blocks(self, conv: &ConvSize) -> bool {
        self.is_channels_first() || conv.inputs == 1
    }

    /// Whether a bound assumes that every operand is copied. A tensor with one channel has both
    /// memory formats, and oneDNN may then copy operands that it otherwise reads in place: one
    /// image of 160x96 at width 1 took 13 channels more than were counted, 33 % of the step. The
    /// bound is too high by up to 63 % there, and by 6 % at width 2.
    pub(super) fn is_narrow(self, conv: &ConvSize) -> bool {
        self.is_bounded() && conv.inputs.min(conv.outputs) <= NARROW
    }

    /// A copy of a channels-last gradient for a convolution that counts as channels-first.
    pub(super) fn turned(self, conv: &ConvSize) -> u64 {
        if self.is_channels_first() {
            0
        } else {
            Self::large(conv, conv.outputs)
        }
    }

    /// Copies of the input and of the gradient, from which the weight gradient is computed.
    pub(super) fn blocked_operands(self, conv: &ConvSize) -> u64 {
        let gradient = self.blocked(conv, conv.outputs, 1);
        let few = if conv.element_bytes() == 2 {
            self.isa.block() - 1
        } else {
            FEW
        };
        if conv.inputs <= few && conv.taps > 1 && !self.is_narrow(conv) {
            return gradient;
        }
        gradient.saturating_add(self.blocked(conv, conv.inputs, conv.stride * conv.stride))
    }

    /// The extra bytes of a weight in blocks of channels, whose last blocks are not full.
    pub(super) fn rest_of_blocks(self, conv: &ConvSize) -> u64 {
        self.blocked_weight(conv)
            .saturating_sub(conv.weight_bytes())
    }

    fn blocked_weight(self, conv: &ConvSize) -> u64 {
        let block = self.isa.block();
        product(&[
            padded(conv.inputs, block),
            padded(conv.outputs, block),
            conv.taps,
            conv.element_bytes(),
        ])
    }

    /// Copies of the operand and of the weight, and the result in blocks: first all three, then the
    /// result in blocks together with the reordered result, which is `out` and held by the caller.
    /// `read` and `written` give the channels and the factor by which the image is smaller.
    fn around(self, conv: &ConvSize, read: (u64, u64), written: (u64, u64), out: u64) -> u64 {
        let is_copied = read.0 >= self.isa.block() || conv.taps == 1 || self.is_narrow(conv);
        let source = if is_copied {
            self.blocked(conv, read.0, read.1)
        } else {
            0
        };
        let result = self.blocked(conv, written.0, written.1);
        // In a pointwise convolution in half precision, each thread accumulates an image in fp32.
        let sums = if conv.taps == 1 && conv.element_bytes() == 2 {
            let channels = padded(written.0, self.isa.block());
            product(&[self.num_threads(), channels, conv.height, conv.width, 4])
        } else {
            0
        };
        let all = [source, self.blocked_weight(conv), sums, BESIDE_BYTES]
            .into_iter()
            .fold(result, u64::saturating_add);
        all.saturating_sub(out).max(result)
    }

    fn blocked(self, conv: &ConvSize, channels: u64, smaller: u64) -> u64 {
        Self::large(conv, padded(channels, self.isa.block())) / smaller
    }

    /// The bytes of a tensor with the size of the larger image.
    pub(super) fn large(conv: &ConvSize, channels: u64) -> u64 {
        product(&[
            conv.batch,
            channels,
            conv.height,
            conv.width,
            conv.element_bytes(),
        ])
    }
}
