//! Batch norm's output and ReLU in one pass.

use crate::element::{Affine, Element, normalised, relu};

#[inline(always)]
pub(crate) fn activate<T: Element>(x: &[T], affine: Affine<'_>, y: &mut [T], stride: usize) {
    let channels = affine.scale.len();
    if channels == 0 || stride < channels {
        return;
    }
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_mut(stride)) {
        for ((y, x), (scale, shift)) in y.iter_mut().zip(x).zip(affine.iter()) {
            *y = T::narrow(relu(normalised::<T>(x.widen(), scale, shift)));
        }
    }
}

#[inline(always)]
pub(crate) fn activate_in_place<T: Element>(x: &mut [T], affine: Affine<'_>) {
    let channels = affine.scale.len();
    if channels == 0 {
        return;
    }
    for x in x.chunks_exact_mut(channels) {
        for (x, (scale, shift)) in x.iter_mut().zip(affine.iter()) {
            *x = T::narrow(relu(normalised::<T>(x.widen(), scale, shift)));
        }
    }
}
