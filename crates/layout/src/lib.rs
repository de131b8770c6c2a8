//! Memory format for `tch`: channels-last for parameters, inputs and activations.
//!
//! A 4-D tensor always has the *shape* `[N, C, H, W]`; its memory format is the order of
//! its values in memory. Convolutions of cuDNN and oneDNN are fastest if the channels of
//! a pixel are adjacent (`[N, H, W, C]`, "channels-last"). Convert the parameters once
//! ([`convert_parameters`]) and each batch ([`to_memory_format`]): operators keep the
//! format of their inputs. [`Watch`] proves it for a step, and names the operators that
//! lose the format.
//!
//! This crate never changes the shape of a tensor, and it does not decide whether
//! channels-last pays on a device: measure it.
//!
//! ```
//! use layout::MemoryFormat;
//! use tch::{Device, Kind, Tensor};
//!
//! let images = Tensor::zeros([2, 3, 8, 6], (Kind::Float, Device::Cpu));
//! let images = layout::to_memory_format(&images, MemoryFormat::ChannelsLast)?;
//! assert_eq!(images.stride(), [144, 1, 18, 3]);
//! assert!(layout::is_contiguous_in(&images, MemoryFormat::ChannelsLast));
//! # Ok::<(), torch_ext::Error>(())
//! ```

mod watch;

use tch::Tensor;
use torch_ext::Result;

pub use torch_ext::ops::{MemoryFormat, is_contiguous_in};
pub use watch::{FormatReport, Watch};

/// `tensor.contiguous(memory_format=format)`: returns the same values in the same shape
/// (`[N, C, H, W]`), and shares the storage if `tensor` already has this format.
///
/// # Errors
/// If `tensor` is not 4-D, or memory runs out.
#[doc(alias = "contiguous")]
pub fn to_memory_format(tensor: &Tensor, format: MemoryFormat) -> Result<Tensor> {
    torch_ext::ops::contiguous_in(tensor, format)
}

/// Converts the 4-D tensors among `parameters` to `format` in place, as
/// `module.to(memory_format=...)` does: they remain the leaves that the optimizer and
/// autograd know. Other tensors stay unchanged. Returns how many were converted.
///
/// # Errors
/// If memory runs out. Parameters converted before that stay converted, with equal values.
pub fn convert_parameters<'a>(
    parameters: impl IntoIterator<Item = &'a mut Tensor>,
    format: MemoryFormat,
) -> Result<usize> {
    let mut converted = 0;
    for parameter in parameters {
        if parameter.dim() != 4 {
            continue;
        }
        let data = to_memory_format(&parameter.detach(), format)?;
        tch::no_grad(|| parameter.set_data(&data));
        converted += 1;
    }
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn a_round_trip_keeps_every_value() {
        let t = Tensor::randn([2, 5, 7, 3], (Kind::Float, Device::Cpu));
        let there = to_memory_format(&t, MemoryFormat::ChannelsLast).unwrap();
        assert!(is_contiguous_in(&there, MemoryFormat::ChannelsLast));
        assert!(!is_contiguous_in(&there, MemoryFormat::Contiguous));
        let back = to_memory_format(&there, MemoryFormat::Contiguous).unwrap();
        assert!(is_contiguous_in(&back, MemoryFormat::Contiguous));
        assert!(back.equal(&t) && there.equal(&t));
    }

    #[test]
    fn parameters_stay_leaves_with_their_values() {
        let mut weight =
            Tensor::randn([4, 3, 3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let bias = Tensor::zeros([4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let before = weight.detach().copy();
        let handle = weight.shallow_clone();
        let mut all = [weight.shallow_clone(), bias];
        assert_eq!(
            convert_parameters(all.iter_mut(), MemoryFormat::ChannelsLast).unwrap(),
            1
        );
        weight = all[0].shallow_clone();
        assert!(weight.is_leaf() && weight.requires_grad());
        assert!(is_contiguous_in(&weight, MemoryFormat::ChannelsLast));
        assert!(
            is_contiguous_in(&handle, MemoryFormat::ChannelsLast),
            "handles share the change"
        );
        assert!(weight.equal(&before));
    }
}
