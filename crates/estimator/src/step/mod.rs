//! The peak of a training step on a CPU, in tensor bytes as libtorch's allocator is asked for them.
//!
//! A step is walked in order with the sizes of its tensors: the schedule's operations where a plan
//! is executed, autograd's nodes with what they save where it is not. Static bytes are there
//! throughout; gradients come one by one and stay until the update.

mod autograd;
mod books;
mod effects;
mod kernels;
mod scheduled;
mod sizes;
mod tape;
#[cfg(test)]
mod tests;
mod work;

use config::{CheckpointPolicy, ImageSize, Network, RunConfig};
use schedule::{Element, Plan, Schedule};

use crate::{EstimateError, Flops, Speed, StaticBytes};

pub(crate) use effects::Plans;
pub use kernels::{Cpu, Machine};
pub use tape::{At, Breakdown, Moment, Peak, StepMemory};

use books::Books;
use sizes::Sizes;
use tape::{Category, Held, Tape};
pub(crate) use work::Work;

/// What backward rebuilds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// Nothing.
    Off,
    /// Segments of autograd's graph.
    Segments(Segment),
    /// What a plan does not keep.
    Plan(Plan),
}

/// What one segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A double convolution.
    Block,
    /// With its pooling, or its transposed convolution and concatenation.
    Stage,
}

/// Who holds images and masks once the forward has read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// The caller, throughout: the same batch at each step.
    Kept,
    /// The step alone, as in the training loop.
    HandedOver,
}

/// A training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingStep {
    /// What is trained.
    pub network: Network,
    /// Size of the images.
    pub size: ImageSize,
    /// Images of a forward.
    pub batch: u32,
    /// Type of activations.
    pub element: Element,
    /// What backward rebuilds.
    pub recompute: Recompute,
    /// Convolve the halves of each concatenation apart.
    pub split_concat: bool,
    /// Forward passes for each optimizer step.
    pub accumulation: u32,
}

impl TrainingStep {
    /// The step of a configuration whose precision is chosen. `None` for the policy `auto`, which
    /// is no policy until one is chosen.
    pub fn of(config: &RunConfig, element: Element) -> Option<Self> {
        let network = config.network();
        let plan = |plan: Plan| Recompute::Plan(plan.with_split_concat(config.split_concat));
        let recompute = match (&config.grad_checkpoint_plan, config.checkpoint_policy()) {
            (_, CheckpointPolicy::Off) => Recompute::Off,
            (_, CheckpointPolicy::Block) => Recompute::Segments(Segment::Block),
            (_, CheckpointPolicy::Stage) => Recompute::Segments(Segment::Stage),
            (Some(stages), CheckpointPolicy::Mixed) => plan(Plan::new(stages.clone())),
            (_, CheckpointPolicy::Selective) => plan(Plan::selective(&network)),
            (None, CheckpointPolicy::Mixed) => plan(Plan::mixed(&network, config.split_concat)),
            (_, CheckpointPolicy::Auto) => return None,
        };
        Some(Self {
            network,
            size: config.img_size,
            batch: config.batch,
            element,
            recompute,
            split_concat: config.split_concat,
            accumulation: config.accumulation,
        })
    }

    /// The most that the step holds in tensors, parameters and optimizer state included, on a CPU
    /// with AVX512 and channels-last.
    ///
    /// # Errors
    /// [`EstimateError::ImageSize`] for a size that the network cannot halve,
    /// [`EstimateError::TooLarge`] past 64 bits, and where a plan is of another network.
    pub fn peak(&self, on: impl Into<Machine>, batch: Batch) -> Result<Peak, EstimateError> {
        Ok(self.memory(on, batch)?.peak)
    }

    /// The same, operation by operation. Of several micro-batches two are walked: the later ones
    /// are like the second.
    ///
    /// # Errors
    /// As [`Self::peak`].
    pub fn memory(
        &self,
        on: impl Into<Machine>,
        batch: Batch,
    ) -> Result<StepMemory, EstimateError> {
        let mut books = self.books(on.into())?;
        // From the second micro-batch on all gradients are there already.
        for micro_batch in 0..self.accumulation.clamp(1, 2) {
            books.accumulates = micro_batch > 0;
            let held = books.take_batch(batch, &self.recompute);
            match &self.recompute {
                Recompute::Off => autograd::Autograd::run(&mut books, None, self.split_concat),
                Recompute::Segments(segment) => {
                    autograd::Autograd::run(&mut books, Some(*segment), self.split_concat);
                }
                Recompute::Plan(plan) => {
                    let schedule = Schedule::compile(&self.network, plan, books.machine.target())
                        .map_err(|_other| EstimateError::Schedule)?;
                    scheduled::Walk::run(&mut books, &schedule)?;
                }
            }
            for held in held {
                books.tape.release(held);
            }
        }
        books.update();
        books.tape.finish(self.network.width)
    }

    /// Predicted seconds of the step, all micro-batches and the update, at the speed of a device.
    ///
    /// # Errors
    /// As [`Self::peak`].
    pub fn seconds(&self, on: impl Into<Machine>, speed: &Speed) -> Result<f64, EstimateError> {
        Flops::per_image(&self.network, self.size)?;
        let (sizes, split) = (self.sizes(), self.split_concat);
        let pass = match &self.recompute {
            Recompute::Off => work::seconds_of_autograd(&sizes, None, split, speed),
            Recompute::Segments(segment) => {
                work::seconds_of_autograd(&sizes, Some(*segment), split, speed)
            }
            Recompute::Plan(plan) => {
                work::seconds_of_plan(&sizes, plan, on.into().target(), speed)?
            }
        };
        let passes = f64::from(self.accumulation.max(1));
        Ok(passes * pass + speed.update_seconds(&self.network))
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            network: self.network,
            size: self.size,
            batch: u64::from(self.batch),
            element: self.element,
        }
    }

    /// The books of a step that has not begun: parameters and optimizer state alone.
    fn books(&self, machine: Machine) -> Result<Books, EstimateError> {
        // Refuses the sizes that nobody can run, and numbers past 64 bits.
        Flops::per_image(&self.network, self.size)?;
        let fixed = StaticBytes::of(&self.network)?;
        let mut books = Books::new(self.sizes(), machine);
        let tape = &mut books.tape;
        tape.keep(fixed.parameters.0, Category::Parameters);
        tape.keep(fixed.buffers.0, Category::Parameters);
        tape.keep(fixed.optimizer.0, Category::Optimizer);
        // A count of steps for each parameter.
        let counts = self.network.parameters();
        let counts = counts.iter().filter(|p| p.role.is_trainable()).count();
        tape.keep(4 * counts as u64, Category::Optimizer);
        Ok(books)
    }
}

impl Books {
    /// With nothing in them.
    const fn new(sizes: Sizes, machine: Machine) -> Self {
        Self {
            tape: Tape::new(),
            sizes,
            machine,
            accumulates: false,
            handed_over: Vec::new(),
        }
    }

    /// Puts images and masks on the tape. Returns what the step holds to its end.
    fn take_batch(&mut self, batch: Batch, recompute: &Recompute) -> Vec<Held> {
        let (images, masks) = (self.sizes.images(), self.sizes.masks());
        if batch == Batch::Kept {
            // Once, whatever the number of micro-batches.
            if !self.accumulates {
                self.tape.keep(images, Category::Activations);
                self.tape.keep(masks, Category::Activations);
            }
            return vec![];
        }
        let (images, masks) = (self.map(images), self.map(masks));
        // Autograd saves images that are not cast; a schedule holds them by name.
        if self.sizes.is_half() && !matches!(recompute, Recompute::Plan(_)) {
            self.handed_over = vec![images, masks];
            return vec![];
        }
        self.handed_over = vec![masks];
        vec![images]
    }
}
