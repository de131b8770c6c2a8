//! What tensors held during one step of the run, for its page. On a CPU every allocation is seen, and one step is
//! enough; a GPU's are not.

use config::Category;
use engine::trainer::Trainer;
use serde_json::{Value, json};
use torch_ext::record::Recording;

use crate::lab::measure::{HeldBytes, Recorded};
use crate::lab::memory::Timeline;

/// The first step makes what later ones keep.
const WARM_UP: u32 = 2;
/// Moments of a phase on the page.
const MOMENTS: usize = 200;

/// The measurement of one step.
#[derive(Debug)]
pub(super) enum MeasuredStep {
    /// So many steps come before it.
    After(u32),
    /// The step is under way.
    Open(Recording, HeldBytes),
    /// It was recorded, or could not be.
    Done(Option<Timeline>),
}

impl MeasuredStep {
    pub(super) fn new(trainer: &Trainer) -> Self {
        if trainer.learner.device().is_cuda() {
            return Self::Done(None);
        }
        Self::After(WARM_UP)
    }

    /// A step is done, and another one begins, unless it was the last.
    pub(super) fn step_done(&mut self, trainer: &Trainer, is_last: bool) {
        *self = match std::mem::replace(self, Self::Done(None)) {
            Self::After(1) if !is_last => {
                let held = HeldBytes::of(&trainer.learner, 0);
                Recording::begin().map_or(Self::Done(None), |it| Self::Open(it, held))
            }
            Self::After(more) => Self::After(more.saturating_sub(1).max(1)),
            Self::Open(recording, held) => {
                let record = recording.finish().ok();
                Self::Done(record.map(|it| Timeline::of(&Recorded::of(held, it))))
            }
            done @ Self::Done(_) => done,
        }
    }

    /// A step failed and is retried: what was recorded is not one step.
    pub(super) fn step_failed(&mut self) {
        if matches!(self, Self::Open(..)) {
            *self = Self::After(1);
        }
    }

    /// Bytes by kind at the peak, and the most that was held in each part of a phase.
    pub(super) fn to_json(&self) -> Option<(Value, Value)> {
        let Self::Done(Some(step)) = self else {
            return None;
        };
        let kinds = Category::ALL.iter().zip(step.peak.bytes);
        let kinds: Vec<_> = kinds
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(kind, bytes)| json!({"kind": kind.name(), "bytes": bytes}))
            .collect();
        let memory = &step.memory;
        let phase_at = |at_ms: f64| {
            let begun = memory.phases.iter().rev().find(|(_, from)| *from <= at_ms);
            begun.map_or("", |(name, _)| *name)
        };
        let samples: Vec<(&str, u64)> = memory
            .samples
            .iter()
            .map(|it| (phase_at(it.at_ms), it.bytes.iter().sum()))
            .filter(|(phase, _)| !phase.is_empty())
            .collect();
        let moments: Vec<_> = samples
            .chunk_by(|(one, _), (other, _)| one == other)
            .flat_map(|phase| phase.chunks(phase.len().div_ceil(MOMENTS)))
            .map(|part| {
                let bytes = part.iter().map(|(_, bytes)| bytes).max();
                json!({"phase": part[0].0, "bytes": bytes})
            })
            .collect();
        Some((Value::from(kinds), Value::from(moments)))
    }
}
