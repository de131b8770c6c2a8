//! Gradient checkpointing for `tch`: backward recomputes parts of the forward pass, so that
//! their saved tensors need not be kept.
//!
//! It mirrors `torch.utils.checkpoint`, and avoids its traps on networks with batch norm and skip
//! connections:
//! * BatchNorm's running statistics advance once per step, however often a segment is recomputed
//!   ([`batch_norm`]);
//! * every parameter of a segment gets its gradient, even with `use_reentrant` and an input that
//!   does not require one;
//! * a segment may have several inputs and outputs, and may *receive* tensors for its forward,
//!   which it rebuilds in the recompute.
//!
//! The crate has two mechanisms. [`Checkpoint`] makes a *segment* of any part of any graph, as
//! PyTorch does; use it for a model of your own. [`scheduled`] runs a whole U-Net by a
//! `schedule::Schedule`, which says when every tensor is made and freed. Neither decides what to
//! recompute: that is the caller's choice. Snug's policies `block` and `stage` use segments, and
//! its policies `selective` and `mixed` use schedules, as does `off` where our own kernels run:
//!
//! | policy | keeps | recomputes | peak of a step in bf16, batch 8 | operations |
//! |---|---|---|---|---|
//! | `off` | everything | nothing | 0.43 | 1.000 |
//! | `block` | inputs of each double convolution | each double convolution | 0.33 | 1.32 |
//! | `stage` | inputs of each stage | a double convolution with its pooling, or with its transposed convolution and concatenation | 0.25 | 1.33 |
//! | `selective` | the outputs of all convolutions but the first | the first convolution, batch norm, ReLU, pooling, transposed convolution, concatenation | 0.23 | 1.012 |
//! | `mixed` | per stage, as planned | per stage, as planned | 0.16 | 1.20 |
//!
//! A peak of 1 is the tensor bytes of a step in fp32 without checkpointing and with libtorch's operators: width 64,
//! 512x512, channels-last, Adam state allocated. Peaks are those that `estimator` predicts for a CPU with our own kernels,
//! and operations are derived; `docs/measurements` has what was measured.
//!
//! Call [`torch_ext::init`] before the first tensor is made, and run backward by
//! [`torch_ext::backward()`], which returns the errors of a recompute:
//!
//! ```
//! use checkpoint::{Checkpoint, Pass};
//! use tch::{Device, Kind, Tensor};
//!
//! torch_ext::init()?;
//! let weight = Tensor::randn([4, 3, 3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
//! let images = Tensor::randn([2, 3, 8, 6], (Kind::Float, Device::Cpu));
//!
//! let w = weight.shallow_clone();
//! let out = Checkpoint::default().run(&[&images], move |inputs, _pass: Pass| {
//!     let y = inputs[0].f_conv2d(&w, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)?;
//!     Ok(vec![y.f_relu()?])
//! })?;
//! torch_ext::backward(&out[0].sum(Kind::Float))?;
//! assert!(weight.grad().abs().max().double_value(&[]) > 0.0);
//! # Ok::<(), torch_ext::Error>(())
//! ```

use tch::Tensor;
use torch_ext::segment::{self, Options};
use torch_ext::{BoxError, Result};

pub use executor as scheduled;
pub use torch_ext::norm::{BatchNorm, batch_norm};
pub use torch_ext::segment::Pass;

/// How segments are checkpointed. `Default` is `torch.utils.checkpoint` with
/// `use_reentrant=False`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    options: Options,
}

impl Checkpoint {
    /// The form of the recompute: `true` runs a nested backward over the whole segment at
    /// once, `false` records the dropped tensors again and stops as soon as it has them.
    /// Both give the same gradients, bit for bit.
    #[must_use]
    pub fn use_reentrant(mut self, on: bool) -> Self {
        self.options.use_reentrant = on;
        self
    }

    /// Whether a recompute sees the random numbers of its forward (for dropout). On by
    /// default. If a segment has no random operators, turning it off saves a copy of the
    /// generator's state.
    #[must_use]
    pub fn preserve_rng_state(mut self, on: bool) -> Self {
        self.options.preserve_rng_state = on;
        self
    }

    /// Whether a non-reentrant recompute ends once it has recorded all that it must: then
    /// operators at the end of the segment that save nothing more do not run again.
    #[must_use]
    pub fn early_stop(mut self, on: bool) -> Self {
        self.options.early_stop = on;
        self
    }

    /// Runs `body` on `inputs` as one segment and returns its outputs.
    ///
    /// `inputs` is kept for backward; tensors that `body` saves are not. `body` captures
    /// parameters as shallow clones. It must use `f_` operators and pass their errors on
    /// with `?`, because an early stop arrives as such an error.
    ///
    /// # Errors
    /// The error of `body`; a panic of `body` resumes. [`torch_ext::backward()`] returns
    /// failures of the recompute.
    pub fn run<F>(self, inputs: &[&Tensor], body: F) -> Result<Vec<Tensor>>
    where
        F: Fn(&[Tensor], Pass) -> std::result::Result<Vec<Tensor>, BoxError> + Send + 'static,
    {
        segment::run(self.options, inputs, &[], body)
    }

    /// As [`Checkpoint::run`], with tensors that the forward pass *receives*. In the forward,
    /// `body` gets them after `inputs`. In the recompute it gets `inputs` alone and rebuilds
    /// them without a graph; they must require grad as they did in the forward, so that the
    /// same tensors are saved. Their gradient flows through the forward's graph once, whereas
    /// recomputing a skip connection inside a second segment would run its producer's backward
    /// twice.
    ///
    /// # Errors
    /// As [`Checkpoint::run`]. Always with `use_reentrant`, which cannot receive tensors.
    pub fn run_receiving<F>(
        self,
        inputs: &[&Tensor],
        received: &[&Tensor],
        body: F,
    ) -> Result<Vec<Tensor>>
    where
        F: Fn(&[Tensor], Pass) -> std::result::Result<Vec<Tensor>, BoxError> + Send + 'static,
    {
        segment::run(self.options, inputs, received, body)
    }
}
