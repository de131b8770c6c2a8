//! Output of the programs: results go to stdout, everything else to stderr.
//!
//! A closed pipe must not make a program fail, so every write ignores its error.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;

use super::Exit;

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
    drop(writeln!(std::io::stdout().lock(), "{text}"));
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
    drop(writeln!(std::io::stderr().lock(), "{text}"));
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
        drop(error.print());
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
