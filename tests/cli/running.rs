//! A process that runs while a test watches.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use super::{Sandbox, small};

/// A process that ends with the test, even if the test fails.
pub(super) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// Its output so far.
    pub(super) text: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // If the test passed, the process has already ended.
        drop(self.child.kill());
    }
}

impl Running {
    /// `train fit` with these flags and [`super::SMALL`].
    pub(super) fn start(sandbox: &Sandbox, flags: &[&str]) -> Self {
        Self::of(sandbox.command().args(small(flags)))
    }

    /// A program that is not started yet.
    pub(super) fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
            text: String::new(),
        }
    }

    /// A run in `run/` that continues until it is told to stop.
    pub(super) fn endless(sandbox: &Sandbox) -> Self {
        let flags = [
            "--data",
            "data",
            "--epochs",
            "100000",
            "--patience",
            "0",
            "--run-dir",
            "run",
        ];
        Self::start(sandbox, &flags)
    }

    /// Reads one more line; `false` at the end.
    pub(super) fn read_line(&mut self) -> bool {
        self.stderr.read_line(&mut self.text).unwrap() > 0
    }

    /// Reads until the new output contains `wanted`.
    pub(super) fn wait_for(&mut self, wanted: &str) {
        let begin = self.text.len();
        while !self.text[begin..].contains(wanted) {
            assert!(self.read_line(), "ended by itself: {}", self.text);
        }
    }

    /// Sends a signal, such as `-INT`. Returns whether the process still existed.
    pub(super) fn signal(&self, signal: &str) -> bool {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        sent.unwrap().success()
    }

    /// Reads to the end, and returns the exit code.
    pub(super) fn end(&mut self) -> Option<i32> {
        self.stderr.read_to_string(&mut self.text).unwrap();
        self.child.wait().unwrap().code()
    }
}
