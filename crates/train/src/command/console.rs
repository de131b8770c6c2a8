//! What a person reads: results on stdout, everything else on stderr.

use std::io::Write as _;

/// A result.
pub(super) fn print(text: &str) {
    // A reader that went away is no reason to fail.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// A remark on what is going on.
pub(super) fn note(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// A warning, with what to do.
pub(super) fn warn(text: &str) {
    note(&format!("warning: {text}"));
}

/// A failure, with what to do.
pub(super) fn error(text: &str, hint: Option<&str>) {
    note(&format!("error: {text}"));
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
}
