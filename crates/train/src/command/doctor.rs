//! `train doctor`: what the machine has and what works on it, as text or JSON.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use locale::{padded, translated};
use serde_json::{Value, json};

use super::console;
use super::flags::DeviceFlag;
use crate::error::Result;
use crate::lab::doctor::{self, Check, CheckStep, Report, Section, Status};
use crate::usage::UsageError;
use engine::compose::FEATURES;
use engine::device;

/// Pause between two lines of progress if stderr is not a terminal.
const QUIET: Duration = Duration::from_secs(10);

/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    device: DeviceFlag,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Break what this check looks at (may be repeated)
    #[arg(long, value_name = "CHECK", hide = true)]
    sabotage: Vec<String>,
}

pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let breakable = doctor::breakable();
    if let Some(name) = args.sabotage.iter().find(|name| !breakable.contains(name)) {
        return Err(UsageError::NoSuchCheck {
            name: name.clone(),
            known: breakable,
        }
        .into());
    }
    let device = args.device.resolve()?;
    let mut progress = CheckProgress::new();
    let report = doctor::run(device, &args.sabotage, |step| progress.begins(step));
    progress.bar.finish_and_clear();
    if args.json {
        console::print(&as_json(&report).to_string());
    } else {
        console::print_as_is(&as_text(&report));
    }
    Ok(if report.count(Status::Fail) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Progress of `doctor` on stderr: one changing line on a terminal, otherwise an occasional line.
struct CheckProgress {
    bar: ProgressBar,
    last_line: Instant,
}

impl CheckProgress {
    fn new() -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{msg} ({elapsed})") {
            bar.set_style(style);
        }
        Self {
            bar,
            last_line: Instant::now(),
        }
    }

    fn begins(&mut self, step: &CheckStep<'_>) {
        let text = format!("checking {}/{}: `{}`", step.number, step.total, step.name);
        if std::io::stderr().is_terminal() {
            self.bar.set_message(text);
            self.bar.enable_steady_tick(Duration::from_secs(1));
        } else if self.last_line.elapsed() >= QUIET {
            self.last_line = Instant::now();
            console::note(&text);
        }
    }
}

/// The report in the language of the program. Names of checks stay.
fn as_text(report: &Report) -> String {
    let names = report.checks.iter().map(|check| check.name.len());
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    for (title, section) in [("found", Section::Found), ("works", Section::Works)] {
        let separator = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{separator}{}", translated(title));
        for check in report.checks.iter().filter(|c| c.section == section) {
            let status = padded(&translated(check.status.name()), 7);
            let (name, detail) = (&check.name, translated(&check.detail));
            let _ = writeln!(text, "  {status}  {name:<width$}  {detail}");
            if let (Status::Warn | Status::Fail, Some(hint)) = (check.status, &check.hint) {
                let _ = writeln!(text, "           {}", translated(&format!("hint: {hint}")));
            }
        }
    }
    let _ = write!(text, "\n{}", translated(&verdict(report)));
    text
}

fn verdict(report: &Report) -> String {
    let [failed, warned, skipped] =
        [Status::Fail, Status::Warn, Status::Skipped].map(|status| report.count(status));
    let seconds = report.duration.as_secs_f64();
    let checked = report.checks.len() - skipped;
    if failed > 0 {
        return format!(
            "{failed} of {checked} checks failed, {skipped} skipped, in {seconds:.1} s"
        );
    }
    let warnings = match warned {
        0 => String::new(),
        1 => " (1 with a warning)".to_owned(),
        n => format!(" ({n} with warnings)"),
    };
    format!("all {checked} checks passed{warnings}, {skipped} skipped, in {seconds:.1} s")
}

fn as_json(report: &Report) -> Value {
    let path = torch_ext::library::library_path();
    json!({
        "schema_version": SCHEMA_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "features": FEATURES,
        "device": {
            "kind": device::kind(report.device),
            "name": device::name(report.device),
            "total_bytes": device::total_bytes(report.device),
        },
        "libtorch": {
            "version": torch_ext::library::runtime_version(),
            "path": path.map(|path| path.display().to_string()),
        },
        "num_failed": report.count(Status::Fail),
        "seconds": report.duration.as_secs_f64(),
        "checks": report.checks.iter().map(check_as_json).collect::<Vec<_>>(),
    })
}

fn check_as_json(check: &Check) -> Value {
    json!({
        "section": check.section,
        "name": check.name,
        "status": check.status,
        "detail": check.detail,
        "hint": check.hint,
        "seconds": check.duration.as_secs_f64(),
    })
}
