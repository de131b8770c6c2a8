//! `cargo xtask ci`: runs every check that a change has to pass, and prints a table at the end.

mod invariants;
mod rust_code;
mod sources;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;

use crate::console::Console;
use crate::error::Error;
use crate::flags::{self, CiStep};
use crate::workspace::Checkout;
use crate::{book, run, setup, test};

/// All features, so that code behind any of them is checked.
const FULL: &str = "train/full,snug-python/module";

/// pyo3 then neither asks a Python nor links one.
const WITHOUT_PYTHON: [(&str, &str); 2] = [
    ("PYO3_BUILD_EXTENSION_MODULE", "1"),
    ("PYO3_NO_PYTHON", "1"),
];

/// The eight combinations of `train`'s features.
const COMBINATIONS: [&str; 8] = [
    "",
    "amp",
    "checkpoint",
    "layout",
    "amp,checkpoint",
    "amp,layout",
    "checkpoint,layout",
    "amp,checkpoint,layout",
];

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Ci,
    console: &Console,
) -> Result<ExitCode, Error> {
    let steps: Vec<CiStep> = CiStep::value_variants()
        .iter()
        .copied()
        .filter(|step| flags.only.is_empty() || flags.only.contains(step))
        .filter(|step| !flags.skip.contains(step))
        .collect();
    if steps.iter().any(|step| needs_libtorch(*step)) {
        setup::ensure(workspace, console)?;
    }
    let mut table = Vec::new();
    for step in steps {
        let name = name(step);
        console.say(format_args!("\n== ci: {name}"));
        let start = Instant::now();
        // A step that cannot start counts as failed; the other steps still run.
        let ok = run_step(step, workspace, console).unwrap_or_else(|error| {
            console.error(&error);
            false
        });
        table.push(Outcome {
            name,
            ok,
            took: start.elapsed(),
        });
    }
    let all_ok = table.iter().all(|row| row.ok);
    console.result("");
    for row in &table {
        console.result(row);
    }
    Ok(if all_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Debug)]
struct Outcome {
    name: String,
    ok: bool,
    took: Duration,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.ok { "ok" } else { "FAILED" };
        write!(
            f,
            "{:<12}{verdict:<8}{:>7.1} s",
            self.name,
            self.took.as_secs_f64()
        )
    }
}

fn name(step: CiStep) -> String {
    step.to_possible_value()
        .map_or_else(String::new, |it| it.get_name().to_owned())
}

fn needs_libtorch(step: CiStep) -> bool {
    match step {
        CiStep::Fmt | CiStep::Invariants | CiStep::Sources | CiStep::Figures => false,
        CiStep::Clippy | CiStep::Features | CiStep::Docs | CiStep::Tests => true,
    }
}

fn run_step(step: CiStep, workspace: &Checkout, console: &Console) -> Result<bool, Error> {
    match step {
        CiStep::Fmt => cargo(workspace, &["fmt", "--all", "--check"], &[]),
        CiStep::Invariants => Ok(report(&invariants::check(workspace)?, console)),
        CiStep::Sources => {
            let files = sources::files(workspace)?;
            let mut violations = sources::check(workspace, &files);
            violations.extend(book::check(workspace.root(), &files)?);
            Ok(report(&violations, console))
        }
        CiStep::Figures => Ok(report(&crate::bench::check(workspace)?, console)),
        CiStep::Clippy => {
            let mut args = vec!["clippy", "--workspace", "--all-targets", "--features", FULL];
            args.extend(["--keep-going", "--", "--deny", "warnings"]);
            cargo(workspace, &args, &WITHOUT_PYTHON)
        }
        CiStep::Features => features(workspace, console),
        CiStep::Docs => {
            let args = ["doc", "--workspace", "--no-deps", "--features", FULL];
            let [linked, asked] = WITHOUT_PYTHON;
            let env = [("RUSTDOCFLAGS", "--deny warnings"), linked, asked];
            cargo(workspace, &args, &env)
        }
        CiStep::Tests => test::succeeds(workspace, &[], console),
    }
}

fn features(workspace: &Checkout, console: &Console) -> Result<bool, Error> {
    let mut all_ok = true;
    for combination in COMBINATIONS {
        let args = ["check", "--package", "train", "--features", combination];
        let ok = cargo(workspace, &args, &[])?;
        let name = if combination.is_empty() {
            "(none)"
        } else {
            combination
        };
        console.say(format_args!(
            "features {name}: {}",
            if ok { "ok" } else { "FAILED" }
        ));
        all_ok &= ok;
    }
    Ok(all_ok)
}

fn report(violations: &[String], console: &Console) -> bool {
    for violation in violations {
        console.say(format_args!("violation: {violation}"));
    }
    violations.is_empty()
}

fn cargo(workspace: &Checkout, args: &[&str], env: &[(&str, &str)]) -> Result<bool, Error> {
    let mut command = run::cargo(workspace);
    command
        .current_dir(workspace.root())
        .args(args)
        .envs(env.iter().copied());
    run::succeeds(&mut command)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn combinations_are_all_different() {
        let sets: BTreeSet<BTreeSet<&str>> = COMBINATIONS
            .iter()
            .map(|it| it.split(',').filter(|it| !it.is_empty()).collect())
            .collect();
        assert_eq!(sets.len(), 1 << 3);
    }

    #[test]
    fn summary_lines_stand_in_columns() {
        let row = |name: &str, ok| {
            let took = Duration::from_millis(12_340);
            Outcome {
                name: name.to_owned(),
                ok,
                took,
            }
            .to_string()
        };
        assert_eq!(row("fmt", true), "fmt         ok         12.3 s");
        assert_eq!(row("invariants", false), "invariants  FAILED     12.3 s");
    }
}
