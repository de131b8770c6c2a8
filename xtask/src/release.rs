//! `cargo xtask release VERSION`: checks, raises the version, dates the changelog, commits, tags, and makes the
//! archives. Nothing is published: the last lines say how.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use time::OffsetDateTime;

use crate::console::Console;
use crate::error::Error;
use crate::files::{unreadable, unwritable};
use crate::workspace::Checkout;
use crate::{ci, flags, run};

/// The heading of changes that no release has yet.
const UNRELEASED: &str = "## [Unreleased]\n";
const CHANGELOG: &str = "CHANGELOG.md";
const FUZZ_LOCK: &str = "fuzz/Cargo.lock";

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Release,
    console: &Console,
) -> Result<ExitCode, Error> {
    let (from, to) = (env!("CARGO_PKG_VERSION"), flags.version.as_str());
    if !is_later(to, from) {
        return Err(Error::NotALaterVersion {
            found: to.to_owned(),
            current: from,
        });
    }
    let read = |name: &str| {
        let path = workspace.root().join(name);
        fs::read_to_string(&path).map_err(|it| unreadable(&path, it))
    };
    let today = OffsetDateTime::now_utc().date();
    let dated = dated(&read(CHANGELOG)?, to, &today.to_string());
    let (changelog, changes) = dated.ok_or(Error::NothingToRelease)?;
    let manifest = raised(&read("Cargo.toml")?, from, to).ok_or(Error::NothingToRelease)?;
    let lock = raised_lock(&read(FUZZ_LOCK)?, from, to);
    refuse_changes(workspace)?;
    let tag = format!("v{to}");
    if !run::stdout_of(git(workspace).args(["tag", "--list", &tag]))?.is_empty() {
        return Err(Error::Tagged { tag });
    }
    if !flags.unchecked {
        let checked = ci::run(workspace, &flags::Ci::default(), console)?;
        if checked != ExitCode::SUCCESS {
            return Ok(checked);
        }
    }

    let texts = [
        (CHANGELOG, changelog),
        ("Cargo.toml", manifest),
        (FUZZ_LOCK, lock),
    ];
    for (name, text) in texts {
        let path = workspace.root().join(name);
        fs::write(&path, text).map_err(|it| unwritable(&path, it))?;
    }
    let mut lock = run::cargo(workspace);
    lock.current_dir(workspace.root());
    step(lock.args(["update", "--workspace", "--offline"]))?;
    let files = [CHANGELOG, "Cargo.toml", "Cargo.lock", FUZZ_LOCK];
    step(
        git(workspace)
            .args(["commit", "-m", &format!("release {to}"), "--"])
            .args(files),
    )?;
    let message = format!("Snug {to}\n\n{changes}");
    // A line of the changelog may begin with `#`, which is no comment.
    step(git(workspace).args([
        "tag",
        "--annotate",
        "--cleanup=verbatim",
        &tag,
        "-m",
        &message,
    ]))?;
    // With the new version, which this program does not have.
    for command in ["dist", "wheel"] {
        step(
            run::cargo(workspace)
                .current_dir(workspace.root())
                .args(["xtask", command]),
        )?;
    }
    console.result(format_args!(
        "{tag} is committed and tagged; `git push --follow-tags` publishes it"
    ));
    Ok(ExitCode::SUCCESS)
}

fn git(workspace: &Checkout) -> Command {
    let mut git = Command::new("git");
    git.current_dir(workspace.root());
    git
}

fn refuse_changes(workspace: &Checkout) -> Result<(), Error> {
    let status = run::stdout_of(git(workspace).args(["status", "--porcelain"]))?;
    let changed: Vec<PathBuf> = status
        .lines()
        .filter_map(|it| Some(it.get(3..)?.into()))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(Error::Uncommitted { changed })
}

fn step(command: &mut Command) -> Result<(), Error> {
    if run::succeeds(command)? {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let words = command
        .get_args()
        .map(|it| it.to_string_lossy().into_owned());
    let command = [program]
        .into_iter()
        .chain(words)
        .take(3)
        .collect::<Vec<_>>()
        .join(" ");
    Err(Error::Step { command })
}

/// Whether `version` has three numbers, and follows `current`.
fn is_later(version: &str, current: &str) -> bool {
    // Cargo takes neither `+2` nor `02`.
    let number = |text: &str| text.parse().ok().filter(|it: &u32| it.to_string() == text);
    let numbers = |text: &str| -> Option<Vec<u32>> { text.split('.').map(number).collect() };
    match (numbers(version), numbers(current)) {
        (Some(version), Some(current)) => version.len() == 3 && version > current,
        _ => false,
    }
}

/// The changelog with its unreleased changes under `version`, and these; `None` if there are none.
fn dated(changelog: &str, version: &str, date: &str) -> Option<(String, String)> {
    let (before, rest) = changelog.split_once(UNRELEASED)?;
    let end = rest.find("\n## [").map_or(rest.len(), |at| at + 1);
    let changes = rest[..end].trim();
    if changes.is_empty() {
        return None;
    }
    let text = format!("{before}{UNRELEASED}\n## [{version}] - {date}\n{rest}");
    Some((text, changes.to_owned()))
}

/// The manifest of the workspace with the version `to`.
fn raised(manifest: &str, from: &str, to: &str) -> Option<String> {
    let line = |version: &str| format!("\nversion = \"{version}\"\n");
    let (before, of_package) = manifest.split_once("[workspace.package]")?;
    let raised = of_package.replacen(&line(from), &line(to), 1);
    (raised != of_package).then(|| format!("{before}[workspace.package]{raised}"))
}

/// A lock file with the version `to` of the packages without a source, which are ours. (Cargo itself would need the
/// registry's entries of all others.)
fn raised_lock(lock: &str, from: &str, to: &str) -> String {
    ["dependencies", "\n"]
        .iter()
        .fold(lock.to_owned(), |lock, next| {
            let line = |version: &str| format!("\nversion = \"{version}\"\n{next}");
            lock.replace(&line(from), &line(to))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise() {
        assert!(is_later("0.2.0", "0.1.9") && is_later("1.0.0", "0.10.3"));
        for wrong in ["0.1.9", "0.1.8", "0.2", "v0.2.0", "0.02.0", "0.2.0-rc1", ""] {
            assert!(!is_later(wrong, "0.1.9"), "{wrong}");
        }
    }

    #[test]
    fn changes_get_a_date_and_new_ones_a_place() {
        let log = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A.\n\n## [0.1.0] - 2026-01-01\n\n- B.\n";
        let (text, changes) = dated(log, "0.2.0", "2026-12-01").unwrap();
        assert_eq!(
            text,
            "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- A.\n\n## [0.1.0] - \
             2026-01-01\n\n- B.\n"
        );
        assert_eq!(changes, "### Added\n\n- A.");
        assert_eq!(
            dated(&text, "0.3.0", "2026-12-02"),
            None,
            "nothing is unreleased"
        );
    }

    #[test]
    fn this_checkout_can_be_released() {
        let root = Checkout::find();
        let read = |name| fs::read_to_string(root.root().join(name)).unwrap();
        // Right after a release nothing is below it.
        assert_eq!(read(CHANGELOG).matches(UNRELEASED).count(), 1);
        let manifest = raised(&read("Cargo.toml"), env!("CARGO_PKG_VERSION"), "9.0.0").unwrap();
        assert_eq!(manifest.matches("\nversion = \"9.0.0\"\n").count(), 1);

        let lock = raised_lock(&read(FUZZ_LOCK), env!("CARGO_PKG_VERSION"), "9.0.0");
        let (ours, others): (Vec<_>, Vec<_>) = lock
            .split("[[package]]")
            .skip(1)
            .partition(|it| !it.contains("source =") && !it.contains("\"fuzz\""));
        assert!(ours.len() > 20 && ours.iter().all(|it| it.contains("version = \"9.0.0\"")));
        assert!(others.iter().all(|it| !it.contains("version = \"9.0.0\"")));
    }
}
