//! The thread that draws and reads keys, and the handle by which the training loop speaks with it.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use config::cli::console::{self, Kind};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::draw::draw;
use crate::screen::{self, Screen};
use crate::state::{EventKind, State};
use crate::update::Update;
use crate::view::{Command, Pressed, View};

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// From this many waiting updates on, those that a later one replaces are left out: the terminal stalls.
const MANY: usize = 1000;
/// How long the end waits for a stalled terminal.
const PATIENCE: Duration = Duration::from_secs(1);

/// A live view of a run. It ends with [`finish`](Self::finish), when it is dropped, after a panic on any
/// thread, and silently when the terminal goes away; updates then lead nowhere.
#[derive(Debug)]
pub struct Dashboard {
    messages: Sender<Message>,
    /// Carries nothing; the thread holds the other end until it has given the terminal back.
    ended: Receiver<()>,
}

#[derive(Debug)]
enum Message {
    Update(Update),
    End,
}

impl Dashboard {
    /// Takes over the terminal and the console: until the end, lines of the console become events, and
    /// those that are no notes are printed afterwards. The drawing thread calls `on_command` as soon as a
    /// command is confirmed, and draws nothing until it returns.
    ///
    /// # Errors
    /// If the terminal cannot be taken over: then it is left unchanged.
    pub fn start(
        state: State,
        view: View,
        on_command: impl Fn(Command) + Send + 'static,
    ) -> io::Result<Self> {
        let keyboard = keyboard()?;
        screen::enter()?;
        let (messages, received) = unbounded();
        let (alive, ended) = bounded(0);
        let sender = messages.clone();
        // First the console, then the thread: a thread that ends at once restores it.
        console::redirect(Box::new(move |line| {
            let update = Update::Event {
                kind: match line.kind {
                    Kind::Warning | Kind::Error => EventKind::Warning,
                    Kind::Result | Kind::Note | Kind::Hint => EventKind::Note,
                },
                text: line.text.clone(),
            };
            drop(sender.send(Message::Update(update)));
        }));
        let spawned = thread::Builder::new()
            .name("dashboard".to_owned())
            .spawn(move || {
                // A terminal that went away is no failure of the run.
                let mut terminal = Terminal::new(CrosstermBackend::new(Screen::default()));
                if let Ok(terminal) = &mut terminal {
                    drop(run(terminal, state, view, &keyboard, &received, on_command));
                }
                // Before the terminal is dropped, which complains if it can write no longer.
                screen::leave();
                drop::<Sender<()>>(alive);
            });
        if let Err(error) = spawned {
            screen::leave();
            return Err(error);
        }
        Ok(Self { messages, ended })
    }

    /// Sends an update; never waits.
    pub fn send(&self, update: Update) {
        if !(update.is_passing() && self.messages.len() >= MANY) {
            drop(self.messages.send(Message::Update(update)));
        }
    }

    /// Gives the terminal back, then prints the warnings that came meanwhile.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        drop(self.messages.send(Message::End));
        // Nothing is sent: this returns at the thread's end, or when patience ends.
        let _ended = self.ended.recv_timeout(PATIENCE);
        screen::leave();
        // A panic in the midst of `start` may have given the terminal back before the console was taken.
        console::restore();
    }
}

fn run(
    terminal: &mut Terminal<CrosstermBackend<Screen>>,
    mut state: State,
    mut view: View,
    keyboard: &OwnedFd,
    received: &Receiver<Message>,
    on_command: impl Fn(Command),
) -> io::Result<()> {
    let started = Instant::now();
    let before = state.elapsed;
    while screen::is_open() {
        state.elapsed = before + started.elapsed();
        for message in received.try_iter() {
            match message {
                Message::Update(update) => state.apply(update),
                Message::End => return Ok(()),
            }
        }
        terminal.draw(|frame| draw(frame, &state, &view))?;
        let next = Instant::now() + FRAME;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            wait(keyboard, left)?;
            while event::poll(Duration::ZERO)? {
                // A resize needs nothing more than the next frame.
                let event::Event::Key(key) = event::read()? else {
                    continue;
                };
                match view.press(key, state.events.len()) {
                    Some(Pressed::Command(command)) => on_command(command),
                    // `clear` would ask the terminal where its cursor is, and wait for the answer.
                    Some(Pressed::Redraw) => terminal.resize(terminal.size()?.into())?,
                    Some(Pressed::Interrupt) => interrupt(),
                    None => {}
                }
            }
        }
    }
    Ok(())
}

/// What keys are read from, so that its end can be noticed: `crossterm` reads a terminal that has hung up
/// again and again, and never returns.
fn keyboard() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return stdin.as_fd().try_clone_to_owned();
    }
    File::open("/dev/tty").map(OwnedFd::from)
}

/// Waits until there is something to read, or for `timeout`.
fn wait(keyboard: &OwnedFd, timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    let mut polled = [PollFd::new(keyboard, PollFlags::IN)];
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        // A resize is a signal.
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    if polled[0].revents().intersects(gone) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}

/// Does what Ctrl-C does outside a dashboard, on the normal screen.
fn interrupt() {
    screen::leave();
    let this = rustix::process::getpid();
    // A process may always signal itself.
    let _sent = rustix::process::kill_process(this, rustix::process::Signal::INT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_terminal_does_not_fill_the_memory() {
        let (messages, received) = unbounded();
        let (_, ended) = bounded(0);
        let dashboard = Dashboard { messages, ended };
        for done in 0..10 * MANY as u64 {
            dashboard.send(Update::Batch { done, loss: None });
        }
        dashboard.send(Update::DataWait(0.5));
        dashboard.finish();
        let waiting: Vec<_> = received.try_iter().collect();
        assert_eq!(waiting.len(), MANY + 2);
        // What nothing replaces is kept, and so is the end.
        let last = &waiting[MANY..];
        let wait = Update::DataWait(0.5);
        assert!(matches!(last, [Message::Update(it), Message::End] if *it == wait));
    }
}
