//! Elements, and what happens to each.

use std::fmt::Debug;

pub use half::bf16;

/// A type of element that the kernels read and write; they compute in fp32.
pub trait Element: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    /// As fp32, exactly.
    fn widen(self) -> f32;
    /// Rounded to the nearest, ties to even.
    fn narrow(value: f32) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
}

/// `half`'s own conversions have branches, which keep a loop from being vectorised.
impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet = (bits >> 16) | 0x40;
        let bits = if value.is_nan() { quiet } else { rounded };
        #[expect(clippy::cast_possible_truncation, reason = "both were shifted by 16")]
        Self::from_bits(bits as u16)
    }
}

/// Batch norm: a scale and a shift per channel.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `weight / sqrt(variance + eps)`.
    pub scale: &'a [f32],
    /// `bias - mean scale`.
    pub shift: &'a [f32],
}

/// Batch norm's output as it would be stored: a mask must not tell apart what rounding makes equal.
#[inline(always)]
pub(crate) fn normalised<T: Element>(x: f32, scale: f32, shift: f32) -> f32 {
    T::narrow(x.mul_add(scale, shift)).widen()
}

/// What is not a number stays so.
#[inline(always)]
pub(crate) fn relu(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}

/// The gradient that ReLU passes on, given its input. It passes what is not a number, as libtorch does.
#[inline(always)]
pub(crate) fn passed(gradient: f32, input: f32) -> f32 {
    if input <= 0.0 { 0.0 } else { gradient }
}

impl Affine<'_> {
    /// Scale and shift of each channel.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (f32, f32)> {
        self.scale.iter().copied().zip(self.shift.iter().copied())
    }
}
