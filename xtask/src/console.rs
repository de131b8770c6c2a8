//! The output of xtask: progress and errors go to stderr, results go to stdout.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Stderr, Stdout, Write as _};
use std::time::{Duration, Instant};

use locale::translated;

use crate::error::Error;

/// Without a terminal every progress line adds a line to the log, so lines are rare.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

// Every write ignores its error: a closed stderr or stdout must not stop a build.
#[derive(Debug)]
pub(crate) struct Console {
    out: Stdout,
    err: Stderr,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            out: io::stdout(),
            err: io::stderr(),
        }
    }
}

impl Console {
    /// Prints one line on stderr.
    pub(crate) fn say(&self, line: impl Display) {
        let line = line.to_string();
        writeln!(self.err.lock(), "{}", translated(&line)).ok();
    }

    /// Prints one line of a result on stdout.
    pub(crate) fn result(&self, line: impl Display) {
        let line = line.to_string();
        writeln!(self.out.lock(), "{}", translated(&line)).ok();
    }

    /// Prints an error with its causes and its hint.
    pub(crate) fn error(&self, error: &Error) {
        let said = launcher::said(error, error.hint().as_deref());
        writeln!(self.err.lock(), "{said}").ok();
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            terminal: self.err.is_terminal(),
            last: Instant::now(),
            width: 0,
        }
    }
}

/// A progress line. On a terminal it is rewritten in place; elsewhere it is printed every
/// ten seconds.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    last: Instant,
    width: usize,
}

impl Progress {
    pub(crate) fn update(&mut self, line: &str) {
        let line = &*translated(line);
        if self.terminal {
            write!(io::stderr().lock(), "\r{line:<width$}", width = self.width).ok();
            self.width = line.len();
        } else if self.last.elapsed() >= LOG_INTERVAL {
            writeln!(io::stderr().lock(), "{line}").ok();
            self.last = Instant::now();
        }
    }

    /// Ends with `line`.
    pub(crate) fn finish(self, line: &str) {
        let line = translated(line);
        let start = if self.terminal { "\r" } else { "" };
        writeln!(
            io::stderr().lock(),
            "{start}{line:<width$}",
            width = self.width
        )
        .ok();
    }
}
