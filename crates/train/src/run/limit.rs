//! What limited a run, in one line, and what would help.

use std::fmt;

use engine::trainer::Spent;
use machine::load::Others;

/// Waiting for data for a larger share of the training time is worth a word.
const MUCH_WAITING: f64 = 0.1;
/// Validation that takes a larger share of an epoch is, too.
const MUCH_VALIDATION: f64 = 0.5;
/// Recomputing that takes a larger share of a step is, too.
const MUCH_RECOMPUTING: f64 = 0.05;
/// A run must have spent this many seconds before anything is said of it.
const LEAST_SECONDS: f64 = 1.0;

/// What is known of a run when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Where its time went.
    pub(crate) spent: Spent,
    /// Threads that load samples.
    pub(crate) workers: usize,
    /// What other programs took of the cores.
    pub(crate) others: Option<Others>,
    pub(crate) is_gpu: bool,
    /// What its checkpoint policy costs, if it has one.
    pub(crate) policy: Option<PolicyCost>,
}

/// What a checkpoint policy costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PolicyCost {
    /// The share of a step that a faster policy would save, as predicted.
    pub(crate) share: f64,
    /// Bytes that the faster one would take in addition.
    pub(crate) more_bytes: u64,
    /// Whether it fits into the memory that is free.
    pub(crate) fits: bool,
}

/// What limited a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Limit {
    /// Nothing but the device.
    Device { share: f64, is_gpu: bool },
    /// Reading files.
    Disk { share: f64, millis: f64 },
    /// Decoding, resizing and varying images.
    Decoding {
        share: f64,
        millis: f64,
        workers: usize,
        needed: usize,
        cores: usize,
    },
    /// Other programs.
    Others { used: f64, cores: usize },
    /// Recomputing activations.
    Policy(PolicyCost),
    /// Validation.
    Validation { share: f64 },
}

impl Limit {
    /// What limited the run; `None` if it was too short to tell.
    pub(crate) fn of(known: &Known) -> Option<Self> {
        let Spent {
            training,
            waiting,
            loading,
            validation,
        } = known.spent;
        let seconds = training.as_secs_f64();
        if seconds + validation.as_secs_f64() < LEAST_SECONDS {
            return None;
        }
        let share = known.spent.wait_share();
        let waits = share > MUCH_WAITING;
        // Beside a GPU the cores only load.
        if let Some(others) = known.others.filter(|it| it.are_many())
            && (waits || !known.is_gpu)
        {
            let Others { used, cores } = others;
            return Some(Self::Others { used, cores });
        }
        let samples = loading.samples.max(1) as f64;
        if waits && loading.reading > loading.decoding {
            let millis = 1e3 * loading.reading.as_secs_f64() / samples;
            return Some(Self::Disk { share, millis });
        }
        if waits {
            let of_sample = (loading.reading + loading.decoding).as_secs_f64() / samples;
            let of_step = training.saturating_sub(waiting).as_secs_f64() / samples;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small positive number, limited by the cores where it is used"
            )]
            let needed = (of_sample / of_step.max(1e-6)).ceil().min(1e4) as usize;
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            return Some(Self::Decoding {
                share,
                millis: 1e3 * of_sample,
                workers: known.workers,
                needed,
                cores,
            });
        }
        if let Some(cost) = known.policy.filter(|it| it.share > MUCH_RECOMPUTING) {
            return Some(Self::Policy(cost));
        }
        let of_validation = validation.as_secs_f64() / (seconds + validation.as_secs_f64());
        if of_validation > MUCH_VALIDATION {
            return Some(Self::Validation {
                share: of_validation,
            });
        }
        Some(Self::Device {
            share: 1.0 - share,
            is_gpu: known.is_gpu,
        })
    }

    /// What would help.
    pub(crate) fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Device { .. } => return None,
            Self::Disk { .. } => {
                "copy the images to a local disk, or store them smaller: up to 512 MiB of decoded images stay in \
                 memory"
                    .to_owned()
            }
            Self::Decoding {
                workers,
                needed,
                cores,
                ..
            } => {
                let most = (*needed).min(cores.saturating_sub(1));
                if most > *workers {
                    format!("`--workers {most}` loads on more threads")
                } else {
                    "images stored in about the size that they are trained at decode faster".to_owned()
                }
            }
            Self::Others { .. } => "end the other programs, or wait for them".to_owned(),
            Self::Policy(PolicyCost { fits: true, .. }) => {
                "`--grad-checkpoint off` fits here, and is faster".to_owned()
            }
            Self::Policy(PolicyCost { more_bytes, .. }) => format!(
                "without it the run needs {} more memory; a smaller batch makes room for it, too",
                config::Bytes(*more_bytes)
            ),
            Self::Validation { .. } => {
                "a smaller validation set is enough to choose the best weights".to_owned()
            },
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { share, is_gpu } => {
                let device = if *is_gpu { "GPU" } else { "CPU" };
                write!(
                    f,
                    "the {device}: {:.0} % of the training time went into steps",
                    100.0 * share
                )
            }
            Self::Disk { share, millis } => write!(
                f,
                "the disk: training waited for data for {:.0} % of its time, and reading takes {millis:.1} ms an image",
                100.0 * share
            ),
            Self::Decoding {
                share,
                millis,
                workers,
                needed,
                ..
            } => write!(
                f,
                "decoding: training waited for data for {:.0} % of its time; an image takes {millis:.1} ms: {needed} {} would keep up, \
                 but there {} only {workers}",
                100.0 * share,
                if *needed == 1 { "thread" } else { "threads" },
                if *workers == 1 { "is" } else { "are" },
            ),
            Self::Others { used, cores } => {
                write!(f, "other programs: they used {used:.1} of {cores} cores")
            }
            Self::Policy(PolicyCost { share, .. }) => write!(
                f,
                "recomputing for memory: {:.0} % of a step, as predicted",
                100.0 * share
            ),
            Self::Validation { share } => {
                write!(
                    f,
                    "validation: it took {:.0} % of each epoch",
                    100.0 * share
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use data::Loading;

    use super::*;

    const fn healthy() -> Known {
        Known {
            spent: Spent {
                training: Duration::from_secs(100),
                waiting: Duration::from_secs(3),
                loading: Loading {
                    samples: 1000,
                    reading: Duration::from_secs(1),
                    decoding: Duration::from_secs(20),
                },
                validation: Duration::from_secs(10),
            },
            workers: 1,
            others: Some(Others {
                used: 0.1,
                cores: 4,
            }),
            is_gpu: false,
            policy: None,
        }
    }

    fn said(known: &Known) -> String {
        Limit::of(known).unwrap().to_string()
    }

    #[test]
    fn a_healthy_run_is_limited_by_its_device() {
        let limit = Limit::of(&healthy()).unwrap();
        assert_eq!(
            limit.to_string(),
            "the CPU: 97 % of the training time went into steps"
        );
        assert_eq!(limit.advice(), None);
    }

    #[test]
    fn the_loader_is_told_from_the_disk() {
        let mut known = healthy();
        known.spent.waiting = Duration::from_secs(50);
        known.spent.loading.decoding = Duration::from_secs(150);
        assert_eq!(
            said(&known),
            "decoding: training waited for data for 50 % of its time; an image takes 151.0 ms: 4 threads would keep up, but \
             there is only 1"
        );
        known.spent.loading.reading = Duration::from_secs(160);
        assert_eq!(
            said(&known),
            "the disk: training waited for data for 50 % of its time, and reading takes 160.0 ms an image"
        );
    }

    #[test]
    fn neighbours_matter_where_they_slow_a_step() {
        let mut known = healthy();
        known.others = Some(Others {
            used: 2.0,
            cores: 4,
        });
        assert_eq!(said(&known), "other programs: they used 2.0 of 4 cores");
        known.is_gpu = true;
        assert!(said(&known).starts_with("the GPU:"));
    }

    #[test]
    fn recomputing_and_validation_are_named() {
        let mut known = healthy();
        known.policy = Some(PolicyCost {
            share: 0.2,
            more_bytes: 3 << 30,
            fits: false,
        });
        let limit = Limit::of(&known).unwrap();
        assert!(limit.to_string().contains("20 % of a step"), "{limit}");
        assert!(
            limit
                .advice()
                .unwrap()
                .contains("needs 3.0 GiB more memory")
        );
        known.policy = None;
        known.spent.validation = Duration::from_secs(200);
        assert_eq!(said(&known), "validation: it took 67 % of each epoch");
    }

    #[test]
    fn a_moment_tells_nothing() {
        let mut known = healthy();
        (known.spent.training, known.spent.validation) =
            (Duration::from_millis(300), Duration::ZERO);
        assert_eq!(Limit::of(&known), None);
    }
}
