//! The peak of a training step, or of one that evaluates: on a CPU in tensor bytes as libtorch's
//! allocator is asked for them, on CUDA in the blocks and segments that its caching allocator makes of
//! them.
//!
//! A step is walked in order with the sizes of its tensors: the schedule's operations where a plan
//! is executed, autograd's nodes with what they save where it is not. Static bytes are there
//! throughout; gradients come one by one and stay until the update.

mod autograd;
mod books;
mod effects;
mod evaluation;
mod kernels;
mod scheduled;
mod sizes;
mod tape;
#[cfg(test)]
mod tests;
mod work;

use config::{Category, CheckpointPolicy, ImageSize, Network, RunConfig};
use schedule::{Alive, Element, Nth, Op, Plan, Schedule};

use crate::{EstimateError, Flops, Speed, StaticBytes};

pub(crate) use effects::Plans;
pub use evaluation::{EvaluationStep, Purpose, Resident};
pub use kernels::{Cpu, Cuda, HalfPrecision, Isa, Machine, MemoryFormat, Workspace};
pub use tape::{At, Breakdown, Moment, Peak, StepMemory};

use books::Books;
use sizes::Sizes;
use tape::{Held, Tape};
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

    /// The most that the step holds in tensors, parameters and optimizer state included.
    ///
    /// # Errors
    /// [`EstimateError::ImageSize`] for a size that the network cannot halve,
    /// [`EstimateError::TooLarge`] past 64 bits, [`EstimateError::Kernels`] where it is not known
    /// what kernels take, [`EstimateError::OutOfMemory`] where a GPU has no room for it, and where a
    /// plan is of another network.
    pub fn peak(&self, on: impl Into<Machine>, batch: Batch) -> Result<Peak, EstimateError> {
        Ok(self.memory(on, batch)?.peak)
    }

    /// The same, operation by operation. Of several micro-batches two are walked: the later ones
    /// are like the second. On CUDA two steps are walked, and the figures are of the second.
    ///
    /// # Errors
    /// As [`Self::peak`].
    pub fn memory(
        &self,
        on: impl Into<Machine>,
        batch: Batch,
    ) -> Result<StepMemory, EstimateError> {
        let machine = known(on, self.element)?;
        let (mut books, schedule) = self.begin(machine, batch)?;
        self.walk(&mut books, batch, schedule.as_ref())?;
        if let Machine::Cuda(_) = machine {
            // Once more, in what the first step has left in the cache.
            books.tape.begin_again();
            self.walk(&mut books, batch, schedule.as_ref())?;
        }
        books.tape.finish(self.network.width)
    }

    /// What is there before the first step, and the plan's schedule.
    fn begin(
        &self,
        machine: Machine,
        batch: Batch,
    ) -> Result<(Books, Option<Schedule>), EstimateError> {
        // Refuses the sizes that nobody can run, and numbers past 64 bits.
        Flops::per_image(&self.network, self.size)?;
        let mut books = Books::new(self.sizes(), machine, machine.allocator());
        let schedule = match &self.recompute {
            Recompute::Plan(plan) => Schedule::compile(&self.network, plan, machine.target())
                .map(Some)
                .map_err(|_other| EstimateError::Schedule)?,
            _ => None,
        };
        books.hold_fixed(Resident::Training)?;
        if batch == Batch::Kept {
            books.keep_batch();
        }
        Ok((books, schedule))
    }

    /// One step.
    fn walk(
        &self,
        books: &mut Books,
        batch: Batch,
        schedule: Option<&Schedule>,
    ) -> Result<(), EstimateError> {
        // From the second micro-batch on all gradients are there already.
        for micro_batch in 0..self.accumulation.clamp(1, 2) {
            books.accumulates = micro_batch > 0;
            let held = books.take_batch(batch, &self.recompute);
            match (&self.recompute, schedule) {
                (Recompute::Segments(segment), _) => {
                    autograd::Autograd::run(books, Some(*segment), self.split_concat);
                }
                (_, Some(schedule)) => scheduled::Walk::run(books, schedule)?,
                (_, None) => autograd::Autograd::run(books, None, self.split_concat),
            }
            for held in held {
                books.tape.release(held);
            }
        }
        books.update();
        Ok(())
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

    /// Predicted seconds of each moment of a step that [`Self::memory`] walked: the whole of it shared out by
    /// what the operations compute and move. For charts: no figure is made of them.
    ///
    /// # Errors
    /// As [`Self::seconds`].
    pub fn moment_seconds(
        &self,
        on: impl Into<Machine>,
        memory: &StepMemory,
        speed: &Speed,
    ) -> Result<Vec<f64>, EstimateError> {
        let (sizes, alive) = (self.sizes(), Alive::new(self.network.num_stages()));
        let is_plan = matches!(self.recompute, Recompute::Plan(_));
        let share = |moment: &Moment| match moment.at {
            At::Forward(op) | At::Backward(op) => {
                let seconds = speed.seconds(work::work(&sizes, op, &alive));
                // Autograd makes both gradients of a convolution at once; the images have none.
                let is_both = match op {
                    Op::ConvInput(0, Nth::First) => false,
                    Op::ConvInput(..) | Op::UpInput(_) | Op::HeadInput => !is_plan,
                    _ => false,
                };
                if is_both { 2.0 * seconds } else { seconds }
            }
            // Its forward and its backward are a moment each.
            At::Loss => speed.loss_seconds(sizes.logits_fp32()) / 2.0,
            At::Update => speed.update_seconds(&self.network),
            At::Upload | At::Scores | At::Between => 0.0,
        };
        let shares: Vec<f64> = memory.timeline.iter().map(share).collect();
        let walked = Self {
            accumulation: self.accumulation.clamp(1, 2),
            ..self.clone()
        };
        let seconds = walked.seconds(on, speed)?;
        let sum = shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        Ok(shares.into_iter().map(|it| it / sum * seconds).collect())
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            network: self.network,
            size: self.size,
            batch: u64::from(self.batch),
            element: self.element,
        }
    }
}

/// Refuses kernels of which nothing is known.
fn known(on: impl Into<Machine>, element: Element) -> Result<Machine, EstimateError> {
    let machine = on.into();
    if machine.knows(element) {
        Ok(machine)
    } else {
        Err(EstimateError::Kernels)
    }
}

impl Books {
    /// With nothing in them.
    const fn new(
        sizes: Sizes,
        machine: Machine,
        allocator: Option<crate::CachingAllocator>,
    ) -> Self {
        Self {
            tape: Tape::new(allocator),
            sizes,
            machine,
            accumulates: false,
            handed_over: Vec::new(),
            gradients: Vec::new(),
        }
    }

    /// Puts on the tape what stays from step to step: parameters, buffers and, while training, the
    /// optimizer's state. `AdamW` keeps a count of steps for each parameter.
    fn hold_fixed(&mut self, resident: Resident) -> Result<(), EstimateError> {
        let network = &self.sizes.network;
        let tensors = network.parameters();
        let fixed = StaticBytes::of_tensors(&tensors, network.width)?;
        let trains = resident == Resident::Training;
        let trainable = || tensors.iter().filter(|p| trains && p.role.is_trainable());
        let tape = &mut self.tape;
        if !tape.has_blocks() {
            tape.keep(self.machine.uncounted(), Category::Transients);
            tape.keep(fixed.parameters.0, Category::Parameters);
            tape.keep(fixed.buffers.0, Category::Parameters);
            if trains {
                tape.keep(fixed.optimizer.0, Category::Optimizer);
            }
            tape.keep(4 * trainable().count() as u64, Category::Optimizer);
            return Ok(());
        }
        // A block each. `StaticBytes` has seen to it that no product is too large.
        let bytes = |shape: &[u64]| shape.iter().product::<u64>().saturating_mul(4);
        for tensor in &tensors {
            let counter = tensor.role == config::Role::BnNumBatchesTracked;
            let bytes = if counter { 8 } else { bytes(&tensor.shape) };
            tape.keep(bytes, Category::Parameters);
        }
        for _moment in 0..2 {
            for tensor in trainable() {
                tape.keep(bytes(&tensor.shape), Category::Optimizer);
            }
        }
        for _parameter in trainable() {
            tape.keep(4, Category::Optimizer);
        }
        // The gradient scaler's scale and growth tracker.
        let scales =
            matches!(self.machine, Machine::Cuda(cuda) if cuda.half == HalfPrecision::Fp16);
        if trains && scales && self.sizes.is_half() {
            tape.keep(4, Category::Optimizer);
            tape.keep(4, Category::Optimizer);
        }
        Ok(())
    }

    /// Images and masks that stay from step to step.
    fn keep_batch(&mut self) {
        let (images, masks) = (self.sizes.images(), self.sizes.masks());
        self.tape.keep(images, Category::Activations);
        self.tape.keep(masks, Category::Activations);
    }

    /// Puts images and masks on the tape. Returns what the step holds to its end.
    fn take_batch(&mut self, batch: Batch, recompute: &Recompute) -> Vec<Held> {
        if batch == Batch::Kept {
            return vec![];
        }
        let images = self.map(self.sizes.images());
        let masks = self.map(self.sizes.masks());
        // Autograd saves images that are not cast; a segment has them as its input, and a schedule
        // holds them by name.
        if self.sizes.is_half() && *recompute == Recompute::Off {
            self.handed_over = vec![images, masks];
            return vec![];
        }
        self.handed_over = vec![masks];
        vec![images]
    }
}
