//! Executes a [`Schedule`]: the forward and backward of a U-Net as one list of operations, with
//! every tensor held exactly as long as the list says.
//!
//! To autograd the network is one node ([`attach_backward`]). Inside it, each operation is the one
//! that autograd would have called, on the same operands (or two in one pass), so gradients have the same bits; only the
//! times at which tensors are made and freed differ. The autocast state is read from the thread
//! that runs [`forward`], and this crate casts by itself.

mod lookup;
mod parts;
mod step;

use std::sync::Arc;

use schedule::{Schedule, Target};
use tch::{Device, Kind, Tensor};
use torch_ext::conv::Conv;
use torch_ext::function::{attach_backward, version};
use torch_ext::norm::{self, BatchNorm, Kernels};
use torch_ext::{Error, Result, autocast};

use step::Step;

/// Weight and bias of a convolution, as fp32 leaves.
#[derive(Debug)]
pub struct ConvTensors {
    /// `[C_out, C_in, k, k]`, or `[C_in, C_out, k, k]` if transposed.
    pub weight: Tensor,
    /// `[C_out]`.
    pub bias: Tensor,
}

/// A convolution with its batch norm.
#[derive(Debug)]
pub struct LayerTensors {
    /// The 3x3 convolution.
    pub conv: ConvTensors,
    /// The batch norm after it.
    pub norm: BatchNorm,
}

/// The parameters of one stage.
#[derive(Debug)]
pub struct StageTensors {
    /// The transposed convolution before the double convolution, in an up stage.
    pub up: Option<ConvTensors>,
    /// The double convolution.
    pub layers: [LayerTensors; 2],
}

/// Handles on all parameters of a network, in forward order.
#[derive(Debug)]
pub struct NetworkTensors {
    /// Downs, bottleneck, ups.
    pub stages: Vec<StageTensors>,
    /// The final 1x1 convolution.
    pub head: ConvTensors,
}

impl NetworkTensors {
    /// The versions of every parameter and of `images`.
    fn versions(&self, images: &Tensor) -> Vec<u64> {
        let layers = self.stages.iter().flat_map(|stage| &stage.layers);
        let of_layers = layers.flat_map(|layer| {
            let (conv, norm) = (&layer.conv, &layer.norm);
            [&conv.weight, &conv.bias, &norm.weight, &norm.bias]
        });
        let convs = self.stages.iter().filter_map(|stage| stage.up.as_ref());
        let of_convs = convs.chain([&self.head]).flat_map(|c| [&c.weight, &c.bias]);
        of_layers
            .chain(of_convs)
            .chain([images])
            .map(version)
            .collect()
    }
}

/// What the kernels of `device` can do without, for [`Schedule::compile`]. `fused` says whether our own kernels take the
/// step's tensors.
pub fn target(device: Device, fused: bool) -> Target {
    Target {
        fused,
        in_place_norm: fused || norm::works_in_place(device),
        shapeless_input_grad: Conv::knows_its_input(device),
    }
}

/// Returns the logits of `images` (`[N, 3, H, W]` -> `[N, classes, H, W]`, in training). Their
/// backward follows the schedule. It runs once: the graph cannot be retained. As with autograd, it
/// fails if a parameter was modified in place after the forward.
///
/// # Errors
/// If memory runs out, if the tensors and the schedule belong to different networks, or if `images`
/// require a gradient, which this backward does not compute.
pub fn forward(
    schedule: Arc<Schedule>,
    tensors: NetworkTensors,
    images: &Tensor,
    kernels: Kernels,
) -> Result<Tensor> {
    if images.requires_grad() {
        return Err(Error::InvalidArgument(
            "a scheduled step does not compute the gradient of its images: use the policy \
             `block` or `stage`"
                .to_owned(),
        ));
    }
    let state = autocast::state(images.device())?;
    let compute = state.enabled.then_some(state.dtype);
    let (logits, step) =
        tch::no_grad(|| Step::forward(schedule, tensors, images, (compute, kernels)))?;
    attach_backward(&logits, move |gradient| Ok(step.backward(gradient)?))
}

/// `tensor` in autocast's dtype: a shallow clone if it already has it.
fn cast(tensor: &Tensor, compute: Option<Kind>) -> Result<Tensor> {
    Ok(match compute {
        Some(kind) => tensor.f_to_kind(kind)?,
        None => tensor.shallow_clone(),
    })
}
