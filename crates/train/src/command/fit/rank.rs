//! What a process does that a launcher started as one of several ranks, apart from training: it finds out which rank it
//! is, joins the others, and leaves the reason of its end.

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use clap::Args;
use config::{Backend, Reduction, RunConfig};
use estimator::{Link, Ranks};
use ranks::{Launch, Launcher, Reason, Shard, advice};
use signal_hook::consts::SIGUSR1;
use signal_hook::flag;
use tch::Device;
use torch_ext::distributed::Store;
use torch_ext::library;

use super::nproc;
use crate::command::console;
use crate::error::{Error, Result};
use engine::Error as Engine;
use engine::device;
use engine::team::{Patience, Peers, Waiting};

/// For the store of a process that has started this one.
const PARENT: Duration = Duration::from_secs(2);
/// The longest that a rank takes to learn why the others ended, and to tell them why it does.
const LEAVING: Duration = Duration::from_secs(20);
/// How often the user hears who is missing at the start.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How several processes train together.
#[derive(Debug, Args)]
pub(super) struct RankFlags {
    /// Train with N processes on this machine: one GPU each, or all on the CPU
    #[arg(long, value_name = "N", value_parser = nproc::number)]
    pub(super) nproc: Option<u64>,
    /// How gradients are summed over processes: `after` backward or `overlap`, during it, with the same bits; `auto`, the
    /// faster one of these in the first steps; or `ordered`, with the bits of one process for any number of them, but more
    /// memory and more to send
    #[arg(
        long,
        value_name = "auto|after|overlap|ordered",
        default_value = "auto"
    )]
    pub(super) reduce: Reduction,
    /// Normalise over the batches that all processes compute at the same time, as torch.nn.SyncBatchNorm does: for batches of
    /// few images
    #[arg(long)]
    pub(super) sync_batch_norm: bool,
    /// Who carries gradients between processes: NCCL from GPU to GPU, or Gloo through the machine's memory; `auto` is NCCL
    /// on GPUs
    #[arg(long, value_name = "auto|nccl|gloo", default_value = "auto")]
    backend: Backend,
    /// How many seconds processes wait for each other in a step, before the run ends
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    rank_timeout: u64,
}

fn seconds(text: &str) -> Result<u64, String> {
    whole(text, 86_400)
}

/// A whole number from 1 to `max`.
pub(super) fn whole(text: &str, max: u64) -> Result<u64, String> {
    let (min, value) = (1, text.parse().ok());
    value
        .filter(|it| (min..=max).contains(it))
        .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

impl RankFlags {
    /// How long ranks wait for each other.
    pub(super) fn patience(&self) -> Patience {
        Patience::of(Duration::from_secs(self.rank_timeout))
    }

    /// The flags with which the ranks of `launch` were started; their launcher has to start them again.
    pub(super) fn words(&self, launch: Option<&Launch>) -> Vec<String> {
        let Some(launch) = launch else {
            return Vec::new();
        };
        let mut words = Vec::new();
        if launch.launcher == Launcher::Snug {
            words.extend(["--nproc".to_owned(), launch.shard.size().to_string()]);
        }
        if self.reduce != Reduction::Auto {
            words.extend(["--reduce", self.reduce.as_str()].map(str::to_owned));
        }
        if self.sync_batch_norm {
            words.push("--sync-batch-norm".to_owned());
        }
        if self.backend != Backend::Auto {
            words.extend(["--backend".to_owned(), self.backend.to_string()]);
        }
        words
    }
}

/// What ranks share: a launcher, and a plan for the one with the least memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) launch: &'a Launch,
    /// The least bytes that any rank has.
    pub(super) least: u64,
    pub(super) reduce: Reduction,
}

impl Shared<'_> {
    /// What a rank holds besides its steps: buckets, gradients that are kept for their order, and on a GPU NCCL's
    /// connections.
    pub(super) fn held(self, config: &RunConfig, device: Device) -> u64 {
        let num = u32::try_from(self.launch.shard.size()).unwrap_or(u32::MAX);
        let kept = match self.reduce {
            Reduction::Ordered => config.accumulation.div_ceil(num).saturating_sub(1),
            _ => 0,
        };
        let ranks = Ranks {
            num,
            per_machine: 1,
            inside: Link::of_network(),
            between: Link::of_network(),
        };
        let exchange = ranks.exchange(&config.network()).ok();
        exchange.map_or(0, |exchange| {
            let room = if device.is_cuda() {
                exchange.memory().0
            } else {
                exchange.buckets.0
            };
            room.saturating_add(exchange.gradients.0.saturating_mul(u64::from(kept)))
        })
    }
}

/// The bytes that this rank has: those that are free on its GPU, or its part of the machine's.
pub(super) fn room(launch: &Launch, device: Device) -> u64 {
    let free = device::free_bytes(device).unwrap_or(u64::MAX);
    if device.is_cuda() {
        free
    } else {
        free / launch.local_size.max(1) as u64
    }
}

/// Ends this process at once if something takes too long: a store whose machine is gone never answers.
pub(super) struct Deadline(Arc<AtomicBool>);

impl Deadline {
    /// Ends the process with `code` and this error, if it is not dropped in time.
    pub(super) fn start(
        within: Duration,
        code: u8,
        error: Option<(String, Option<String>)>,
    ) -> Self {
        let is_met = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_met);
        thread::spawn(move || {
            thread::sleep(within);
            if !seen.load(Ordering::SeqCst) {
                if let Some((error, hint)) = error {
                    console::error(&error, hint.as_deref());
                }
                library::exit_now(i32::from(code));
            }
        });
        Self(is_met)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Which rank this process is, or `None` for a process of its own. A rank of `--nproc` ends with its parent from here on.
///
/// # Errors
/// As [`Launch::of`].
pub(super) fn launch() -> Result<Option<Launch>> {
    let launch = Launch::of(&variable).map_err(Engine::from)?;
    if launch.as_ref().is_some_and(is_of_parent) {
        end_with_parent();
    }
    Ok(launch)
}

/// SIGUSR1 asks for a snapshot, which rank 0 writes. Launchers send it to all ranks, and it would end the others.
pub(super) fn leave_snapshots_to_first() {
    drop(flag::register(SIGUSR1, Arc::default()));
}

/// Gives a rank of `--nproc` on the CPU cores of its own: threads of ranks that wait for each other would chase one another
/// over all cores. Launchers other than Snug have flags for that.
pub(super) fn settle(launch: &Launch, device: Device) {
    if launch.launcher == Launcher::Snug && !device.is_cuda() {
        take_part_of_cores(launch.local_rank, launch.local_size);
    }
}

#[cfg(target_os = "linux")]
fn take_part_of_cores(rank: usize, size: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&core| allowed.is_set(core))
        .collect();
    let Ok(shard) = Shard::new(rank, size) else {
        return;
    };
    let mut own = CpuSet::new();
    for &core in &cores[shard.part(cores.len())] {
        own.set(core);
    }
    // With more ranks than cores, some have none, and stay where they are.
    if own.count() > 0 {
        let _refused = sched_setaffinity(None, &own);
    }
}

#[cfg(not(target_os = "linux"))]
fn take_part_of_cores(_rank: usize, _size: usize) {}

/// Says what is probably a mistake of the environment.
pub(super) fn advise(launch: Option<&Launch>, device: Device) {
    let cores = thread::available_parallelism().ok();
    let cores = cores.map(usize::from).filter(|_| !device.is_cuda());
    for note in advice(&variable, launch, cores) {
        console::note(&note);
    }
}

/// Joins the other ranks.
///
/// # Errors
/// As [`Peers::join`].
pub(super) fn join(launch: &Launch, device: Device, flags: &RankFlags) -> Result<Peers> {
    let said = Cell::new(Instant::now());
    let waiting = |waiting: Waiting<'_>| {
        if said.get().elapsed() < SAY_EVERY {
            return;
        }
        said.set(Instant::now());
        match waiting {
            Waiting::Store(obstacle) => console::warn(&format!(
                "rank {} waits for rank 0: {obstacle}",
                launch.shard.rank()
            )),
            Waiting::Ranks(missing) => {
                let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
                console::note(&format!(
                    "ranks: waiting for {} at {}",
                    missing.join(", "),
                    launch.store
                ));
            }
        }
    };
    let how = (flags.backend, flags.patience());
    Ok(Peers::join(launch.clone(), device, how, &waiting)?)
}

/// Ends this rank: leaves the reason for the others, its parent and torchrun. A rank that only lost another one reports
/// that one's reason in place of its own error. The groups of `peers` have ended afterwards.
///
/// # Errors
/// The error to print. The parent of `--nproc` prints the first one itself: then this is the exit code.
pub(super) fn end(error: Error, launch: &Launch, peers: Option<&Peers>) -> Result<ExitCode> {
    let own = (error.message(), error.hint());
    let _deadline = Deadline::start(LEAVING, error.exit().code(), Some(own));
    let error = first_error(error, peers);
    let reason = reason_of(&error, launch);
    let is_left = match peers {
        Some(peers) => peers.leave_reason(&reason).is_ok(),
        None => is_of_parent(launch) && tell_parent(launch, &reason).is_ok(),
    };
    if launch.launcher == Launcher::Torchrun
        && let Some(path) = variable("TORCHELASTIC_ERROR_FILE")
    {
        // Without it, torchrun names the exit code.
        drop(fs::write(path, reason.to_torchelastic()));
    }
    if is_left && is_of_parent(launch) {
        return Ok(ExitCode::from(reason.exit_code));
    }
    Err(error)
}

/// What ended the run: the reason of a rank that failed by itself, if this one only lost another.
fn first_error(error: Error, peers: Option<&Peers>) -> Error {
    let (Error::Engine(lost), Some(peers)) = (&error, peers) else {
        return error;
    };
    if !lost.is_peer_lost() {
        return error;
    }
    let first = peers.first_reason().filter(|it| !it.is_peer_lost);
    first.map_or(error, |reason| {
        Error::Engine(Engine::PeerFailed {
            reason: Box::new(reason),
        })
    })
}

/// The reason that this rank leaves when it ends with `error`.
fn reason_of(error: &Error, launch: &Launch) -> Reason {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    Reason {
        rank: launch.shard.rank(),
        attempt: launch.attempt,
        is_peer_lost: matches!(error, Error::Engine(error) if error.is_peer_lost()),
        error: error.message(),
        hint: error.hint(),
        exit_code: error.exit().code(),
        unix_ms: since_1970
            .ok()
            .and_then(|it| u64::try_from(it.as_millis()).ok())
            .unwrap_or_default(),
    }
}

/// Whether a process of Snug started this one, and serves its store.
fn is_of_parent(launch: &Launch) -> bool {
    launch.launcher == Launcher::Snug && launch.is_store_served
}

/// Leaves the reason of a rank that has not joined the others.
fn tell_parent(launch: &Launch, reason: &Reason) -> torch_ext::Result<()> {
    let store = Store::connect(&launch.store.host, launch.store.port, PARENT)?;
    let key = Reason::key(launch.attempt, launch.shard.rank());
    store.set(&key, reason.to_json().as_bytes())?;
    // A key is certainly set when the next answer comes.
    store.check(&key)?;
    Ok(())
}

/// Lets the system kill this process when the thread that started it ends. A parent that is gone already serves no store.
#[cfg(target_os = "linux")]
fn end_with_parent() {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // If the system refuses, the missing store ends the run.
    let _refused = set_parent_process_death_signal(Some(Signal::KILL));
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent() {}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// For what should succeed.
    const AMPLE: Duration = Duration::from_secs(60);
    const PATIENCE: Patience = Patience {
        join: AMPLE,
        control: AMPLE,
        data: AMPLE,
    };

    /// Two ranks of `--nproc`, and the store of their parent.
    fn two() -> (Store, Vec<Launch>) {
        let store = Store::serve("127.0.0.1", 0, AMPLE).unwrap();
        let launches = Launch::local(&|_: &str| None, 2, store.port().unwrap()).unwrap();
        let launches = launches.into_iter().map(|launch| Launch {
            is_store_served: true,
            ..launch
        });
        (store, launches.collect())
    }

    fn interrupted() -> Error {
        Engine::Interrupted { step: 3 }.into()
    }

    fn in_store(store: &Store, rank: usize) -> Reason {
        let text = store.get(&Reason::key(0, rank), AMPLE).unwrap();
        Reason::from_json(&String::from_utf8(text).unwrap(), rank).unwrap()
    }

    #[test]
    fn an_error_before_the_others_are_there_reaches_the_parent() {
        let (store, launches) = two();
        let code = end(interrupted(), &launches[1], None).unwrap();
        assert_eq!(code, ExitCode::from(130));
        let reason = in_store(&store, 1);
        assert_eq!(reason.error, "interrupted at step 3");
        assert_eq!((reason.exit_code, reason.is_peer_lost), (130, false));
        assert!(reason.hint.is_some_and(|it| it.contains("--resume auto")));
        assert!(reason.unix_ms > 1_700_000_000_000);
        // Without a parent, or without its store, this process prints the error itself.
        for launch in [
            Launch {
                is_store_served: false,
                ..launches[0].clone()
            },
            Launch {
                store: ranks::Address {
                    host: "127.0.0.1".to_owned(),
                    port: 1,
                },
                ..launches[0].clone()
            },
        ] {
            let error = end(interrupted(), &launch, None).unwrap_err();
            assert_eq!(error.to_string(), "interrupted at step 3");
        }
    }

    #[test]
    fn a_rank_that_lost_another_reports_its_reason() {
        let (store, launches) = two();
        let [first, second] = [0, 1].map(|rank| {
            let launch: Launch = launches[rank].clone();
            move || {
                Peers::join(
                    launch,
                    Device::Cpu,
                    (Backend::Auto, PATIENCE),
                    &|_missing| (),
                )
                .unwrap()
            }
        });
        let failing = thread::spawn(move || {
            let peers = second();
            let launch = peers.launch().clone();
            end(interrupted(), &launch, Some(&peers)).unwrap()
        });
        let peers = first();
        let lost = peers.control().barrier().and_then(|it| it.wait(None));
        let lost = Error::from(lost.unwrap_err());
        let code = end(lost, &launches[0], Some(&peers)).unwrap();
        assert_eq!(code, ExitCode::from(5));
        assert_eq!(failing.join().unwrap(), ExitCode::from(130));
        let reasons = [0, 1].map(|rank| in_store(&store, rank));
        let first = Reason::first_of(&reasons).unwrap();
        assert_eq!((first.rank, first.exit_code), (1, 130));
        assert_eq!(
            reasons[0].error,
            "rank 1 ended the run: interrupted at step 3"
        );
        assert_eq!((reasons[0].exit_code, reasons[0].is_peer_lost), (5, true));
        assert_eq!(reasons[0].hint, first.hint);
    }
}
