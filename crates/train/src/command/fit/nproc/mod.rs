//! `--nproc N`: this process starts N ranks of itself on this machine, serves their store, and waits for them. It trains
//! nothing, so that it survives whatever a rank does, and the reasons of their ends with it.

mod family;
mod verdict;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use ranks::{Launch, Reason};
use torch_ext::distributed::Store;
use torch_ext::library;

use super::{FitArgs, rank};
use crate::command::console;
use crate::error::{Error, Result};
use crate::lab::fault;

use family::{Family, Grace};
use verdict::verdict;

const FLAG: &str = "--nproc";
const THREADS: &str = "OMP_NUM_THREADS";
/// For the store of this process itself.
const OWN_STORE: Duration = Duration::from_secs(10);

/// The most processes of a machine: none has more GPUs.
const MOST: u64 = 256;

/// What `--nproc` takes.
pub(super) fn number(text: &str) -> Result<u64, String> {
    rank::whole(text, MOST)
}

/// If several processes are asked for, starts them and waits for all: the exit code. Call this before libtorch is
/// prepared.
pub(super) fn start(args: &FitArgs) -> Result<Option<ExitCode>> {
    let size = args.ranks.nproc.unwrap_or(1);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size == 1 {
        return Ok(None);
    }
    // A mistake in the command line is reported once, and not by each rank.
    args.keys.resolve()?;
    fault::read_environment(0)?;
    library::check_version()?;
    let variable = |name: &str| env::var(name).ok();
    // Before there is a port.
    Launch::local(&variable, size, 0).map_err(engine::Error::from)?;
    let store = Store::serve("127.0.0.1", 0, OWN_STORE)?;
    let port = store.port().unwrap_or_default();
    let launches = Launch::local(&variable, size, port).map_err(engine::Error::from)?;

    let shares_cores = variable(THREADS).is_none() && !args.device.may_take_gpu();
    let commands = launches.into_iter().map(|launch| {
        let launch = Launch {
            is_store_served: true,
            ..launch
        };
        command(&launch, shares_cores)
    });
    let commands = commands.collect::<Result<Vec<_>>>()?;
    let family = Family::start(commands, Grace::of(args.ranks.patience().control));
    let ended = family
        .and_then(Family::wait)
        .map_err(|source| Error::io("start", env::current_exe().unwrap_or_default(), source))?;

    let verdict = verdict(&ended, &reasons(&store, size));
    if let Some((error, hint)) = &verdict.said {
        console::error(error, hint.as_deref());
    }
    Ok(Some(ExitCode::from(verdict.code)))
}

/// The command line of a rank: that of this process, less `--nproc`.
fn command(launch: &Launch, shares_cores: bool) -> Result<Command> {
    let exe = env::current_exe().map_err(|source| Error::io("find", "snug", source))?;
    let mut words = env::args_os();
    let typed = words.next();
    let mut command = Command::new(exe);
    if let Some(typed) = typed {
        // Commands that a rank prints begin as this one.
        command.arg0(typed);
    }
    command.args(without_flag(words)).envs(launch.variables());
    if launch.shard.rank() > 0 {
        // Keys are for rank 0, which alone has a dashboard.
        command.stdin(Stdio::null());
    }
    if shares_cores && let Ok(cores) = thread::available_parallelism() {
        command.env(THREADS, launch.threads(cores.get()).to_string());
    }
    Ok(command)
}

/// The words without `--nproc` and its value, in both spellings.
fn without_flag(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words;
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        if word == FLAG {
            words.next();
        } else if word == "--" {
            rest.push(word);
            rest.extend(words.by_ref());
        } else if !has_value(&word) {
            rest.push(word);
        }
    }
    rest
}

/// Whether this is `--nproc=N`.
fn has_value(word: &OsStr) -> bool {
    let name = word.as_encoded_bytes().split(|it| *it == b'=').next();
    name == Some(FLAG.as_bytes())
}

/// The reasons that ranks left.
fn reasons(store: &Store, size: usize) -> Vec<Reason> {
    let reason = |rank| {
        let value = store.try_get(&Reason::key(0, rank)).ok()??;
        let text = String::from_utf8_lossy(&value);
        Reason::from_json(&text, rank).ok()
    };
    (0..size).filter_map(reason).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_get_the_command_line_less_one_flag() {
        for (typed, expected) in [
            ("fit --nproc 4 --data d", "fit --data d"),
            ("fit --data d --nproc=4", "fit --data d"),
            ("fit --nproc 2 --nproc=4 --batch 8", "fit --batch 8"),
            ("train --nprocs 4", "train --nprocs 4"),
            ("train --nproc 2 -- --nproc", "train -- --nproc"),
        ] {
            let words = typed.split(' ').map(OsString::from);
            let rest = without_flag(words);
            let rest: Vec<_> = rest.iter().map(|it| it.to_string_lossy()).collect();
            assert_eq!(rest.join(" "), expected);
        }
    }

    #[test]
    fn reasons_are_read_from_the_store() {
        let store = Store::in_process(OWN_STORE).unwrap();
        store.set(&Reason::key(0, 0), b"nonsense").unwrap();
        let reason = Reason {
            rank: 1,
            attempt: 0,
            is_peer_lost: false,
            error: "the disk is full".to_owned(),
            hint: None,
            exit_code: 1,
            unix_ms: 7,
        };
        let text = reason.to_json();
        store.set(&Reason::key(0, 1), text.as_bytes()).unwrap();
        assert_eq!(reasons(&store, 3), [reason]);
    }
}
