//! Threads of a step that follow what other programs leave of the cores.
//!
//! libtorch's threads wait for each other at the end of every operation. Where one of them waits for a core, all do, so
//! that beside other programs fewer threads are faster.

use std::time::Duration;

use machine::load::{Moment, Others};

/// How long other programs are watched before the number of threads follows them.
const EVERY: Duration = Duration::from_secs(2);

/// The number of threads, and what it follows.
#[derive(Debug)]
pub(super) struct Cores {
    /// Threads, while no other program uses the cores.
    all: usize,
    now: usize,
    /// Since when others are watched, if they are.
    since: Option<Moment>,
}

/// Another number of threads, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Changed {
    pub(super) others: Others,
    pub(super) threads: usize,
    pub(super) all: usize,
}

impl Cores {
    /// Follows other programs, if that `is_wanted` and the system tells what they use.
    pub(super) fn new(is_wanted: bool) -> Self {
        let all = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
        Self {
            all,
            now: all,
            since: Moment::now().filter(|_| is_wanted && all > 1),
        }
    }

    /// A step is done: the next one takes as many threads as other programs leave cores.
    pub(super) fn step_done(&mut self) -> Option<Changed> {
        let since = self.since.filter(|it| it.elapsed() >= EVERY)?;
        let others = since.others_since()?;
        self.since = Moment::now();
        let changed = self.follow(others)?;
        tch::set_num_threads(i32::try_from(changed.threads).unwrap_or(1));
        Some(changed)
    }

    fn follow(&mut self, others: Others) -> Option<Changed> {
        let threads = others.threads_beside(self.all);
        let before = std::mem::replace(&mut self.now, threads);
        let all = self.all;
        (threads != before).then_some(Changed {
            others,
            threads,
            all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_go_and_come_back() {
        let mut cores = Cores {
            all: 2,
            now: 2,
            since: None,
        };
        let used = [0.1, 1.0, 1.3, 0.9, 0.4, 0.0];
        let threads = used.map(|used| {
            let changed = cores.follow(Others { used, cores: 2 });
            changed.map(|it| it.threads)
        });
        assert_eq!(threads, [None, Some(1), None, None, Some(2), None]);
        assert_eq!(cores.step_done(), None, "it was not asked for");
    }
}
