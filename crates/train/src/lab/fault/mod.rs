//! Deliberate failures for tests of recovery, set by `SNUG_FAULT` or planted by a test. CONTRIBUTING
//! lists them. Without either, nothing here has an effect.

mod parse;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::fault::{Planted, StepFault};

use crate::error::Result;
use crate::usage::UsageError;

/// The environment variable: faults, separated by commas.
pub const VARIABLE: &str = "SNUG_FAULT";

/// Every point at which a run can be made to die as by `kill -9`, in the order in which writing a
/// snapshot passes them.
pub const POINTS: &[&str] = &[
    "snapshot:created",
    "snapshot:half-written",
    "snapshot:written",
    "snapshot:synced",
    "snapshot:moved-away",
    "snapshot:renamed",
    "snapshot:done",
    "epoch:logged",
    "epoch:best-saved",
];

/// A deliberate failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies when it passes a point of [`POINTS`] for the `nth` time.
    Death {
        /// The point.
        point: &'static str,
        /// From 1.
        nth: u64,
    },
    /// The disk is full when the `nth` snapshot is written.
    DiskFull {
        /// From 1.
        nth: u64,
    },
    /// A step fails.
    Step {
        /// How the step fails.
        fault: StepFault,
        /// The first step that fails, from 1.
        step: u64,
        /// The number of attempts that fail, at this step and then at the following ones.
        times: u64,
    },
}

/// Faults that have not happened yet.
#[derive(Debug)]
struct Pending {
    faults: Vec<Fault>,
}

impl Pending {
    /// Whether `is_now` holds for any fault. Every fault is tested, and counts this pass.
    fn any(&mut self, mut is_now: impl FnMut(&mut Fault) -> bool) -> bool {
        let ask = |any, fault: &mut Fault| is_now(fault) | any;
        self.faults.iter_mut().fold(false, ask)
    }

    fn dies(&mut self, at: &str) -> bool {
        self.any(|fault| match fault {
            Fault::Death { point, nth } if *point == at => countdown(nth),
            _ => false,
        })
    }

    fn disk_is_full(&mut self) -> bool {
        self.any(|fault| match fault {
            Fault::DiskFull { nth } => countdown(nth),
            _ => false,
        })
    }
}

/// Whether this pass is the awaited one.
fn countdown(nth: &mut u64) -> bool {
    let is_now = *nth == 1;
    *nth = nth.saturating_sub(1);
    is_now
}

fn planted() -> MutexGuard<'static, Pending> {
    static PLANTED: Mutex<Pending> = Mutex::new(Pending { faults: Vec::new() });
    PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plants the faults that the environment names for rank `rank`.
///
/// # Errors
/// [`UsageError::NotAFault`] for text that does not name a fault.
pub fn read_environment(rank: usize) -> Result<()> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    let faults = parse::all(&text, rank).map_err(|problem| UsageError::NotAFault {
        variable: VARIABLE,
        problem,
        forms: format!("{}; or a point: {}", parse::FORMS, POINTS.join(", ")),
    })?;
    plant(&faults);
    Ok(())
}

/// Plants these faults in place of all others.
pub fn plant(faults: &[Fault]) {
    planted().faults = faults.to_vec();
    engine::fault::plant(faults.iter().filter_map(|fault| match *fault {
        Fault::Step { fault, step, times } => Some(Planted { fault, step, times }),
        _ => None,
    }));
}

/// Kills the process here, if that fault is planted.
pub(crate) fn reached(point: &'static str) {
    debug_assert!(POINTS.contains(&point), "{point} is not listed");
    if planted().dies(point) {
        die();
    }
}

/// Returns an error here, if a full disk is planted.
pub(crate) fn disk() -> io::Result<()> {
    if planted().disk_is_full() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// Kills the process without destructors, flushes or handlers.
#[cfg(unix)]
fn die() {
    use rustix::process::{Signal, getpid, kill_process};
    // If the system refuses, the test sees that the process survived.
    let _refused = kill_process(getpid(), Signal::KILL);
}

#[cfg(not(unix))]
fn die() {
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_happens_as_often_as_it_should() {
        let death = |nth| Fault::Death {
            point: POINTS[0],
            nth,
        };
        let mut planted = Pending {
            faults: vec![
                Fault::DiskFull { nth: 2 },
                Fault::DiskFull { nth: 3 },
                death(2),
            ],
        };
        let disk: Vec<_> = (0..4).map(|_| planted.disk_is_full()).collect();
        assert_eq!(disk, [false, true, true, false]);
        assert!(!planted.dies(POINTS[1]) && !planted.dies(POINTS[0]));
        assert!(planted.dies(POINTS[0]));
    }
}
