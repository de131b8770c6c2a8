//! What `train doctor` finds on a machine, and whether the techniques work there: the tests' proofs
//! on a small scale, on the user's own hardware. The command does the printing.

mod failures;
mod files;
mod found;
mod graph;
mod ladder;
mod memory;
mod optimizer;
mod policies;
mod resume;
mod techniques;
mod tiny;
mod works;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde::Serialize;
use tch::Device;
use torch_ext::{cudnn, meter};

use crate::error::{Error, Result};
use works::What;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Worth a look, but the results of a run are correct.
    Warn,
    /// Wrong.
    Fail,
    /// Not checked, for the reason that the detail gives.
    Skipped,
}

impl Status {
    /// Its name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// What the machine has.
    Found,
    /// What works.
    Works,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    status: Status,
    detail: String,
    hint: Option<String>,
}

/// The hint for a failure without a more specific remedy.
const REPORT_IT: &str = "do not trust a training run here; report it with the output of `train \
                         doctor --json`";

impl Finding {
    fn ok(detail: impl Into<String>) -> Self {
        Self::of(Status::Ok, detail)
    }

    fn skipped(detail: impl Into<String>) -> Self {
        Self::of(Status::Skipped, detail)
    }

    fn warn(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::of(Status::Warn, detail).hinted(hint)
    }

    fn fail(detail: impl Into<String>) -> Self {
        Self::of(Status::Fail, detail).hinted(REPORT_IT)
    }

    fn of(status: Status, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            hint: None,
        }
    }

    fn hinted(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The finding for an error that a check returned.
    fn of_error(error: &Error) -> Self {
        let finding = Self::fail(error.message());
        match error.hint() {
            Some(hint) => finding.hinted(hint),
            None => finding,
        }
    }

    fn named(self, section: Section, name: impl Into<String>, duration: Duration) -> Check {
        Check {
            section,
            name: name.into(),
            status: self.status,
            detail: self.detail,
            hint: self.hint,
            duration,
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The part that it belongs to.
    pub section: Section,
    /// A stable name, in kebab case.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub hint: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// A check of what works that is about to run.
#[derive(Debug, Clone, Copy)]
pub struct CheckStep<'a> {
    /// Name of the check.
    pub name: &'a str,
    /// Its number in the order of the report, from 1.
    pub number: usize,
    /// How many such checks the report has.
    pub total: usize,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The device that the techniques were tried on.
    pub device: Device,
    /// The checks in order: what was found, then what works.
    pub checks: Vec<Check>,
    /// How long all checks took.
    pub duration: Duration,
}

impl Report {
    /// The number of checks with this status.
    pub fn count(&self, status: Status) -> usize {
        let ended_so = |check: &&Check| check.status == status;
        self.checks.iter().filter(ended_so).count()
    }
}

/// Names of the checks of what works that can be broken on purpose.
pub fn breakable() -> Vec<String> {
    What::all().into_iter().map(What::name).collect()
}

/// Examines the machine and tries everything on `device`. For checks named in `broken`, the subject
/// of the check is broken first, so that they must fail. `begins` is called before every check that
/// takes time.
pub fn run(device: Device, broken: &[String], mut begins: impl FnMut(&CheckStep<'_>)) -> Report {
    let started = Instant::now();
    let mut checks = found::all(device);
    // A panic inside a check is its result, and must not reach the terminal.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let trial = Trial::on(device);
    let all = What::all();
    let total = all.len();
    for (index, what) in all.into_iter().enumerate() {
        let begun = Instant::now();
        let name = what.name();
        let finding = trial.skip(what).unwrap_or_else(|| {
            begins(&CheckStep {
                name: &name,
                number: index + 1,
                total,
            });
            let is_broken = broken.contains(&name);
            isolated(|| trial.run(what, is_broken))
        });
        checks.push(finding.named(Section::Works, name, begun.elapsed()));
    }
    std::panic::set_hook(hook);
    Report {
        device,
        checks,
        duration: started.elapsed(),
    }
}

/// Runs a check so that any outcome becomes a finding, with TF32 off so that fp32 means fp32.
fn isolated(check: impl FnOnce() -> Result<Finding>) -> Finding {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _same_bits = cudnn::Scope::enter(cudnn::Choice::REPRODUCIBLE)?;
        // By default libtorch would use TF32 for fp32 convolutions.
        torch_ext::cuda::allow_tf32(false)?;
        check()
    }));
    meter::fail_after(None);
    match outcome {
        Ok(Ok(finding)) => finding,
        Ok(Err(error)) => Finding::of_error(&error),
        Err(panic) => Finding::fail(format!("a panic: {}", words_of(&*panic))),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    // libtorch appends its own stack trace to its messages.
    let first = text.and_then(|text| text.lines().next());
    first.unwrap_or("without words").to_owned()
}

/// The shared context of the checks of what works.
#[derive(Debug, Clone, Copy)]
struct Trial {
    device: Device,
    /// Whether this program sees any GPU, chosen or not.
    any_gpu: bool,
    /// Whether `device` only stands in for a GPU.
    is_stand_in: bool,
    /// Whether `device` multiplies bf16 in hardware.
    bf16: bool,
}

/// Keeps libtorch on one thread for work that is repeated many times: threads that wait for each
/// other spin, and on a busy machine a step of milliseconds then takes a hundred times as long.
struct OneThread {
    before: i32,
}

impl OneThread {
    fn begin() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self { before }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_kebab_case_and_told_apart() {
        let mut names: Vec<String> = What::all().into_iter().map(What::name).collect();
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(
            names.iter().all(|name| name.chars().all(kebab)),
            "{names:?}"
        );
        let num = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), num);
    }

    #[test]
    fn errors_and_panics_are_findings() {
        let failed = isolated(|| Err(engine::Error::GradientOverflow { scale: None }.into()));
        assert_eq!(failed.status, Status::Fail);
        assert!(failed.hint.is_some());
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let failed = isolated(|| unreachable!("by chance"));
        std::panic::set_hook(hook);
        assert_eq!(failed.status, Status::Fail);
        assert!(failed.detail.contains("by chance"), "{failed:?}");
    }
}
