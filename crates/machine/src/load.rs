//! What other programs take of the cores.

use std::time::{Duration, Instant};

use procfs::process::Process;
use procfs::{CurrentSI as _, KernelStats};

/// A moment, to tell later what other programs have taken since.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    at: Instant,
    /// Ticks for which the cores were busy, of those that this process may use.
    busy: u64,
    /// Ticks of this process, all its threads together.
    own: u64,
    cores: usize,
}

/// What other programs take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Others {
    /// Cores, on average.
    pub used: f64,
    /// Cores that this process may use.
    pub cores: usize,
}

impl Moment {
    /// This moment; `None` where the system does not tell.
    pub fn now() -> Option<Self> {
        let process = Process::myself().ok()?;
        let allowed = process.status().ok()?.cpus_allowed_list?;
        let may_use = |core: usize| {
            let in_range =
                |&(first, last): &(u32, u32)| (first as usize..=last as usize).contains(&core);
            allowed.iter().any(in_range)
        };
        let all = KernelStats::current().ok()?.cpu_time;
        let cores = all.iter().enumerate().filter(|(core, _)| may_use(*core));
        let busy = cores.clone().map(|(_, it)| {
            let interrupts = it.irq.unwrap_or(0) + it.softirq.unwrap_or(0);
            it.user + it.nice + it.system + interrupts + it.steal.unwrap_or(0)
        });
        let own = process.stat().ok()?;
        Some(Self {
            at: Instant::now(),
            busy: busy.sum(),
            own: own.utime + own.stime,
            cores: cores.count(),
        })
    }

    /// The time since.
    pub fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// What other programs have taken since; `None` if too little time has passed to tell.
    pub fn others_since(&self) -> Option<Others> {
        const LEAST_TICKS: f64 = 20.0;
        let now = Self::now()?;
        let ticks = (now.at - self.at).as_secs_f64() * procfs::ticks_per_second() as f64;
        let of_all = now.busy.saturating_sub(self.busy);
        let others = of_all.saturating_sub(now.own.saturating_sub(self.own));
        (ticks >= LEAST_TICKS).then(|| Others {
            used: (others as f64 / ticks).min(now.cores as f64),
            cores: now.cores,
        })
    }
}

impl Others {
    /// Whether they take so much that a step, whose threads wait for each other, loses more than its share.
    pub fn are_many(self) -> bool {
        self.cores > 1 && self.used >= 0.25 * self.cores as f64
    }

    /// Threads for the cores that they leave.
    fn threads_left(self) -> usize {
        let taken = (1..self.cores).filter(|taken| self.used > *taken as f64 - 0.75);
        self.cores - taken.count()
    }

    /// How many of `all` threads lose the least of a step's speed beside them.
    pub fn threads_beside(self, all: usize) -> usize {
        if self.are_many() {
            all.min(self.threads_left())
        } else {
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_this_process_is_not_that_of_others() {
        let Some(before) = Moment::now() else {
            return;
        };
        assert_eq!(before.others_since(), None, "too early");
        // Others may leave this process little of the cores.
        let now = loop {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(100) {
                std::hint::spin_loop();
            }
            let now = Moment::now().unwrap();
            if now.own - before.own >= 30 {
                break now;
            }
        };
        let others = before.others_since().unwrap();
        assert!(others.cores >= 1 && others.used <= others.cores as f64);
        assert!(
            now.busy - before.busy >= now.own - before.own - 10,
            "{before:?} {now:?}"
        );
    }

    #[test]
    fn threads_are_left_for_what_others_leave() {
        let of = |used, cores| Others { used, cores };
        assert!(!of(0.4, 2).are_many() && of(0.5, 2).are_many() && !of(1.0, 1).are_many());
        let left = [(0.1, 2), (0.5, 2), (1.6, 2), (2.0, 2), (1.5, 8), (7.9, 8)];
        let left = left.map(|(used, cores)| of(used, cores).threads_left());
        assert_eq!(left, [2, 1, 1, 1, 6, 1]);
        let beside =
            [(1.5, 1), (1.5, 2), (0.4, 2)].map(|(used, all)| of(used, 2).threads_beside(all));
        assert_eq!(beside, [1, 1, 2]);
    }
}
