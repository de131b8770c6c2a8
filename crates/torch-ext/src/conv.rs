//! The backward of a convolution in two halves: the gradient of the weight, which needs the input,
//! and the gradient of the input, which does not. Also a transposed convolution that computes the
//! gradient of its bias as a sum, which is faster than oneDNN's kernel.

use tch::Tensor;

use crate::error::check;
use crate::ops::raw;
use crate::{Result, ffi};

/// The shape of a convolution: square stride and padding, no dilation, one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Stride in both directions.
    pub stride: i64,
    /// Zeros on each side.
    pub padding: i64,
    /// Whether it is a `conv_transpose2d`.
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
    /// Transposed kernel 2x2 that doubles the size.
    pub const UP_2X2: Self = Self {
        stride: 2,
        padding: 0,
        transposed: true,
    };

    /// The convolution itself: `input` `[N, C_in, H, W]` and `weight` in one dtype.
    ///
    /// A transposed convolution has the values and gradients of `conv_transpose2d`, except that the
    /// gradient of its bias is summed in another order.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit, or memory runs out.
    pub fn forward(self, input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        match (self.transposed, bias) {
            (false, _) => Ok(input.f_conv2d(weight, bias, stride, padding, [1, 1], 1)?),
            (true, Some(bias)) => self.transposed_with_bias(input, weight, bias),
            (true, None) => {
                let none = None::<&Tensor>;
                Ok(input.f_conv_transpose2d(weight, none, stride, padding, [0, 0], 1, [1, 1])?)
            }
        }
    }

    fn transposed_with_bias(
        self,
        input: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Tensor> {
        let mut out = std::ptr::null_mut();
        let conv = self.lend();
        // SAFETY: live tensors borrowed for the call; the output is valid for writes.
        check(unsafe {
            ffi::snug_conv_transpose(
                &raw const conv,
                raw(input),
                raw(weight),
                raw(bias),
                &raw mut out,
            )
        })?;
        // SAFETY: the shim made a new tensor, whose owner is now the caller.
        Ok(unsafe { Tensor::from_ptr(out) })
    }

    /// Gradients of the weight and, if asked for, of the bias.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit, or memory runs out.
    #[doc(alias = "convolution_backward")]
    pub fn backward_weight(
        self,
        grad: &Tensor,
        input: &Tensor,
        weight: &Tensor,
        with_bias: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
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
                if with_bias {
                    &raw mut db
                } else {
                    std::ptr::null_mut()
                },
            )
        })?;
        // SAFETY: the shim made a new tensor, whose owner is now the caller.
        let dw = unsafe { Tensor::from_ptr(dw) };
        // SAFETY: as above.
        let db = with_bias.then(|| unsafe { Tensor::from_ptr(db) });
        Ok((dw, db))
    }

    /// Gradient of the input. Only the shape, dtype and memory format of `shape_of` are used, not
    /// its values. Without it ([`Conv::knows_its_input`]) the shape follows from `grad`.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit, or memory runs out.
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
        device == tch::Device::Cpu || device.is_cuda()
    }

    const fn lend(self) -> ffi::Conv {
        ffi::Conv {
            stride: self.stride,
            padding: self.padding,
            transposed: self.transposed as i32,
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::autocast::{AutocastGuard, State};

    /// Input `[2, 4, 6, 10]`, weight and bias of a transposed convolution, all requiring gradients.
    fn leaves(channels_last: bool) -> [Tensor; 3] {
        // Before the first tensor: memory must go back to the allocator that it came from.
        crate::init().unwrap();
        // Without a random generator, which tests that run in parallel would draw from as well.
        let values = |shape: &[i64], step: f64| {
            let count: i64 = shape.iter().product();
            let at = Tensor::arange(count, (Kind::Float, Device::Cpu)) * step;
            at.sin().reshape(shape)
        };
        let mut input = values(&[2, 4, 6, 10], 0.7);
        if channels_last {
            input = input
                .permute([0, 2, 3, 1])
                .contiguous()
                .permute([0, 3, 1, 2]);
        }
        let weight = values(&[4, 3, 2, 2], 1.3);
        [input, weight, values(&[3], 2.1)].map(|t| t.set_requires_grad(true))
    }

    fn gradients(out: &Tensor, leaves: &[Tensor; 3]) -> [Tensor; 3] {
        let pattern = Tensor::arange(out.numel().cast_signed() as i64, (Kind::Float, Device::Cpu));
        let loss =
            (out.to_kind(Kind::Float) * (pattern.view_(out.size()).sin() + 1.0)).sum(Kind::Float);
        crate::backward(&loss).unwrap();
        leaves.each_ref().map(Tensor::grad)
    }

    /// Compares with autograd's own `conv_transpose2d`: the bits are the same, except for the
    /// gradient of the bias, which is summed in another order.
    #[test]
    fn a_transposed_convolution_equals_libtorchs() {
        /// A few rounding errors of a sum of 480 terms, relative to the largest.
        const OTHER_ORDER: f64 = 1e-5;
        /// Half a unit in bf16's last place, on each side.
        const OTHER_ORDER_BF16: f64 = 8e-3;
        for (dtype, channels_last) in [
            (None, false),
            (None, true),
            (Some(Kind::BFloat16), false),
            (Some(Kind::BFloat16), true),
        ] {
            let _autocast = dtype.map(|dtype| {
                let state = State {
                    enabled: true,
                    dtype,
                    cache_enabled: false,
                };
                AutocastGuard::enter(Device::Cpu, state).unwrap()
            });
            let (ours, theirs) = (leaves(channels_last), leaves(channels_last));
            let [input, weight, bias] = &ours;
            let here = Conv::UP_2X2.forward(input, weight, Some(bias)).unwrap();
            let [input, weight, bias] = &theirs;
            let (stride, zero) = ([2, 2], [0, 0]);
            let there = input.conv_transpose2d(weight, Some(bias), stride, zero, zero, 1, [1, 1]);
            assert!(here.equal(&there), "{dtype:?}");
            assert_eq!(here.kind(), dtype.unwrap_or(Kind::Float));
            let (here, there) = (gradients(&here, &ours), gradients(&there, &theirs));
            assert!(here[0].equal(&there[0]) && here[1].equal(&there[1]));
            assert_eq!(here[2].kind(), Kind::Float);
            let most = there[2].abs().max().double_value(&[]);
            let off = (&here[2] - &there[2]).abs().max().double_value(&[]) / most;
            let allowed = dtype.map_or(OTHER_ORDER, |_| OTHER_ORDER_BF16);
            assert!(off <= allowed, "{dtype:?}: {off:e}");
            assert!(most > 1.0);
        }
    }

    #[test]
    fn leaves_without_requires_grad_get_no_gradient() {
        let [input, weight, bias] = leaves(true);
        let frozen = [input.detach(), weight.detach(), bias];
        let [input, weight, bias] = &frozen;
        let out = Conv::UP_2X2.forward(input, weight, Some(bias)).unwrap();
        let grads = gradients(&out, &frozen);
        assert!(!grads[0].defined() && !grads[1].defined() && grads[2].defined());
        let plain = Conv::UP_2X2
            .forward(input, weight, Some(&bias.detach()))
            .unwrap();
        assert!(!plain.requires_grad() && plain.equal(&out.detach()));
    }
}
