//! Output of the programs: results go to stdout, everything else to stderr.
//!
//! A closed pipe must not make a program fail, so every write ignores its error.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;

use super::{Exit, program};

/// Whether stdout is for lines of JSON alone.
static IS_FOR_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// Keeps stdout for the lines of [`json`]: results go to stderr from now on.
pub fn keep_stdout_for_programs() {
    IS_FOR_PROGRAMS.store(true, Ordering::Relaxed);
}

/// Prints a result.
pub fn print(text: &str) {
    if IS_FOR_PROGRAMS.load(Ordering::Relaxed) {
        return note(text);
    }
    drop(writeln!(std::io::stdout().lock(), "{}", spoken(text)));
}

/// The text as this program says it: texts name commands of `train`, `advisor` and `cargo xtask`, which `snug` has as well.
pub fn spoken(text: &str) -> Cow<'_, str> {
    if program::is_snug() {
        Cow::Owned(as_snug(text))
    } else {
        Cow::Borrowed(text)
    }
}

fn as_snug(text: &str) -> String {
    const INSTEAD: [(&str, &str); 5] = [
        ("cargo xtask train", "snug train"),
        ("cargo xtask bench", "snug bench"),
        ("`train fit", "`snug train"),
        ("`train ", "`snug "),
        ("`advisor ", "`snug "),
    ];
    let replaced = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    INSTEAD.iter().fold(text.to_owned(), replaced)
}

/// Prints a line for another program, if stdout is kept for them.
pub fn json(line: &impl std::fmt::Display) {
    if IS_FOR_PROGRAMS.load(Ordering::Relaxed) {
        let mut out = std::io::stdout().lock();
        drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    }
}

/// Prints a progress message, without a prefix.
pub fn note(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{}", spoken(text)));
}

/// Prints a warning, which should say what to do.
pub fn warn(text: &str) {
    note(&format!("warning: {text}"));
}

/// Prints an error and, below it, a hint on what to do.
pub fn error(text: &str, hint: Option<&str>) {
    note(&format!("error: {text}"));
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
}

/// Prints help as `clap` does, and errors in our format: `clap`'s tips become hints.
pub fn refuse_usage(error: &clap::Error) -> Exit {
    let is_missing = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || is_missing {
        if program::is_snug() {
            print(error.render().to_string().trim_end());
        } else {
            drop(error.print());
        }
        return if is_missing { Exit::Usage } else { Exit::Done };
    }
    let text = error.render().to_string();
    let paragraphs = text
        .split("\n\n")
        .map(str::trim)
        .filter(|p| !p.starts_with("Usage:"));
    let (tips, rest): (Vec<_>, Vec<_>) = paragraphs.partition(|p| p.starts_with("tip:"));
    let hint = tips
        .first()
        .map_or("`--help` lists the flags", |tip| tip["tip:".len()..].trim());
    let help = "For more information, try '--help'.";
    for paragraph in rest.iter().filter(|p| **p != help && !p.is_empty()) {
        note(paragraph);
    }
    if rest.contains(&help) {
        note(&format!("hint: {hint}"));
    }
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snug_names_its_own_commands() {
        let text = "run `train fit --help` or `train memory`; `advisor ledger` reads it:\n  cargo xtask train --preset speed";
        assert_eq!(
            as_snug(text),
            "run `snug train --help` or `snug memory`; `snug ledger` reads it:\n  snug train --preset speed"
        );
        assert_eq!(
            as_snug("train: 80 images in `train/images`"),
            "train: 80 images in `train/images`"
        );
    }
}
