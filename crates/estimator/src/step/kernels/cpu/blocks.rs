//! Channels-first: oneDNN computes on copies in blocks of channels, which it makes of each operand
//! before, and from which the result is brought into order after. A bound from above.

use super::super::super::sizes::ConvSize;
use super::{Cpu, padded, product};

/// Biases, and what is not counted.
pub(super) const BESIDE_BYTES: u64 = 1_024;
/// Inputs that are read as they lie, an image's three colours.
const FEW: u64 = 3;
/// Channels of so few that kernels are not told apart: those of networks of width 1 and 2, and no others
/// but the head's.
const NARROW: u64 = 2;

impl Cpu {
    /// Forward, beside the result.
    pub(super) fn blocked_forward(self, conv: &ConvSize) -> u64 {
        let out = Self::large(conv, conv.outputs);
        self.around(conv, (conv.inputs, 1), (conv.outputs, 1), out)
    }

    /// Gradient of the input, beside itself.
    pub(super) fn blocked_input_gradient(self, conv: &ConvSize) -> u64 {
        // Of a transposed convolution the input is the small image.
        let small = conv.stride * conv.stride;
        let out = Self::large(conv, conv.inputs) / small;
        self.around(conv, (conv.outputs, 1), (conv.inputs, small), out)
    }

    /// Forward of a transposed one, beside the result: it ends with two copies of that.
    pub(super) fn blocked_transposed(self, conv: &ConvSize, scratch: u64) -> u64 {
        let out = Self::large(conv, conv.outputs);
        let before = self
            .blocked(conv, conv.inputs, conv.stride * conv.stride)
            .saturating_add(self.blocked_weight(conv))
            .saturating_add(scratch);
        before.max(out.saturating_mul(2))
    }

    /// Whether a convolution computes on copies. A tensor of one channel lies both ways and passes
    /// for channels-first.
    pub(super) fn in_blocks(self, conv: &ConvSize) -> bool {
        self.is_channels_first() || conv.inputs == 1
    }

    /// Whether a bound takes every operand to be copied. A tensor of one channel lies both ways, and then
    /// oneDNN may copy what it else reads as it lies: one image of 160x96 at width 1 took 13 channels more
    /// than were counted, 33 % of the step. Too much by up to 63 % there, by 6 % at width 2.
    pub(super) fn is_narrow(self, conv: &ConvSize) -> bool {
        self.is_bounded() && conv.inputs.min(conv.outputs) <= NARROW
    }

    /// A gradient that comes channels-last to a convolution that passes for channels-first.
    pub(super) fn turned(self, conv: &ConvSize) -> u64 {
        if self.is_channels_first() {
            0
        } else {
            Self::large(conv, conv.outputs)
        }
    }

    /// Copies of the input and of the gradient, from which that of a weight is made.
    pub(super) fn blocked_operands(self, conv: &ConvSize) -> u64 {
        let gradient = self.blocked(conv, conv.outputs, 1);
        let few = if conv.element_bytes == 2 {
            self.isa.block() - 1
        } else {
            FEW
        };
        if conv.inputs <= few && conv.taps > 1 && !self.is_narrow(conv) {
            return gradient;
        }
        gradient.saturating_add(self.blocked(conv, conv.inputs, conv.stride * conv.stride))
    }

    /// What a weight takes in blocks of channels, of which the last are not full, more than it has.
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
            conv.element_bytes,
        ])
    }

    /// Copies of what is read and of the weight, and the result in blocks: first all three, then the
    /// last and the result in order, which is `out` and held by the caller. Channels, and what the
    /// image is smaller by.
    fn around(self, conv: &ConvSize, read: (u64, u64), written: (u64, u64), out: u64) -> u64 {
        let is_copied = read.0 >= self.isa.block() || conv.taps == 1 || self.is_narrow(conv);
        let source = if is_copied {
            self.blocked(conv, read.0, read.1)
        } else {
            0
        };
        let result = self.blocked(conv, written.0, written.1);
        // A pointwise convolution in half precision: each thread adds up an image in fp32.
        let sums = if conv.taps == 1 && conv.element_bytes == 2 {
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

    /// A tensor of the larger image.
    pub(super) fn large(conv: &ConvSize, channels: u64) -> u64 {
        product(&[
            conv.batch,
            channels,
            conv.height,
            conv.width,
            conv.element_bytes,
        ])
    }
}
