//! Steps that fail on purpose, for tests of recovery. Without a planted fault, nothing here has an effect.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepFault {
    /// The allocation after `after` others fails. Only on the CPU.
    OutOfMemory {
        /// Allocations that succeed.
        after: u32,
    },
    /// A gradient is infinite.
    InfiniteGradients,
    /// The loss is NaN.
    NanLoss,
    /// The first recompute of the backward pass fails.
    Recompute,
    /// The process dies.
    Death,
    /// The process does nothing any more.
    Hang,
}

/// A fault, and when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// How the step fails.
    pub fault: StepFault,
    /// The first step that fails, from 1.
    pub step: u64,
    /// The number of attempts that fail, at this step and then at the following ones.
    pub times: u64,
}

/// Plants these faults in place of all others.
pub fn plant(faults: impl IntoIterator<Item = Planted>) {
    *planted() = faults.into_iter().collect();
}

/// The faults for an attempt at a step, counted from 1.
pub(crate) fn of_attempt(step: u64) -> Vec<StepFault> {
    due(&mut planted(), step)
}

/// Faults that have not happened yet.
fn planted() -> MutexGuard<'static, Vec<Planted>> {
    static PLANTED: Mutex<Vec<Planted>> = Mutex::new(Vec::new());
    PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn due(planted: &mut [Planted], now: u64) -> Vec<StepFault> {
    let due = planted
        .iter_mut()
        .filter(|planted| planted.step <= now && planted.times > 0);
    due.map(|planted| {
        planted.times -= 1;
        planted.fault
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_as_often_as_it_should() {
        let fault = StepFault::InfiniteGradients;
        let mut planted = [Planted {
            fault,
            step: 2,
            times: 2,
        }];
        let attempts = [1, 2, 3, 3].map(|step| due(&mut planted, step).len());
        assert_eq!(attempts, [0, 1, 1, 0]);
    }
}
