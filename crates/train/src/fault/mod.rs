//! Failures on purpose, for tests of recovery: what `SNUG_FAULT` says, or what a test plants.
//! CONTRIBUTING lists them. Without either nothing here does anything.

mod parse;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::fault::{Planted, StepFault};

use crate::error::{Error, Result};

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

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies when it passes a point of [`POINTS`] for the `nth` time.
    Death {
        /// Which.
        point: &'static str,
        /// From 1.
        nth: u64,
    },
    /// The disk is full when the `nth` snapshot is written.
    DiskFull {
        /// From 1.
        nth: u64,
    },
    /// A step goes wrong.
    Step {
        /// How.
        fault: StepFault,
        /// The first step that does, from 1.
        step: u64,
        /// Attempts that do: those of this step, then those of the next ones.
        times: u64,
    },
}

/// Faults that have not happened yet.
#[derive(Debug)]
struct Pending {
    faults: Vec<Fault>,
}

impl Pending {
    /// Whether one of those for which `is_now` is due. Each is asked, and counts.
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

/// Whether this pass is the one that was waited for.
fn countdown(nth: &mut u64) -> bool {
    let is_now = *nth == 1;
    *nth = nth.saturating_sub(1);
    is_now
}

fn planted() -> MutexGuard<'static, Pending> {
    static PLANTED: Mutex<Pending> = Mutex::new(Pending { faults: Vec::new() });
    PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plants what the environment says.
///
/// # Errors
/// [`Error::Usage`] for what is no fault.
pub fn read_environment() -> Result<()> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    let faults = parse::all(&text).map_err(|message| Error::Usage {
        message: format!("`{VARIABLE}`: {message}"),
        hint: format!("{}; or a point: {}", parse::FORMS, POINTS.join(", ")),
    })?;
    plant(&faults);
    Ok(())
}

/// Plants these, and no others.
pub fn plant(faults: &[Fault]) {
    planted().faults = faults.to_vec();
    engine::fault::plant(faults.iter().filter_map(|fault| match *fault {
        Fault::Step { fault, step, times } => Some(Planted { fault, step, times }),
        _ => None,
    }));
}

/// Dies here, where that was planted.
pub(crate) fn reached(point: &'static str) {
    debug_assert!(POINTS.contains(&point), "{point} is not listed");
    if planted().dies(point) {
        die();
    }
}

/// An error here, where the disk is to be full.
pub(crate) fn disk() -> io::Result<()> {
    if planted().disk_is_full() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// No destructor, no flush, no handler runs.
#[cfg(unix)]
fn die() {
    use rustix::process::{Signal, getpid, kill_process};
    // Where the system refuses, the test sees that nothing died.
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
