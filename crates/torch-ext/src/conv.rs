//! The backward of a convolution in two halves: what the weight gets, which needs the input, and
//! what the input gets, which does not.

use tch::Tensor;

use crate::error::check;
use crate::ops::raw;
use crate::{Result, ffi};

/// Which convolution it is: square stride and padding, no dilation, one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Stride in both directions.
    pub stride: i64,
    /// Zeros on each side.
    pub padding: i64,
    /// `conv_transpose2d`.
    pub transposed: bool,
}

impl Conv {
    /// Kernel 3x3 that keeps the size.
    pub const SAME_3X3: Self = Self {
        stride: 1,
        padding: 1,
        transposed: false,
    };
    /// Kernel 1x1.
    pub const POINTWISE: Self = Self {
        stride: 1,
        padding: 0,
        transposed: false,
    };
    /// Transposed, kernel 2x2, that doubles the size.
    pub const UP_2X2: Self = Self {
        stride: 2,
        padding: 0,
        transposed: true,
    };

    /// The convolution itself: `input` `[N, C_in, H, W]` and `weight` in one dtype.
    ///
    /// # Errors
    /// Where shapes or dtypes do not fit, or memory runs out.
    pub fn forward(self, input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(if self.transposed {
            input.f_conv_transpose2d(weight, bias, stride, padding, [0, 0], 1, [1, 1])?
        } else {
            input.f_conv2d(weight, bias, stride, padding, [1, 1], 1)?
        })
    }

    /// Gradients of the weight and of the bias.
    ///
    /// # Errors
    /// Where shapes or dtypes do not fit, or memory runs out.
    #[doc(alias = "convolution_backward")]
    pub fn backward_weight(
        self,
        grad: &Tensor,
        input: &Tensor,
        weight: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (mut dw, mut db) = (std::ptr::null_mut(), std::ptr::null_mut());
        let conv = self.lend();
        // SAFETY: live tensors borrowed for the call; both outputs are valid for writes.
        check(unsafe {
            ffi::snug_conv_backward_weight(
                &raw const conv,
                raw(grad),
                raw(input),
                raw(weight),
                &raw mut dw,
                &raw mut db,
            )
        })?;
        // SAFETY: the shim made a new tensor, whose owner is now the caller.
        let dw = unsafe { Tensor::from_ptr(dw) };
        // SAFETY: as above.
        Ok((dw, unsafe { Tensor::from_ptr(db) }))
    }

    /// Gradient of the input. `shape_of` lends the input's shape, dtype and memory format; its
    /// values are not read. Without it ([`Conv::knows_its_input`]) the shape follows from `grad`.
    ///
    /// # Errors
    /// Where shapes or dtypes do not fit, or memory runs out.
    #[doc(alias = "convolution_backward")]
    pub fn backward_input(
        self,
        grad: &Tensor,
        shape_of: Option<&Tensor>,
        weight: &Tensor,
    ) -> Result<Tensor> {
        let mut dx = std::ptr::null_mut();
        let conv = self.lend();
        let shape = shape_of.map_or(std::ptr::null_mut(), raw);
        // SAFETY: live tensors, or null, borrowed for the call; the output is valid for writes.
        check(unsafe {
            ffi::snug_conv_backward_input(
                &raw const conv,
                raw(grad),
                shape,
                raw(weight),
                &raw mut dx,
            )
        })?;
        // SAFETY: the shim made a new tensor, whose owner is now the caller.
        Ok(unsafe { Tensor::from_ptr(dx) })
    }

    /// Whether [`Conv::backward_input`] may be called without a tensor of the input's shape.
    pub fn knows_its_input(device: tch::Device) -> bool {
        device == tch::Device::Cpu
    }

    const fn lend(self) -> ffi::Conv {
        ffi::Conv {
            stride: self.stride,
            padding: self.padding,
            transposed: self.transposed as i32,
        }
    }
}
