//! Runs `python -m pip install` with a progress line instead of its output.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use launcher::Python;

use crate::console::Console;
use crate::error::Error;
use crate::run;

use super::store::InstallStage;

/// How often to check whether pip has finished, and how often to count its files.
const POLL: Duration = Duration::from_millis(100);
const COUNT: Duration = Duration::from_secs(1);
const TAIL_LINES: usize = 12;

/// What to do about the packages that a package requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependencies {
    /// Ignore them.
    Leave,
    /// Install them too.
    Install,
}

/// Installs `requirements` into `target`.
///
/// All packages that share a folder must be installed in one call: pip does not touch a
/// folder of the target that an earlier call has filled.
pub(crate) fn install(
    python: &Python,
    stage: &InstallStage,
    target: &Path,
    requirements: &[String],
    dependencies: Dependencies,
    what: &str,
    console: &Console,
) -> Result<(), Error> {
    let log = stage.dir().join("pip.log");
    let mut command = command(python, stage, target, requirements);
    if dependencies == Dependencies::Leave {
        command.arg("--no-deps");
    }
    let status = File::create(&log)
        .and_then(|out| Ok((out.try_clone()?, out)))
        .map_err(|source| Error::Unwritable {
            path: log.clone(),
            source,
        })
        .and_then(|(out, err)| {
            command.stdin(Stdio::null()).stdout(out).stderr(err);
            let status = watch(&mut command, stage.dir(), what, console);
            status.map_err(|source| not_started(python, source))
        })?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    let tail = match run::last_lines(&said, TAIL_LINES) {
        nothing if nothing.is_empty() => "(no output)".to_owned(),
        lines => lines,
    };
    Err(Error::Pip {
        what: what.to_owned(),
        status: status.to_string(),
        tail,
    })
}

fn command(
    python: &Python,
    stage: &InstallStage,
    target: &Path,
    requirements: &[String],
) -> Command {
    let mut command = python.command();
    command.args(["-m", "pip", "install", "--progress-bar", "off", "--target"]);
    command.arg(target).args(requirements);
    command.env("TMPDIR", stage.tmp());
    command
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1");
    // These user settings contradict `--target`. The user's choice of package sources
    // stays.
    command
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0");
    command
}

fn not_started(python: &Python, source: io::Error) -> Error {
    let program = format!("{python} -m pip");
    launcher::Error::Start { program, source }.into()
}

fn watch(
    command: &mut Command,
    dir: &Path,
    what: &str,
    console: &Console,
) -> io::Result<std::process::ExitStatus> {
    let start = Instant::now();
    let mut progress = console.progress();
    let mut counted = None;
    let mut child = command.spawn()?;
    let line = |dir: &Path| {
        let seconds = start.elapsed().as_secs();
        format!(
            "pip: {what}: {seconds} s, {} MiB on disk",
            bytes_in(dir) >> 20
        )
    };
    loop {
        if let Some(status) = child.try_wait()? {
            progress.finish(&line(dir));
            return Ok(status);
        }
        if counted.is_none_or(|it: Instant| it.elapsed() >= COUNT) {
            progress.update(&line(dir));
            counted = Some(Instant::now());
        }
        thread::sleep(POLL);
    }
}

/// Size of everything below `dir`. Files come and go in the meantime, so unreadable ones
/// count as zero.
fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let found = entry.metadata().ok()?;
            Some(if found.is_dir() {
                bytes_in(&entry.path())
            } else {
                found.len()
            })
        })
        .sum()
}
