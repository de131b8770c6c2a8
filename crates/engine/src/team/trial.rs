//! Whether steps are faster with gradients that travel during backward, measured in the first steps of a recipe.
//!
//! It depends on the network and on what else the processors do: on one machine both may want the same cores. The bits are
//! the same either way, so nothing but time is tried.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tch::Device;

use crate::device::synchronize;

/// Steps before the first that counts: one for each way.
const WARM_UP: u32 = 2;
/// Steps that count: half of them for each way.
const MEASURED: u32 = 10;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Whether gradients travel during backward.
    pub is_on: bool,
    /// How long a step with the others takes (median), if they travel after backward.
    pub after: Duration,
    /// The same, if they travel during backward.
    pub during: Duration,
}

/// The steps of one recipe so far.
#[derive(Debug, Default)]
pub(super) struct Trial {
    steps: u32,
    times: [Vec<Duration>; 2],
    begun: Option<Instant>,
    is_on: bool,
}

impl Trial {
    /// Whether gradients travel during backward in this step.
    pub(super) fn overlaps(&self) -> bool {
        if self.is_over() {
            self.is_on
        } else {
            !self.steps.is_multiple_of(2)
        }
    }

    /// A step is about to begin on `device`, perhaps again.
    pub(super) fn begin(&mut self, device: Device) {
        if !self.is_over() {
            synchronize(device);
            self.begun = Some(Instant::now());
        }
    }

    /// The step is done. Returns what this rank finds, once.
    pub(super) fn done(&mut self, device: Device) -> Option<Overlap> {
        let begun = self.begun.take()?;
        synchronize(device);
        if self.steps >= WARM_UP {
            self.times[usize::from(self.overlaps())].push(begun.elapsed());
        }
        self.steps += 1;
        self.is_over().then(|| {
            let [after, during] = self.times.each_mut().map(|it| median(it));
            Overlap {
                is_on: during < after,
                after,
                during,
            }
        })
    }

    /// What all ranks do from now on.
    pub(super) const fn decide(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    const fn is_over(&self) -> bool {
        self.steps >= WARM_UP + MEASURED
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_take_turns_and_the_decision_holds() {
        let mut trial = Trial::default();
        let mut turns = Vec::new();
        let found = loop {
            turns.push(trial.overlaps());
            trial.begin(Device::Cpu);
            // A step that is retried counts once.
            trial.begin(Device::Cpu);
            if let Some(found) = trial.done(Device::Cpu) {
                break found;
            }
        };
        assert_eq!(turns, [false, true].repeat(6));
        assert_eq!(found.is_on, found.during < found.after);
        trial.decide(true);
        assert!(trial.overlaps());
        trial.begin(Device::Cpu);
        assert_eq!(trial.done(Device::Cpu), None, "it is over");
    }
}
