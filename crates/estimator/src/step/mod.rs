//! The peak of a training or evaluation step: on a CPU in the tensor bytes that are requested from
//! libtorch's allocator, on CUDA in the blocks and segments that the caching allocator makes of
//! them.
//!
//! A step is walked in order with the sizes of its tensors: the schedule's operations if a plan is
//! executed, otherwise autograd's nodes with the tensors that they save. Static bytes are held
//! throughout; gradients are added one by one and stay until the update.

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

use std::borrow::Cow;

use config::{Category, ImageSize, Network, Precision, RunConfig};
use schedule::{Alive, Nth, Op, Plan, Recompute, Schedule};

use crate::{EstimateError, Flops, Speed, StaticBytes};

pub(crate) use effects::Plans;
pub use evaluation::{EvaluationStep, Purpose, Resident};
pub use kernels::{Cpu, Cuda, Isa, Machine, Workspace};
pub use tape::{At, Breakdown, Moment, Peak, StepMemory};

use books::Books;
use sizes::Sizes;
use tape::{Held, Tape};
use work::Costs;
pub(crate) use work::Work;

/// Who holds images and masks once the forward has read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// The caller holds them throughout: every step uses the same batch.
    Kept,
    /// Only the step holds them, as in the training loop.
    HandedOver,
}

/// A training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingStep {
    /// The network that is trained.
    pub network: Network,
    /// Size of the images.
    pub size: ImageSize,
    /// Images per forward.
    pub batch: u32,
    /// Of convolutions and activations.
    pub precision: Precision,
    /// What backward rebuilds.
    pub recompute: Recompute,
    /// Whether to convolve the halves of each concatenation separately.
    pub split_concat: bool,
    /// Forward passes per optimizer step.
    pub accumulation: u32,
    /// Whether some pixels of the masks do not count.
    pub ignores: bool,
}

impl TrainingStep {
    /// The step of a configuration whose precision is chosen. `None` for the policy `auto`, for
    /// which a policy must be chosen first.
    pub fn of(config: &RunConfig, precision: Precision) -> Option<Self> {
        Some(Self {
            network: config.network(),
            size: config.img_size,
            batch: config.batch,
            precision,
            recompute: Recompute::of(config)?,
            split_concat: config.split_concat,
            accumulation: config.accumulation,
            ignores: config.ignore.is_some(),
        })
    }

    /// The most that the step holds in tensors, including parameters and optimizer state.
    ///
    /// # Errors
    /// [`EstimateError::ImageSize`] for a size that the network cannot halve,
    /// [`EstimateError::TooLarge`] if a figure exceeds 64 bits, [`EstimateError::Kernels`] if the
    /// memory of the kernels is unknown, [`EstimateError::OutOfMemory`] if the step does not fit a
    /// GPU, and [`EstimateError::Schedule`] if a plan is for another network.
    pub fn peak(&self, on: impl Into<Machine>, batch: Batch) -> Result<Peak, EstimateError> {
        Ok(self.memory(on, batch)?.peak)
    }

    /// The same, operation by operation. Of several micro-batches only two are walked, because
    /// later ones equal the second. On CUDA two steps are walked, and the figures describe the
    /// second.
    ///
    /// # Errors
    /// The same as [`Self::peak`].
    pub fn memory(
        &self,
        on: impl Into<Machine>,
        batch: Batch,
    ) -> Result<StepMemory, EstimateError> {
        let machine = known(on, self.precision)?;
        let (mut books, schedule) = self.begin(machine, batch)?;
        self.walk(&mut books, batch, schedule.as_ref())?;
        if let Machine::Cuda(_) = machine {
            // Walk again, with the cache that the first step has left.
            books.tape.begin_again();
            self.walk(&mut books, batch, schedule.as_ref())?;
        }
        books.tape.finish(self.network.width)
    }

    /// The peaks of a run: of training, and of a validation between its steps. On CUDA the validation finds the
    /// allocator's cache as training has left it, and may need more segments.
    ///
    /// # Errors
    /// The same as [`Self::peak`].
    pub(crate) fn peaks_with(
        &self,
        validation: &EvaluationStep,
        on: impl Into<Machine>,
    ) -> Result<(Peak, Peak), EstimateError> {
        let machine = known(on, self.precision)?;
        if !matches!(machine, Machine::Cuda(_)) {
            let training = self.peak(machine, Batch::HandedOver)?;
            return Ok((training, validation.peak(machine)?));
        }
        Flops::per_image(&validation.network, validation.size)?;
        let (mut books, schedule) = self.begin(machine, Batch::HandedOver)?;
        self.walk(&mut books, Batch::HandedOver, schedule.as_ref())?;
        books.tape.begin_again();
        self.walk(&mut books, Batch::HandedOver, schedule.as_ref())?;
        let training = books.tape.peak(self.network.width)?;
        books.tape.begin_again();
        validation.walk(&mut books);
        Ok((training, books.tape.peak(self.network.width)?))
    }

    /// The tensors that exist before the first step, and the plan's schedule.
    fn begin(
        &self,
        machine: Machine,
        batch: Batch,
    ) -> Result<(Books, Option<Schedule>), EstimateError> {
        // This refuses sizes that cannot run, and figures that exceed 64 bits.
        Flops::per_image(&self.network, self.size)?;
        let mut books = Books::new(self.sizes(), machine, machine.allocator());
        let schedule = self
            .plan(machine)
            .map(|plan| Schedule::compile(&self.network, &plan, machine.target()))
            .transpose()
            .map_err(|_other| EstimateError::Schedule)?;
        books.hold_fixed(Resident::Training)?;
        if batch == Batch::Kept {
            books.keep_batch();
        }
        Ok((books, schedule))
    }

    /// Walks one step.
    fn walk(
        &self,
        books: &mut Books,
        batch: Batch,
        schedule: Option<&Schedule>,
    ) -> Result<(), EstimateError> {
        // From the second micro-batch on, all gradients exist already.
        for micro_batch in 0..self.accumulation.clamp(1, 2) {
            books.accumulates = micro_batch > 0;
            // Autograd saves images that are not cast; for a segment they are its input, and a schedule
            // holds them by name.
            let is_plain = self.recompute == Recompute::Off && schedule.is_none();
            let held = books.take_batch(batch, is_plain);
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

    /// Predicted seconds of the step at the speed of a device, including all micro-batches and the
    /// update.
    ///
    /// # Errors
    /// The same as [`Self::peak`].
    pub fn seconds(&self, on: impl Into<Machine>, speed: &Speed) -> Result<f64, EstimateError> {
        Flops::per_image(&self.network, self.size)?;
        let (sizes, machine) = (self.sizes(), on.into());
        let costs = Costs::new(&sizes, machine);
        let pass = match (self.plan(machine), &self.recompute) {
            (Some(plan), _) => costs.seconds_of_plan(&plan, machine.target(), speed)?,
            (None, Recompute::Segments(segment)) => {
                costs.seconds_of_autograd(Some(*segment), self.split_concat, speed)
            }
            (None, _) => costs.seconds_of_autograd(None, self.split_concat, speed),
        };
        let passes = f64::from(self.accumulation.max(1));
        Ok(passes * pass + speed.update_seconds(&self.network))
    }

    /// Predicted seconds of each moment of a step that [`Self::memory`] walked: the whole time is
    /// divided in proportion to what the operations compute and move. They are for charts; no
    /// figure depends on them.
    ///
    /// # Errors
    /// The same as [`Self::seconds`].
    pub fn moment_seconds(
        &self,
        on: impl Into<Machine>,
        memory: &StepMemory,
        speed: &Speed,
    ) -> Result<Vec<f64>, EstimateError> {
        let (sizes, alive) = (self.sizes(), Alive::new(self.network.num_stages()));
        let machine = on.into();
        let costs = Costs::new(&sizes, machine);
        let is_plan = self.plan(machine).is_some();
        let share = |moment: &Moment| match moment.at {
            At::Forward(op) | At::Backward(op) => {
                let seconds = speed.seconds(costs.work(op, &alive));
                // Autograd computes both gradients of a convolution at once; the images have no
                // gradient.
                let is_both = match op {
                    Op::ConvInput(0, Nth::First) => false,
                    Op::ConvInput(..) | Op::UpInput(_) | Op::HeadInput => !is_plan,
                    _ => false,
                };
                if is_both { 2.0 * seconds } else { seconds }
            }
            // The forward and the backward of the loss are one moment each.
            At::Loss => speed.loss_seconds(sizes.logits_fp32()) / 2.0,
            At::Update => speed.update_seconds(&self.network),
            At::Upload | At::Scores | At::Between => 0.0,
        };
        let shares: Vec<f64> = memory.timeline.iter().map(share).collect();
        let walked = Self {
            accumulation: self.accumulation.clamp(1, 2),
            ..self.clone()
        };
        let seconds = walked.seconds(machine, speed)?;
        let sum = shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        Ok(shares.into_iter().map(|it| it / sum * seconds).collect())
    }

    /// The plan that a schedule executes on a machine; `None` if autograd runs the step.
    fn plan(&self, machine: Machine) -> Option<Cow<'_, Plan>> {
        let target = machine.target();
        self.recompute
            .plan(&self.network, self.split_concat, target)
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            network: self.network,
            size: self.size,
            batch: u64::from(self.batch),
            precision: self.precision,
            ignores: self.ignores,
        }
    }
}

/// Returns an error for kernels whose memory is unknown.
fn known(on: impl Into<Machine>, precision: Precision) -> Result<Machine, EstimateError> {
    let machine = on.into();
    if machine.knows(precision) {
        Ok(machine)
    } else {
        Err(EstimateError::Kernels)
    }
}

impl Books {
    /// The books of a step that holds nothing yet.
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
            unsettled: Vec::new(),
            is_autograd: false,
        }
    }

    /// Puts the tensors that persist between steps on the tape: parameters, buffers and, in
    /// training, the optimizer's state. `AdamW` keeps a step count for each parameter, and the factor by
    /// which it checks gradients.
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
                tape.keep(fixed.optimizer.0 + 4, Category::Optimizer);
            }
            tape.keep(4 * trainable().count() as u64, Category::Optimizer);
            return Ok(());
        }
        // Each tensor is a block, and so are the statistics of batch norm, their counters and the step
        // counts. `StaticBytes` has checked that no product is too large.
        let bytes = |shape: &[u64]| shape.iter().product::<u64>().saturating_mul(4);
        let is_counter = |role| role == config::Role::BnNumBatchesTracked;
        let counters = tensors.iter().filter(|it| is_counter(it.role)).count() as u64 * 8;
        tape.keep(
            fixed.buffers.0.saturating_sub(counters),
            Category::Parameters,
        );
        tape.keep(counters, Category::Parameters);
        let parameters = tensors.iter().filter(|it| it.role.is_trainable());
        let mut made: Vec<_> = parameters
            .map(|it| {
                let bytes = bytes(&it.shape);
                (
                    it.shape.len(),
                    bytes,
                    tape.hold(bytes, Category::Parameters),
                )
            })
            .collect();
        if self.machine.is_channels_last() {
            // Weights of convolutions are converted one by one.
            for (_, bytes, held) in made.iter_mut().filter(|(dim, ..)| *dim == 4) {
                let converted = tape.hold(*bytes, Category::Parameters);
                tape.release(std::mem::replace(held, converted));
            }
        }
        for (.., held) in made {
            let Held { .. } = held;
        }
        for _moment in 0..2 {
            for tensor in trainable() {
                tape.keep(bytes(&tensor.shape), Category::Optimizer);
            }
        }
        if trains {
            tape.keep(4 * trainable().count() as u64, Category::Optimizer);
            tape.keep(4, Category::Optimizer);
        }
        // The gradient scaler's scale and growth tracker.
        let scales = self.sizes.precision == Precision::Fp16;
        if trains && scales {
            tape.keep(4, Category::Optimizer);
            tape.keep(4, Category::Optimizer);
        }
        Ok(())
    }

    /// Holds images and masks that persist between steps.
    fn keep_batch(&mut self) {
        let (images, masks) = (self.sizes.images(), self.sizes.masks());
        self.tape.keep(images, Category::Activations);
        self.tape.keep(masks, Category::Activations);
    }

    /// Images and masks, from bytes. On a CPU the bytes are the host's, and not counted.
    pub(super) fn uploaded(&mut self) -> (Held, Held) {
        if !self.tape.has_blocks() {
            return (self.map(self.sizes.images()), self.map(self.sizes.masks()));
        }
        let bytes = self.transient(self.sizes.images() / 4);
        let mut images = self.map(self.sizes.images());
        if !self.machine.is_channels_last() {
            // The bytes are channels-last.
            let copy = self.map(self.sizes.images());
            self.tape.release(std::mem::replace(&mut images, copy));
        }
        self.tape.release(bytes);
        (images, self.map(self.sizes.masks()))
    }

    /// Puts images and masks on the tape. Returns the tensors that the step holds until its end.
    fn take_batch(&mut self, batch: Batch, is_plain: bool) -> Vec<Held> {
        if batch == Batch::Kept {
            return vec![];
        }
        let (images, masks) = self.uploaded();
        if self.sizes.is_half() && is_plain {
            self.handed_over = vec![images, masks];
            return vec![];
        }
        self.handed_over = vec![masks];
        vec![images]
    }
}
