//! The terminal itself: whether to use it, taking it over, and giving it back in every case.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, TryLockError};
use std::thread;
use std::time::Duration;

use config::cli::console;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode, size,
};
use ratatui::crossterm::{execute, queue};

use crate::draw::SMALLEST;

/// Whether the terminal is ours.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Held while a frame is written.
static WRITING: Mutex<()> = Mutex::new(());

/// Whether a dashboard suits the terminal of this process. `no_tui` is the user's word against it.
pub fn is_wanted(no_tui: bool) -> bool {
    let term = std::env::var("TERM").ok();
    let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
    wants(no_tui, out, err, term.as_deref(), size().ok())
}

/// Takes the terminal over. A panic on any thread gives it back before its message is printed.
pub(crate) fn enter() -> io::Result<()> {
    static HOOK: Once = Once::new();
    if !is_in_foreground() {
        let text = "the program runs in the background of its terminal";
        return Err(io::Error::other(text));
    }
    if IS_OPEN.swap(true, Ordering::SeqCst) {
        return Err(io::Error::other("the terminal has a dashboard already"));
    }
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            before(panic);
        }));
    });
    let taken = enable_raw_mode().and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide));
    if taken.is_err() {
        leave();
    }
    taken
}

/// Gives the terminal back, prints the warnings that came meanwhile, and ends the dashboard if there is
/// one. A handler that ends the process calls this first.
pub fn leave() {
    if !IS_OPEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // A frame under way ends first, unless the terminal has stalled: then nothing can be written to it.
    let frame = (0..50).find_map(|_| {
        try_writing().or_else(|| {
            thread::sleep(Duration::from_millis(10));
            None
        })
    });
    if frame.is_some() {
        drop(execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            LeaveAlternateScreen,
            Show
        ));
    }
    drop(disable_raw_mode());
    drop(frame);
    console::restore();
}

/// Whether the terminal is still ours.
pub(crate) fn is_open() -> bool {
    IS_OPEN.load(Ordering::SeqCst)
}

/// What [`is_wanted`] decides, of known facts: `term` is `TERM`, and `size` has columns and rows.
fn wants(
    no_tui: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    term: Option<&str>,
    size: Option<(u16, u16)>,
) -> bool {
    let is_able = !matches!(term, None | Some("" | "dumb"));
    let fits = size.is_some_and(|(columns, rows)| columns >= SMALLEST.0 && rows >= SMALLEST.1);
    !no_tui && stdout_is_terminal && stderr_is_terminal && is_able && fits
}

/// A shell stops a background job that changes its terminal.
fn is_in_foreground() -> bool {
    let stdout = io::stdout();
    !stdout.is_terminal()
        || rustix::termios::tcgetpgrp(&stdout).is_ok_and(|it| it == rustix::process::getpgrp())
}

fn try_writing() -> Option<MutexGuard<'static, ()>> {
    match WRITING.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Writes whole frames to stdout, and nothing once the terminal was given back.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    frame: Vec<u8>,
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.frame);
        // `leave` alone waits for this lock, and is about to give the terminal back.
        let Some(_held) = try_writing().filter(|_| is_open()) else {
            return Ok(());
        };
        let mut stdout = io::stdout().lock();
        queue!(stdout, BeginSynchronizedUpdate)?;
        stdout.write_all(&frame)?;
        execute!(stdout, EndSynchronizedUpdate)?;
        // `leave` may have run out of patience with a terminal that stalled during this frame.
        if !is_open() {
            execute!(stdout, LeaveAlternateScreen, Show)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_needs_a_terminal_that_is_large_enough() {
        let term = Some("xterm-256color");
        let size = Some((60, 16));
        assert!(wants(false, true, true, term, size));
        assert!(!wants(true, true, true, term, size));
        assert!(!wants(false, false, true, term, size));
        assert!(!wants(false, true, false, term, size));
        for term in [None, Some(""), Some("dumb")] {
            assert!(!wants(false, true, true, term, size));
        }
        for size in [None, Some((59, 16)), Some((60, 15))] {
            assert!(!wants(false, true, true, term, size));
        }
    }

    #[test]
    fn nothing_is_written_to_a_terminal_that_is_not_ours() {
        leave();
        let mut screen = Screen::default();
        screen.write_all(b"\x1b[2J").unwrap();
        screen.flush().unwrap();
        assert!(screen.frame.is_empty());
    }
}
