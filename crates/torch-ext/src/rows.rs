//! The memory of channels-last tensors, for the crate `kernels`: on the CPU as slices.

use std::marker::PhantomData;
use std::slice;

use kernels::{Element, bf16, block_rows};
use tch::{Device, Kind, Tensor};

use crate::{Result, parallel};

/// Runs a body with `T` as the type of element of a kind that [`Rows::are_for_cpu`] lets pass.
macro_rules! by_kind {
    ($kind:expr, $element:ident => $body:expr) => {
        if $kind == Kind::BFloat16 {
            type $element = bf16;
            $body
        } else {
            type $element = f32;
            $body
        }
    };
}
pub(crate) use by_kind;

/// Copies a tensor into another of its shape and kind, which shares no memory with it.
///
/// # Errors
/// If the shapes differ.
pub fn copy(from: &Tensor, into: &Tensor) -> Result<()> {
    let rows = Rows::of(from).zip(Rows::of(into));
    let fits =
        |(x, y): &(Rows<'_>, Rows<'_>)| x.are_for_cpu() && x.has_shape_of(y) && x.is_apart_from(y);
    let Some((x, y)) = rows.filter(fits) else {
        into.shallow_clone().f_copy_(from)?;
        return Ok(());
    };
    let rows = block_rows(x.channels);
    by_kind!(x.kind, T => {
        // SAFETY: `T` is its type, and it is only read.
        let values = unsafe { x.values::<T>() };
        // SAFETY: `T` is its type, and nothing else uses it now.
        let out = unsafe { y.values_mut::<T>() };
        parallel::chunks(out, rows * y.stride, |i, out| {
            kernels::copy(part(values, i, rows * x.stride), x.stride, out, y.stride, x.channels);
        });
    });
    Ok(())
}

/// Rows of channels in the memory of a tensor, at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) start: *mut u8,
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    pub(crate) num: usize,
    pub(crate) channels: usize,
    /// From a row to the next, in elements.
    pub(crate) stride: usize,
    /// Lines of an image.
    height: usize,
    /// Rows of a line of an image.
    pub(crate) width: usize,
    tensor: PhantomData<&'a Tensor>,
}

impl<'a> Rows<'a> {
    /// The rows of a channels-last tensor, or of some channels of one.
    pub(crate) fn of(tensor: &'a Tensor) -> Option<Self> {
        if !matches!(tensor.kind(), Kind::Float | Kind::BFloat16 | Kind::Half) {
            return None;
        }
        let [n, channels, height, width] = sizes(&tensor.size())?;
        let strides = sizes(&tensor.stride())?;
        let num = n * height * width;
        if num == 0 || channels == 0 || (channels > 1 && strides[1] != 1) {
            return None;
        }
        // Size, stride, and rows from one to the next. The stride of a single one means nothing.
        let dimensions = [
            (width, strides[3], 1),
            (height, strides[2], width),
            (n, strides[0], height * width),
        ];
        let mut several = dimensions.into_iter().filter(|(size, ..)| *size > 1);
        let stride = several
            .clone()
            .next()
            .map_or(channels, |(_, stride, rows)| stride / rows);
        let fits = stride >= channels && several.all(|(_, found, rows)| found == stride * rows);
        fits.then(|| Self {
            start: tensor.data_ptr().cast(),
            device: tensor.device(),
            kind: tensor.kind(),
            num,
            channels,
            stride,
            height,
            width,
            tensor: PhantomData,
        })
    }

    /// Without elements of other channels between its rows.
    pub(crate) fn dense(tensor: &'a Tensor) -> Option<Self> {
        Self::of(tensor).filter(|rows| rows.stride == rows.channels)
    }

    /// The rows of a tensor that is pooled of this one's shape, in memory of its own.
    pub(crate) fn pooled<'b>(&self, tensor: &'b Tensor) -> Option<Rows<'b>> {
        Rows::dense(tensor).filter(|pooled| {
            let doubled = (2 * pooled.height, 2 * pooled.width, 4 * pooled.num);
            let has_halves = doubled == (self.height, self.width, self.num);
            let elements = |it: &Rows<'_>| (it.device, it.kind, it.channels);
            let is_like = elements(pooled) == elements(self);
            has_halves && is_like && pooled.is_apart_from(self)
        })
    }

    /// The rows of a gradient of this shape, in memory of its own.
    pub(crate) fn gradient<'b>(&self, tensor: &'b Tensor) -> Option<Rows<'b>> {
        Rows::dense(tensor).filter(|rows| rows.has_shape_of(self) && rows.is_apart_from(self))
    }

    /// Whether the kernels of the CPU take them.
    pub(crate) fn are_for_cpu(&self) -> bool {
        self.device == Device::Cpu && self.kind != Kind::Half
    }

    pub(crate) fn has_shape_of(&self, other: &Rows<'_>) -> bool {
        let shape = |it: &Rows<'_>| {
            let of_elements = (it.device, it.kind, it.channels);
            (of_elements, it.num, it.height, it.width)
        };
        shape(self) == shape(other)
    }

    pub(crate) fn is_apart_from(&self, other: &Rows<'_>) -> bool {
        let bytes = |it: &Rows<'_>| {
            let from = it.start.addr();
            from..from + it.len() * it.kind.elt_size_in_bytes()
        };
        let (a, b) = (bytes(self), bytes(other));
        a.end <= b.start || b.end <= a.start
    }

    /// Elements of a block of dense rows.
    pub(crate) const fn per_block(&self) -> usize {
        block_rows(self.channels) * self.channels
    }

    /// Elements of a line of an image.
    pub(crate) const fn per_line(&self) -> usize {
        self.width * self.channels
    }

    /// Elements from the first row to the last.
    pub(crate) const fn len(&self) -> usize {
        (self.num - 1) * self.stride + self.channels
    }

    /// # Safety
    /// The tensor is on the CPU, `T` is its type of element, and nothing writes to it while this is used.
    pub(crate) unsafe fn values<T: Element>(&self) -> &'a [T] {
        // SAFETY: these elements are the tensor's, as `of` has checked, and it outlives `self`.
        unsafe { slice::from_raw_parts(self.start.cast(), self.len()) }
    }

    /// # Safety
    /// The tensor is on the CPU, `T` is its type of element, and nothing else reads it or writes to it while this is
    /// used.
    pub(crate) unsafe fn values_mut<T: Element>(&self) -> &'a mut [T] {
        // SAFETY: as in `values`.
        unsafe { slice::from_raw_parts_mut(self.start.cast(), self.len()) }
    }
}

/// The part of this number, of parts of `len` elements.
pub(crate) fn part<T>(values: &[T], index: usize, len: usize) -> &[T] {
    let from = index * len;
    values
        .get(from..values.len().min(from + len))
        .unwrap_or_default()
}

fn sizes(values: &[i64]) -> Option<[usize; 4]> {
    let values: [i64; 4] = values.try_into().ok()?;
    let mut sizes = [0; 4];
    for (size, value) in sizes.iter_mut().zip(values) {
        *size = usize::try_from(value).ok()?;
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channels-last tensor of distinct numbers.
    fn numbered([n, c, h, w]: [i64; 4], kind: Kind) -> Tensor {
        let numbers = Tensor::arange(n * c * h * w, (Kind::Double, Device::Cpu)).remainder(251.0);
        numbers
            .view([n, h, w, c])
            .permute([0, 3, 1, 2])
            .to_kind(kind)
    }

    #[test]
    fn a_copy_writes_one_half_and_nothing_else() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
            for (n, c, h, w) in [(1, 1, 1, 1), (2, 3, 4, 5), (1, 16, 33, 40), (3, 40, 8, 2)] {
                for channels_last in [true, false] {
                    let (part, mut whole) = (
                        numbered([n, c, h, w], kind),
                        numbered([n, 2 * c, h, w], kind),
                    );
                    if !channels_last {
                        whole = whole.contiguous();
                    }
                    let other = whole.narrow(1, 0, c).copy();
                    let half = whole.narrow(1, c, c);
                    copy(&part, &half).unwrap();
                    assert!(half.equal(&part) && whole.narrow(1, 0, c).equal(&other));
                    let back = part.zeros_like();
                    copy(&half, &back).unwrap();
                    assert!(back.equal(&part), "{kind:?} {n} {c} {h} {w}");
                }
            }
        }
    }

    #[test]
    fn other_shapes_are_not_copied() {
        let (from, into) = (
            numbered([2, 3, 4, 6], Kind::Float),
            numbered([2, 3, 6, 4], Kind::Float),
        );
        assert!(copy(&from, &into).is_err());
    }
}
