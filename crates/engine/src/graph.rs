//! A step as a CUDA graph: recorded once, then started as a whole, so that the host has next to nothing to do. Small
//! networks on fast GPUs wait for the host otherwise.
//!
//! A recorded step runs the kernels of an eager one, with the same bits. It keeps the numbers that the host passed to
//! them, such as the learning rate, and its memory is its own.

use tch::Tensor;
use torch_ext::graph::Graph;

use crate::batch::{MicroBatch, Pixels};
use crate::device;
use crate::error::{Error, Result};
use crate::learner::{Learner, StepHooks};

/// Eager steps of a recipe before it is recorded: libraries load kernels and search for algorithms in them.
pub const EAGER_STEPS: u32 = 3;

/// A step that can be started again.
#[derive(Debug)]
pub struct StepGraph {
    graph: Graph,
    /// Bytes and masks of each micro-batch, where the graph reads them.
    inputs: Vec<[Tensor; 2]>,
    lr: f64,
}

impl StepGraph {
    /// Records a step over micro-batches of these sizes, and what `then` does with the result of
    /// [`Learner::optimizer_step`]. Nothing of it is done yet. Neither the hooks nor `then` may wait for the device.
    ///
    /// # Errors
    /// If memory runs out; [`Error::Graph`] if the device cannot record the step. Gradients may be left behind.
    pub fn of(
        learner: &mut Learner,
        micro_batches: Vec<MicroBatch<'_>>,
        hooks: &mut impl StepHooks,
        then: impl FnOnce(&Tensor) -> Result<()>,
    ) -> Result<Self> {
        let device = learner.device();
        // The memory of eager steps is what the graph needs.
        device::empty_cache(device)?;
        let inputs = micro_batches.iter().map(|micro| {
            let [first, second] = learner.upload.bytes(&micro.pixels)?;
            Ok([first.f_empty_like()?, second.f_empty_like()?])
        });
        let inputs = inputs.collect::<Result<Vec<[Tensor; 2]>>>()?;
        let fixed = micro_batches
            .into_iter()
            .zip(&inputs)
            .map(|(micro, [first, second])| MicroBatch {
                pixels: match micro.pixels {
                    Pixels::Images(..) => Pixels::Images(first, second),
                    Pixels::Host(..) | Pixels::Bytes(..) => Pixels::Bytes(first, second),
                },
                ..micro
            });
        let moves = learner.optimizer.num_moves();
        let captured = Graph::capture(device, || then(&learner.step(fixed, hooks)?));
        // Nothing has run yet.
        learner.optimizer.take_back_to(moves);
        learner.scaler.forget_step();
        let (graph, ()) = captured.map_err(|error: Error| match error {
            error if error.is_out_of_memory() => error,
            error => Error::Graph(Box::new(error)),
        })?;
        let lr = learner.optimizer.lr();
        Ok(Self { graph, inputs, lr })
    }

    /// Whether a step of `learner` would be this one.
    pub fn is_of(&self, learner: &Learner) -> bool {
        self.lr.to_bits() == learner.optimizer.lr().to_bits()
    }

    /// Takes the step on these micro-batches. The host does not wait for it.
    ///
    /// # Errors
    /// If memory runs out, or the device fails.
    pub fn replay<'a>(
        &self,
        learner: &mut Learner,
        micro_batches: impl IntoIterator<Item = MicroBatch<'a>>,
    ) -> Result<()> {
        for (micro, inputs) in micro_batches.into_iter().zip(&self.inputs) {
            let uploaded = learner.upload.bytes(&micro.pixels)?;
            for (mut input, bytes) in inputs.iter().map(Tensor::shallow_clone).zip(uploaded) {
                input.f_copy_(&bytes)?;
            }
        }
        self.graph.replay()?;
        learner.optimizer.has_moved();
        Ok(())
    }
}
