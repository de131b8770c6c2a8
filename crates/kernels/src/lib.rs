//! Batch norm with ReLU and pooling, in as few passes over memory as possible. libtorch runs each of them as a pass
//! of its own, and most of their time is memory's.
//!
//! Tensors are channels-last: rows of channels, one row per pixel, in slices of [`Element`]s. A caller splits the
//! rows among its threads. Sums are taken over blocks of [`block_rows`] rows and then merged in order, so that no
//! result depends on the number of threads.
//!
//! There is one body per kernel. It is compiled for several instruction sets, of which the machine's best is taken at
//! run time, and each computes the same bits: sums are ordered by channels and rows alone, and `mul_add` rounds once
//! everywhere. Without an instruction for `mul_add` the kernels are slow.
//!
//! Slices hold whole rows of as many channels as the coefficients have. Of slices with unequal numbers of rows the
//! least is taken, and without channels nothing is done.
//!
//! ```
//! use kernels::{Affine, activate_in_place};
//!
//! // Two pixels of two channels.
//! let mut x = [1.0_f32, -2.0, 3.0, 4.0];
//! activate_in_place(&mut x, Affine { scale: &[2.0, 1.0], shift: &[0.0, -1.0] });
//! assert_eq!(x, [2.0, 0.0, 6.0, 3.0]);
//! ```
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled within the function of its instruction set"
)]
#![expect(
    clippy::many_single_char_names,
    reason = "`x`, `y`, `z`, and the four pixels of a window"
)]

mod activate;
mod copy;
pub mod cuda;
mod differentiate;
mod element;
mod moments;
mod pool;
#[cfg(test)]
mod tests;
mod tiles;

use multiversion::multiversion;

pub use differentiate::{Gradient, Sums};
pub use element::{Affine, Element, bf16};
pub use moments::Moments;
pub use pool::Grid;

/// Elements of a block: what a core's fastest cache holds.
const BLOCK: usize = 8192;

/// Rows of a block, over which a sum is taken at once; the last block may have fewer.
pub const fn block_rows(channels: usize) -> usize {
    let rows = BLOCK / if channels == 0 { 1 } else { channels };
    if rows < 32 {
        32
    } else if rows > 1024 {
        1024
    } else {
        rows
    }
}

/// Functions that are compiled for several instruction sets.
macro_rules! best {
    ($($(#[$doc:meta])* $module:ident::$name:ident($($argument:ident: $type:ty),* $(,)?);)*) => {$(
        $(#[$doc])*
        #[multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
            "x86_64+avx2+fma",
        ))]
        #[allow(unreachable_pub, reason = "its versions within it are as visible as it is")]
        pub fn $name<T: Element>($($argument: $type),*) {
            $module::$name($($argument),*);
        }
    )*};
}

best! {
    /// Mean and sum of squared deviations per channel, of one block of rows.
    moments::moments(x: &[T], mean: &mut [f32], deviation: &mut [f32]);

    /// `y = relu(scale x + shift)`. Rows of `y` start `stride` elements apart: half of a concatenation has its rows
    /// within longer ones.
    activate::activate(x: &[T], affine: Affine<'_>, y: &mut [T], stride: usize);

    /// As [`activate`], over its input.
    activate::activate_in_place(x: &mut [T], affine: Affine<'_>);

    /// Copies rows of `channels`, which start `stride` elements apart, to rows `out_stride` apart: between a tensor and
    /// half of a concatenation.
    copy::copy(x: &[T], stride: usize, y: &mut [T], out_stride: usize, channels: usize);

    /// [`activate`] of the largest of each 2x2 pixels. `x` are rows of images, two at a time, and `y` has a quarter
    /// of their pixels.
    pool::activate_pooled(x: &[T], affine: Affine<'_>, grid: Grid, y: &mut [T]);

    /// Sums over one block of rows: of the gradient where ReLU passed it, and of its product with `x - mean`.
    /// Without a mask the gradient is whole.
    differentiate::sums(
        dy: &[T],
        x: &[T],
        mask: Option<Affine<'_>>,
        mean: &[f32],
        sums: &mut [f32],
        products: &mut [f32],
    );

    /// The gradient of batch norm's input, over that of ReLU's output (or, without a mask, of batch norm's).
    differentiate::differentiate(dy: &mut [T], x: &[T], mask: Option<Affine<'_>>, gradient: Gradient<'_>);

    /// Adds the gradient of [`activate_pooled`] to that of another reader of the same activation, and applies
    /// ReLU's mask to the sum. Arguments are as there.
    pool::unpool(dy: &mut [T], x: &[T], affine: Affine<'_>, grid: Grid, pooled: &[T]);
}
