//! When a run takes its steps as [CUDA graphs](crate::graph): from the first steps of a recipe on, one graph for each
//! epoch, as the learning rate is among what a graph keeps. It is dropped before validation and before a smaller batch,
//! which could not use its memory.

use std::time::Instant;

use config::CudaGraph;
use data::Batch;
use tch::Tensor;

use super::Trainer;
use super::share::StepShare;
use super::watch::StepWatch;
use crate::batch::MicroBatch;
use crate::device;
use crate::error::Result;
use crate::graph::{EAGER_STEPS, StepGraph};
use crate::interrupt::Interrupt;
use crate::learner::{Learner, StepHooks};
use crate::loss::PixelWeight;

/// A step is bound by the host if its launches take this share of its time.
const HOST_BOUND: f64 = 0.8;

/// What a trainer has recorded.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// Steps of the present recipe up to now, as far as they count.
    eager_steps: u32,
    /// What `auto` decided for the present recipe.
    verdict: Option<bool>,
    recorded: Option<(StepGraph, Losses)>,
    /// Bytes of tensors at the end of the forward pass of an eager step. The allocator does not count those of a graph.
    held_bytes: u64,
    /// Whether the last step was a recorded one, or was to be.
    was_recorded: bool,
    /// What was said last, and what was decided since.
    said: Option<bool>,
    decided: Option<Decided>,
}

/// What a run decided for its steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decided {
    /// Whether they are recorded.
    pub is_recorded: bool,
    /// The time of a step's launches, as a share of its whole time, if it was measured.
    pub host_share: Option<f64>,
}

/// The loss of each batch of a recorded step, as it was computed and as it counts.
#[derive(Debug)]
struct Losses {
    raw: Vec<Tensor>,
    counted: Vec<Tensor>,
}

/// The hooks of a step that is recorded: nothing is read.
#[derive(Debug)]
struct Hooks {
    watch: StepWatch,
    raw: Vec<Tensor>,
}

impl StepHooks for Hooks {
    fn after_backward(
        &mut self,
        learner: &Learner,
        micro: &MicroBatch<'_>,
        loss: &Tensor,
    ) -> Result<()> {
        self.watch.after_backward(learner, micro, loss)
    }

    fn before_update(&mut self, learner: &Learner) -> Result<()> {
        self.raw = handles(&self.watch.losses);
        self.watch.before_update(learner)
    }
}

fn handles(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

impl Trainer {
    /// Whether a step can be one that is recorded: a whole one on a GPU, of a process of its own. Weights of pixels are numbers
    /// of their batch, which a graph would keep.
    fn may_record(&self, share: &StepShare<'_>) -> bool {
        let config = &self.config;
        let is_wanted = match config.cuda_graph {
            CudaGraph::Off => false,
            CudaGraph::On => true,
            CudaGraph::Auto => self.recorder.verdict != Some(false),
        };
        let is_whole =
            |batch: &Batch| batch.len == config.batch as usize && PixelWeight::of(batch).is_none();
        is_wanted
            && self.learner.device().is_cuda()
            && self.team.is_alone()
            && share.batches.len() == config.accumulation.max(1) as usize
            && share.batches.iter().all(is_whole)
    }

    /// Takes a step, in the way that is due for it.
    pub(super) fn step_by_any_way(
        &mut self,
        share: &StepShare<'_>,
        watch: &mut StepWatch,
        interrupt: &Interrupt,
    ) -> Result<()> {
        self.recorder.was_recorded = false;
        if watch.is_planted() || !self.may_record(share) {
            self.forget_recorded()?;
            self.eager_step(share, watch, interrupt)
        } else if self.recorder.eager_steps < EAGER_STEPS {
            self.step_before_recording(share, watch, interrupt)
        } else {
            self.recorder.was_recorded = true;
            self.recorded_step(share, watch)
        }
    }

    /// Whether the last step was a recorded one, or was to be.
    pub(super) const fn was_recorded(&self) -> bool {
        self.recorder.was_recorded
    }

    /// Takes an eager step that counts towards recording. The last of them decides whether `auto` records.
    fn step_before_recording(
        &mut self,
        share: &StepShare<'_>,
        watch: &mut StepWatch,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let is_last = self.recorder.eager_steps + 1 == EAGER_STEPS;
        // The last one may be timed.
        watch.held_bytes = (!is_last).then_some(0);
        if is_last && self.config.cuda_graph == CudaGraph::Auto {
            if watch.is_looked_at() {
                // It waits for the device by itself: the next one is measured.
                return self.eager_step(share, watch, interrupt);
            }
            let device = self.learner.device();
            device::synchronize(device);
            let begun = Instant::now();
            self.eager_step(share, watch, interrupt)?;
            let host = begun.elapsed().as_secs_f64();
            device::synchronize(device);
            let share = host / begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
            self.decide(share >= HOST_BOUND, Some(share));
        } else {
            self.eager_step(share, watch, interrupt)?;
            if is_last {
                self.decide(true, None);
            }
        }
        let recorder = &mut self.recorder;
        recorder.held_bytes = watch.held_bytes.unwrap_or(recorder.held_bytes);
        recorder.eager_steps += 1;
        Ok(())
    }

    fn decide(&mut self, is_recorded: bool, host_share: Option<f64>) {
        let recorder = &mut self.recorder;
        recorder.verdict = Some(is_recorded);
        if recorder.said != Some(is_recorded) {
            recorder.said = Some(is_recorded);
            recorder.decided = Some(Decided {
                is_recorded,
                host_share,
            });
        }
    }

    /// What was decided since it was last asked.
    pub(super) const fn take_decision(&mut self) -> Option<Decided> {
        self.recorder.decided.take()
    }

    /// Takes a step as a graph, which is recorded first unless there is one with this learning rate.
    fn recorded_step(&mut self, share: &StepShare<'_>, watch: &mut StepWatch) -> Result<()> {
        watch.look_at_memory(&self.learner, self.recorder.held_bytes)?;
        let known = self.recorder.recorded.take();
        let (recorded, losses) = match known.filter(|(it, _)| it.is_of(&self.learner)) {
            Some(known) => known,
            None => self.record(share)?,
        };
        let moves = self.learner.optimizer.num_moves();
        recorded.replay(&mut self.learner, share.micro_batches(self.micro_batch))?;
        watch.losses = handles(&losses.counted);
        let raw = handles(&losses.raw);
        self.recorder.recorded = Some((recorded, losses));
        let Err(error) = watch.read(&raw, &self.learner) else {
            return Ok(());
        };
        // If the device has skipped the update, as it does if a gradient is not finite either, nothing has moved.
        let (_, skipped_in_a_row) = self.skips.read()?;
        if skipped_in_a_row > 0 {
            self.learner.optimizer.take_back_to(moves);
        }
        Err(error)
    }

    fn record(&mut self, share: &StepShare<'_>) -> Result<(StepGraph, Losses)> {
        let mut hooks = Hooks {
            watch: StepWatch::silent(share),
            raw: Vec::new(),
        };
        let micro_batches = share.micro_batches(self.micro_batch).collect();
        let Self {
            learner,
            saved,
            skips,
            ..
        } = self;
        let recorded = StepGraph::of(learner, micro_batches, &mut hooks, |is_skipped| {
            saved.restore_buffers_if(is_skipped)?;
            skips.count(is_skipped)
        })?;
        let losses = Losses {
            raw: hooks.raw,
            counted: hooks.watch.losses,
        };
        Ok((recorded, losses))
    }

    /// Drops what was recorded, and gives its memory back.
    pub(super) fn forget_recorded(&mut self) -> Result<()> {
        match self.recorder.recorded.take() {
            Some(recorded) => {
                drop(recorded);
                device::empty_cache(self.learner.device())
            }
            None => Ok(()),
        }
    }

    /// Forgets the recipe as well: it is about to change.
    pub(super) fn begin_recording_anew(&mut self) -> Result<()> {
        self.recorder.eager_steps = 0;
        self.recorder.verdict = None;
        self.forget_recorded()
    }
}
