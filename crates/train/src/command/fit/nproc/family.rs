//! The ranks as child processes: started together, told of signals, and waited for. None is left behind.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine::interrupt::ONE_PRESS;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{SigId, flag, low_level};

/// How often this process looks for signals and ended ranks.
const POLL: Duration = Duration::from_millis(20);

/// How long ranks may go on after something that should end them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grace {
    /// After the failure of another rank, until they are asked to stop. They have to notice, read the reason, and perhaps
    /// finish a snapshot.
    pub(super) ask: Duration,
    /// From then on, or after a second signal, until they are killed: rank 0 saves its state at the end of its step.
    pub(super) kill: Duration,
    /// In place of both, if rank 0 has failed: the others have nothing to save.
    pub(super) without_first: Duration,
}

impl Grace {
    /// For ranks that wait for each other for `step` in a step.
    pub(super) fn of(step: Duration) -> Self {
        Self {
            ask: Duration::from_secs(10),
            kill: step.max(Duration::from_secs(30)),
            without_first: Duration::from_secs(3),
        }
    }

    /// As it is after these ends.
    fn after(self, ended: &[Ended]) -> Self {
        let is_first_gone = ended.iter().any(|it| it.rank == 0 && it.ends_the_run());
        let most = if is_first_gone {
            self.without_first
        } else {
            Duration::MAX
        };
        Self {
            ask: self.ask.min(most),
            kill: self.kill.min(most),
            ..self
        }
    }
}

/// A rank that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) rank: usize,
    pub(super) status: ExitStatus,
    /// Whether this process asked it to stop, or killed it, because of another rank.
    pub(super) was_stopped: bool,
}

/// How all ranks ended.
#[derive(Debug)]
pub(super) struct AllEnded {
    /// In the order of time.
    pub(super) ended: Vec<Ended>,
    /// Whether Ctrl-C or SIGTERM came.
    pub(super) is_interrupted: bool,
}

/// All ranks, running or ended. Those that run are killed when this is dropped.
pub(super) struct Family {
    running: Vec<(usize, Child)>,
    ended: Vec<Ended>,
    grace: Grace,
    signals: Signals,
}

impl Family {
    /// Starts a rank with each command.
    pub(super) fn start(commands: Vec<Command>, grace: Grace) -> io::Result<Self> {
        let mut family = Self {
            running: Vec::new(),
            ended: Vec::new(),
            grace,
            // Before the first rank, which nobody would end otherwise.
            signals: Signals::listen()?,
        };
        // By this thread: ranks end with the thread that started them.
        for (rank, mut command) in commands.into_iter().enumerate() {
            family.running.push((rank, command.spawn()?));
        }
        Ok(family)
    }

    /// Waits for all.
    pub(super) fn wait(mut self) -> io::Result<AllEnded> {
        let mut failed_at = None;
        let mut is_asked = false;
        let mut kill_since: Option<Instant> = None;
        while !self.running.is_empty() {
            thread::sleep(POLL);
            for signal in self.signals.take() {
                self.tell_all(signal);
            }
            let now = Instant::now();
            if self.signals.num_presses > 1 {
                // The ranks end at once, too.
                kill_since = kill_since.or(Some(now));
            }
            self.reap(is_asked)?;
            let grace = self.grace.after(&self.ended);
            if self.ended.iter().any(Ended::ends_the_run) {
                failed_at = failed_at.or(Some(now));
            }
            if failed_at.is_some_and(|it| now >= it + grace.ask) && !is_asked {
                is_asked = true;
                self.tell_all(Signal::TERM);
                kill_since = kill_since.or(Some(now));
            }
            if self.signals.num_presses > 2 || kill_since.is_some_and(|it| now >= it + grace.kill) {
                self.kill();
            }
        }
        Ok(AllEnded {
            ended: std::mem::take(&mut self.ended),
            is_interrupted: self.signals.num_presses > 0,
        })
    }

    fn tell_all(&self, signal: Signal) {
        for (_, child) in &self.running {
            // One that has just ended is noticed in the next round.
            let _gone = kill_process(Pid::from_child(child), signal);
        }
    }

    fn reap(&mut self, was_stopped: bool) -> io::Result<()> {
        let mut running = Vec::with_capacity(self.running.len());
        for (rank, mut child) in self.running.drain(..) {
            match child.try_wait()? {
                Some(status) => self.ended.push(Ended {
                    rank,
                    status,
                    was_stopped,
                }),
                None => running.push((rank, child)),
            }
        }
        self.running = running;
        Ok(())
    }

    fn kill(&mut self) {
        for (_, child) in &mut self.running {
            // One that has just ended is noticed in the next round.
            drop(child.kill());
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill();
        for (_, child) in &mut self.running {
            drop(child.wait());
        }
    }
}

impl Ended {
    /// Whether the others cannot go on. After an interruption all leave by themselves, and rank 0 may write for long.
    fn ends_the_run(&self) -> bool {
        let interrupted = i32::from(config::cli::Exit::Interrupted.code());
        !self.status.success() && self.status.code() != Some(interrupted)
    }
}

/// Signals to this process, for the ranks.
struct Signals {
    seen: [(Signal, Arc<AtomicBool>); 4],
    registered: Vec<SigId>,
    num_presses: u32,
    pressed_at: Option<Instant>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let numbers = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
        let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::USR1];
        let seen = signals.map(|signal| (signal, Arc::default()));
        let mut registered = Vec::new();
        for (number, (_, flag)) in numbers.into_iter().zip(&seen) {
            registered.push(flag::register(number, Arc::clone(flag))?);
        }
        Ok(Self {
            seen,
            registered,
            num_presses: 0,
            pressed_at: None,
        })
    }

    /// What to pass on. A terminal sends Ctrl-C to the ranks as well: they count signals shortly after one another as
    /// one, as this does.
    fn take(&mut self) -> Vec<Signal> {
        let mut new = Vec::new();
        for (signal, flag) in &self.seen {
            if !flag.swap(false, Ordering::SeqCst) {
                continue;
            }
            if *signal != Signal::USR1 {
                if self.pressed_at.is_some_and(|it| it.elapsed() < ONE_PRESS) {
                    continue;
                }
                self.pressed_at = Some(Instant::now());
                self.num_presses += 1;
            }
            new.push(*signal);
        }
        new
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in &self.registered {
            low_level::unregister(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Stdio;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    fn all(scripts: &[&str], grace: Grace) -> AllEnded {
        let commands = scripts.iter().map(|it| shell(it)).collect();
        Family::start(commands, grace).unwrap().wait().unwrap()
    }

    const SOON: Grace = Grace {
        ask: Duration::from_millis(50),
        kill: Duration::from_millis(50),
        without_first: Duration::from_millis(50),
    };

    #[test]
    fn ranks_that_are_done_are_waited_for() {
        let all = all(&["exit 0", "sleep 0.3; exit 130", "exit 0"], SOON);
        let codes: Vec<_> = all.ended.iter().map(|it| it.status.code()).collect();
        assert_eq!(codes, [Some(0), Some(0), Some(130)]);
        assert!(!all.is_interrupted);
        assert!(all.ended.iter().all(|it| !it.was_stopped));
    }

    #[test]
    fn a_failure_ends_the_others_with_force_if_need_be() {
        let asked = "trap 'exit 7' TERM; while :; do sleep 0.01; done";
        let deaf = "trap '' TERM; while :; do sleep 0.01; done";
        let all = all(&[asked, "exit 3", deaf], SOON);
        let said: Vec<_> = all
            .ended
            .iter()
            .map(|it| {
                (
                    it.rank,
                    it.status.code(),
                    it.status.signal(),
                    it.was_stopped,
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                (1, Some(3), None, false),
                // As slow as this machine may be: asked before it is killed, unless it had no time to listen.
                (0, said[1].1, said[1].2, true),
                (2, None, Some(9), true),
            ]
        );
    }

    #[test]
    fn a_command_that_cannot_start_leaves_no_rank_behind() {
        let commands = vec![shell("sleep 1000"), Command::new("/nonexistent")];
        assert!(Family::start(commands, SOON).is_err());
    }
}
