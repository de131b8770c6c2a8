//! Output of the programs: results go to stdout, everything else to stderr.
//!
//! A closed pipe must not make a program fail, so every write ignores its error.
//!
//! While something else owns the terminal, [`redirect`] passes every line on instead of printing it.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::error::ErrorKind;

use locale::{Language, translated};

use super::{Exit, help, program};

/// Whether stdout is for lines of JSON alone.
static IS_FOR_PROGRAMS: AtomicBool = AtomicBool::new(false);
/// Whether nothing but errors is printed.
static ARE_ERRORS_ALL: AtomicBool = AtomicBool::new(false);

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A result, for stdout.
    Result,
    /// A progress message.
    Note,
    /// A warning.
    Warning,
    /// An error.
    Error,
    /// What to do about an error.
    Hint,
}

/// A line of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub kind: Kind,
    /// The text, without the prefix that [`Kind`] gives it.
    pub text: String,
}

/// Takes the lines that are not printed.
pub type Sink = dyn Fn(&Line) + Send + Sync;

/// Where lines go while nothing is printed, and the lines to print afterwards.
struct Redirected {
    sink: Arc<Sink>,
    kept: Vec<Line>,
}

static REDIRECTED: Mutex<Option<Redirected>> = Mutex::new(None);

/// Passes every line to `sink` from now on instead of printing it, until [`restore`]. `sink` is called by
/// the thread that has a line to print: it must not wait.
pub fn redirect(sink: Box<Sink>) {
    let redirected = Redirected {
        sink: sink.into(),
        kept: Vec::new(),
    };
    restore();
    *redirection() = Some(redirected);
}

/// Prints lines again, beginning with those that came in the meantime. Notes are left out: they were about a
/// moment that has passed. Without a redirection, this does nothing.
pub fn restore() {
    let redirected = redirection().take();
    for line in redirected.map_or_else(Vec::new, |it| it.kept) {
        // In this program's words already.
        pass_on(line.kind, &line.text);
    }
}

fn redirection() -> MutexGuard<'static, Option<Redirected>> {
    REDIRECTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line or passes it on, in this program's words.
fn say(kind: Kind, text: &str) {
    if ARE_ERRORS_ALL.load(Ordering::Relaxed) && !matches!(kind, Kind::Error | Kind::Hint) {
        return;
    }
    pass_on(kind, &spoken(text));
}

/// Prints a line or passes it on, as it is.
fn pass_on(kind: Kind, text: &str) {
    let line = || Line {
        kind,
        text: text.to_owned(),
    };
    let sink = redirection().as_mut().map(|redirected| {
        if kind != Kind::Note {
            redirected.kept.push(line());
        }
        Arc::clone(&redirected.sink)
    });
    // Outside the lock, for which a panicking sink would otherwise wait in `restore`.
    if let Some(sink) = sink {
        return sink(&line());
    }
    let prefix = Language::spoken().word(
        "",
        match kind {
            Kind::Result | Kind::Note => "",
            Kind::Warning => "warning: ",
            Kind::Error => "error: ",
            Kind::Hint => "hint: ",
        },
    );
    if kind == Kind::Result {
        drop(writeln!(std::io::stdout().lock(), "{prefix}{text}"));
    } else {
        drop(writeln!(std::io::stderr().lock(), "{prefix}{text}"));
    }
}

/// Prints nothing but errors from now on: another process tells the rest.
pub fn say_errors_only() {
    ARE_ERRORS_ALL.store(true, Ordering::Relaxed);
}

/// Keeps stdout for the lines of [`json`]: results go to stderr from now on.
pub fn keep_stdout_for_programs() {
    IS_FOR_PROGRAMS.store(true, Ordering::Relaxed);
}

/// Prints a result.
pub fn print(text: &str) {
    if IS_FOR_PROGRAMS.load(Ordering::Relaxed) {
        return note(text);
    }
    say(Kind::Result, text);
}

/// Prints a result as it is: in the language of the program already, or for other programs.
pub fn print_as_is(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// The text as this program says it: in its language, and with its own commands. Texts name commands of `train`,
/// `advisor` and `cargo xtask`, which `snug` has as well.
pub fn spoken(text: &str) -> Cow<'_, str> {
    let text = translated(text);
    if program::is_snug() {
        Cow::Owned(as_snug(&text))
    } else {
        text
    }
}

/// The text in the words of `snug`.
pub fn as_snug(text: &str) -> String {
    const OF_CARGO: [(&str, &str); 3] = [
        ("cargo xtask train", "snug train"),
        ("cargo xtask bench", "snug bench"),
        // Without a checkout, libtorch comes with Python's torch.
        (
            "cargo xtask setup --cuda",
            "python3 -m pip install --force-reinstall torch==2.11.0",
        ),
    ];
    const OF_TRAIN: [&str; 12] = [
        "evaluate", "predict", "inspect", "import", "report", "convert", "memory", "accuracy",
        "bench", "doctor", "gpu", "synth",
    ];
    const OF_ADVISOR: [&str; 8] = [
        "suggest",
        "explain",
        "guide",
        "pareto",
        "scale",
        "calibrate",
        "gpus",
        "ledger",
    ];
    let mut text = text.to_owned();
    let mut say = |from: &str, to: &str| {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    };
    for (from, to) in OF_CARGO {
        say(from, to);
    }
    // The whole word: a path may begin like a command.
    for end in ["`", " "] {
        say(&format!("`train fit{end}"), &format!("`snug train{end}"));
        say(&format!("`fit{end}"), &format!("`snug train{end}"));
        for (program, commands) in [("train", &OF_TRAIN[..]), ("advisor", &OF_ADVISOR)] {
            for name in commands {
                say(
                    &format!("`{program} {name}{end}"),
                    &format!("`snug {name}{end}"),
                );
            }
        }
    }
    text
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
    say(Kind::Note, text);
}

/// Prints a warning, which should say what to do.
pub fn warn(text: &str) {
    say(Kind::Warning, text);
}

/// Prints an error and, below it, a hint on what to do.
pub fn error(text: &str, hint: Option<&str>) {
    say(Kind::Error, text);
    if let Some(hint) = hint {
        say(Kind::Hint, hint);
    }
}

/// Prints help as `clap` does, and errors in our format: `clap`'s tips become hints.
pub fn refuse_usage(error: &clap::Error) -> Exit {
    let is_missing = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || is_missing {
        print_help(error);
        return if is_missing { Exit::Usage } else { Exit::Done };
    }
    let text = error.render().to_string();
    let paragraphs = text
        .split("\n\n")
        .map(str::trim)
        .filter(|p| !p.starts_with("Usage:"));
    let (tips, rest): (Vec<_>, Vec<_>) = paragraphs.partition(|p| p.starts_with("tip:"));
    let lists = if error.kind() == ErrorKind::InvalidSubcommand {
        "`--help` lists the commands"
    } else {
        "`--help` lists the flags"
    };
    // An unknown flag is a mistake; `clap` would also pass it on as a value.
    let mut tips = tips.iter().filter(|tip| !tip.contains("'-- "));
    let hint = tips.next().map_or(lists, |tip| tip["tip:".len()..].trim());
    let help = "For more information, try '--help'.";
    for paragraph in rest.iter().filter(|p| **p != help && !p.is_empty()) {
        // What can be typed stays, and the sentence before it is translated.
        let (said, values) = paragraph.split_at(paragraph.find("\n  [").unwrap_or(paragraph.len()));
        let values = help::with_notes(values);
        let said = with_number_in_words(said);
        pass_on(Kind::Note, &format!("{}{values}", spoken(&said)));
    }
    if rest.contains(&help) {
        say(Kind::Hint, hint);
    }
    Exit::Usage
}

/// `said` with the number that is expected in words. `clap` writes `0 is not in 1..=64`, or what Rust says of text that is no
/// unsigned number.
fn with_number_in_words(said: &str) -> Cow<'_, str> {
    let in_words = said.rsplit_once(": ").and_then(|(start, end)| {
        let words = if end == "invalid digit found in string"
            || end == "cannot parse integer from empty string"
        {
            "must be a whole number that is not negative".to_owned()
        } else {
            let (min, max) = end.split_once("..=")?;
            let (_, min) = min.rsplit_once(' ')?;
            format!("must be a whole number from {min} to {max}")
        };
        Some(format!("{start}: {words}"))
    });
    in_words.map_or(Cow::Borrowed(said), Cow::Owned)
}

/// Prints help, or the version.
fn print_help(error: &clap::Error) {
    if Language::spoken() == Language::English {
        drop(error.print());
        return;
    }
    let text = help::in_language(&error.render().to_string());
    if error.use_stderr() {
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    } else {
        drop(std::io::stdout().lock().write_all(text.as_bytes()));
    }
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
            as_snug("train: `train/images` and `train memory/a.png`; see `fit`"),
            "train: `train/images` and `train memory/a.png`; see `snug train`"
        );
    }

    fn line(kind: Kind, text: &str) -> Line {
        Line {
            kind,
            text: text.to_owned(),
        }
    }

    /// One test, because the redirection belongs to the process.
    #[test]
    fn lines_are_passed_on_and_all_but_notes_are_kept() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let taker = Arc::clone(&seen);
        redirect(Box::new(move |line| {
            taker.lock().unwrap().push(line.clone());
            assert!(REDIRECTED.try_lock().is_ok(), "called outside the lock");
        }));
        note("epoch 1");
        warn("the disk is full");
        error("no memory", Some("use a smaller batch"));
        print("IoU 0.9");
        let [note, warning, error, hint, result] = [
            line(Kind::Note, "epoch 1"),
            line(Kind::Warning, "the disk is full"),
            line(Kind::Error, "no memory"),
            line(Kind::Hint, "use a smaller batch"),
            line(Kind::Result, "IoU 0.9"),
        ];
        let kept = [&warning, &error, &hint, &result].map(Line::clone);
        assert_eq!(*seen.lock().unwrap(), [note, warning, error, hint, result]);
        assert_eq!(redirection().as_ref().unwrap().kept, kept);

        restore();
        assert!(redirection().is_none());
        super::note("printed, and not passed on");
        assert_eq!(seen.lock().unwrap().len(), 5);
    }
}
