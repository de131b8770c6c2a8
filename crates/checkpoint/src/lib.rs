//! Gradient checkpointing: parts of the forward pass are recomputed in backward instead
//! of keeping what they saved.
//!
//! Mirrors `torch.utils.checkpoint`, without its traps on this kind of network:
//! * BatchNorm's running statistics advance once, however often a segment is recomputed
//!   ([`batch_norm`]);
//! * every parameter of a segment gets its gradient, also with `use_reentrant` and an
//!   input that needs none;
//! * a segment may have several inputs and outputs, and may *receive* tensors for its
//!   forward that it rebuilds in the recompute.
//!
//! There are two mechanisms. [`Checkpoint`] makes a *segment* of any part of a graph: this is what
//! the guide does, and what the policies `block` and `stage` use. [`scheduled`] runs a whole U-Net by a
//! [`schedule::Schedule`], which says when every tensor is made and freed: the policies `selective`
//! and `mixed`.
//!
//! | policy | keeps | recomputes | peak of a step in bf16, batch 8 | operations |
//! |---|---|---|---|---|
//! | `off` | everything | nothing | 0.54 | 1.000 |
//! | `block` | inputs of each double convolution | each double convolution | 0.35 | 1.32 |
//! | `stage` | inputs of each stage | a double convolution with its pooling, or with its transposed convolution and concatenation | 0.28 | 1.33 |
//! | `selective` | convolution outputs | batch norm, ReLU, pooling, transposed convolution, concatenation | 0.25 | 1.011 |
//! | `mixed` | per stage, as planned | per stage, as planned | 0.17 | 1.20 |
//!
//! Peaks are of the tensor bytes of fp32 without checkpointing: width 64, 512x512, channels-last,
//! Adam state present (`docs/measurements`, which has the exact figures). Operations are derived.
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

pub mod scheduled;

use tch::Tensor;
use torch_ext::segment::{self, Options};
use torch_ext::{BoxError, Result};

pub use torch_ext::norm::{BatchNorm, batch_norm};
pub use torch_ext::segment::Pass;

/// How segments are checkpointed. `Default` is `torch.utils.checkpoint` with
/// `use_reentrant=False`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    options: Options,
}

impl Checkpoint {
    /// The form of the recompute: `true` runs a backward of its own inside backward (all
    /// of the segment at once), `false` records the dropped tensors anew and stops as
    /// soon as it has them. Gradients are the same bit for bit.
    #[must_use]
    pub fn use_reentrant(mut self, on: bool) -> Self {
        self.options.use_reentrant = on;
        self
    }

    /// Whether a recompute sees the random numbers of its forward (dropout). On by
    /// default; a segment without random operators saves a copy of the generator's state
    /// without it.
    #[must_use]
    pub fn preserve_rng_state(mut self, on: bool) -> Self {
        self.options.preserve_rng_state = on;
        self
    }

    /// Whether a non-reentrant recompute ends once it has recorded all it must: operators
    /// at the end of the segment that save nothing more are then not run again.
    #[must_use]
    pub fn early_stop(mut self, on: bool) -> Self {
        self.options.early_stop = on;
        self
    }

    /// Runs `body` on `inputs` as one segment and returns its outputs.
    ///
    /// `inputs` are kept for backward, everything that `body` saves is not. Parameters
    /// are captured as shallow clones. `body` uses `f_` operators and passes their errors
    /// on with `?`: an early stop arrives as such an error.
    ///
    /// # Errors
    /// What `body` returns; a panic of `body` resumes. A failure of the recompute comes out
    /// of [`torch_ext::backward()`].
    pub fn run<F>(self, inputs: &[&Tensor], body: F) -> Result<Vec<Tensor>>
    where
        F: Fn(&[Tensor], Pass) -> std::result::Result<Vec<Tensor>, BoxError> + Send + 'static,
    {
        segment::run(self.options, inputs, &[], body)
    }

    /// As [`Checkpoint::run`], with tensors that the forward pass *receives*: `body` gets
    /// them after `inputs` in the forward, and `inputs` alone in the recompute, where it
    /// rebuilds them: without a graph, and requiring grad where they did, so that the same
    /// tensors are saved. Their gradient flows through the forward's graph,
    /// once: a skip connection that is recomputed inside a second segment would run its
    /// producer's backward twice.
    ///
    /// # Errors
    /// As [`Checkpoint::run`]; with `use_reentrant`, which cannot receive, always.
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
