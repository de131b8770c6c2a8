//! Copies between tensors whose rows lie differently far apart.

use crate::element::Element;

#[inline(always)]
pub(crate) fn copy<T: Element>(
    x: &[T],
    stride: usize,
    y: &mut [T],
    out_stride: usize,
    channels: usize,
) {
    if channels == 0 || stride < channels || out_stride < channels {
        return;
    }
    for (x, y) in x.chunks(stride).zip(y.chunks_mut(out_stride)) {
        for (y, x) in y.iter_mut().take(channels).zip(x) {
            *y = *x;
        }
    }
}
