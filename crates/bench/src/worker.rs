//! A process that builds one case and answers requests about it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::Implementation;
use crate::error::{Error, Result};
use crate::protocol::{Answer, Ready, Spec, WorkerRequest};

/// The time limit for building a worker, which creates the CUDA context and reads and checks data.
const READY_IN: Duration = Duration::from_secs(900);
/// The time limit for an answer. `torch.compile` compiles during the first losses, and a CPU may take
/// minutes for a step.
const ANSWER_IN: Duration = Duration::from_secs(1800);
/// The time limit for an epoch over the user's own data.
const EPOCH_IN: Duration = Duration::from_secs(6 * 3600);
/// The time limit for a worker to end after its stdout is closed.
const END_IN: Duration = Duration::from_secs(10);

/// The version of torch that libtorch 2.11 is compared with.
const TORCH: &str = "2.11.";

const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// The settings of glibc's malloc that Snug uses: pages freed by one step are kept for the next.
const MALLOC: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
    ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Snug's program and the arguments that start it as a worker.
    pub snug: (PathBuf, Vec<OsString>),
    /// A Python that has torch, and the path of `worker.py`.
    pub python: Option<(PathBuf, PathBuf)>,
    /// A folder that is in `LD_LIBRARY_PATH` only for Snug, and that PyTorch must not search.
    pub own_libraries: Option<PathBuf>,
    /// The folder for the stderr of workers.
    pub logs: PathBuf,
}

/// Why a worker did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The worker or the machine ran out of memory.
    OutOfMemory(String),
    /// The worker failed for another reason.
    Failed(String),
}

impl Failure {
    /// The failure for an answer that does not match the request.
    pub(crate) fn misplaced(answer: &Answer) -> Self {
        Self::Failed(format!("an answer to another request: {answer:?}"))
    }

    /// The message.
    pub fn message(&self) -> &str {
        match self {
            Self::OutOfMemory(message) | Self::Failed(message) => message,
        }
    }
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<std::io::Result<String>>,
    log: PathBuf,
    ready: Ready,
}

impl Worker {
    /// Starts a worker and waits until it has built `spec`.
    ///
    /// # Errors
    /// Fails with [`Error::Io`] if the worker cannot be started at all. The inner error means that
    /// it did not become ready.
    pub fn start(programs: &Programs, spec: &Spec) -> Result<std::result::Result<Self, Failure>> {
        let (mut command, program) = command(programs, spec.implementation)?;
        let log = new_log(programs, spec.implementation);
        let stderr = File::create(&log).map_err(Error::io("write", &log))?;
        for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(name, spec.threads.to_string());
        }
        if std::env::var_os("CUDA_DEVICE_ORDER").is_none() {
            command.env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(Error::io("start", program))?;
        offer_to_the_oom_killer(child.id());
        let stdout = child.stdout.take();
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in stdout
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines())
            {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut worker = Self {
            stdin: child.stdin.take(),
            child,
            lines,
            log,
            ready: Ready::default(),
        };
        let line = serde_json::to_string(spec).unwrap_or_default();
        Ok(match worker.say_and_hear(&line, READY_IN) {
            Ok(Answer::Ready(ready)) => {
                if let Some(why) = unlike(spec, &ready) {
                    return Ok(Err(Failure::Failed(why)));
                }
                worker.ready = ready;
                Ok(worker)
            }
            Ok(other) => Err(Failure::misplaced(&other)),
            Err(failure) => Err(failure),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it reported when it was built.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// Fails with a [`Failure`], after which the worker is unusable.
    pub fn ask(&mut self, request: &WorkerRequest) -> std::result::Result<Answer, Failure> {
        let line = serde_json::to_string(request).unwrap_or_default();
        let within = match request {
            WorkerRequest::Epoch => EPOCH_IN,
            _ => ANSWER_IN,
        };
        self.say_and_hear(&line, within)
    }

    fn say_and_hear(
        &mut self,
        line: &str,
        within: Duration,
    ) -> std::result::Result<Answer, Failure> {
        let said = match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{line}").and_then(|()| stdin.flush()),
            None => Ok(()),
        };
        if said.is_err() {
            return Err(self.end());
        }
        let line = match self.lines.recv_timeout(within) {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Err(Failure::Failed(format!("its answer: {error}"))),
            Err(RecvTimeoutError::Timeout) => {
                drop(self.child.kill());
                return Err(Failure::Failed(format!(
                    "no answer within {} s",
                    within.as_secs()
                )));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.end()),
        };
        match serde_json::from_str(&line) {
            Ok(Answer::OutOfMemory { message }) => Err(Failure::OutOfMemory(one_line(&message))),
            Ok(Answer::Failed { message }) => Err(Failure::Failed(one_line(&message))),
            Ok(answer) => Ok(answer),
            Err(error) => Err(Failure::Failed(format!("an invalid answer: {error}"))),
        }
    }

    /// Describes how the worker ended by itself, with its last message.
    fn end(&mut self) -> Failure {
        self.stdin = None;
        let status = self.wait();
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        describe_end(status, last)
    }

    /// Waits for the worker to end. A worker that has closed its stdout but hangs is killed.
    fn wait(&mut self) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < END_IN {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(20)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
        drop(self.child.kill());
        drop(self.child.wait());
        None
    }
}

/// Why a worker cannot be compared with: it has another torch or another number of threads.
fn unlike(spec: &Spec, ready: &Ready) -> Option<String> {
    if spec.implementation.is_pytorch() && !ready.libtorch.starts_with(TORCH) {
        return Some(format!(
            "its torch is {}, and {TORCH}x is what libtorch is compared with",
            ready.libtorch
        ));
    }
    (ready.threads != spec.threads).then(|| {
        format!(
            "it computes with {} threads, not {}",
            ready.threads, spec.threads
        )
    })
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker ends when its stdin closes; if it does not, we do not wait for it.
        self.stdin = None;
        drop(self.child.kill());
        drop(self.child.wait());
        // An empty log is removed.
        if std::fs::metadata(&self.log).is_ok_and(|log| log.len() == 0) {
            drop(std::fs::remove_file(&self.log));
        }
    }
}

/// Creates a separate log for each worker, since several of a kind run at once.
fn new_log(programs: &Programs, who: Implementation) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    programs
        .logs
        .join(format!("{number:03}-{}.log", who.name()))
}

fn command(programs: &Programs, who: Implementation) -> Result<(Command, PathBuf)> {
    if !who.is_pytorch() {
        let (program, args) = &programs.snug;
        let mut command = Command::new(program);
        command.args(args);
        return Ok((command, program.clone()));
    }
    let Some((python, script)) = &programs.python else {
        return Err(Error::Usage {
            message: format!("`{}` needs a Python that has torch", who.name()),
            hint: "name one with `--python`".to_owned(),
        });
    };
    let mut command = Command::new(python);
    // `-B` keeps bytecode files out of the programs' folder.
    command.arg("-B").arg(script);
    if let Some(own) = &programs.own_libraries
        && let Some(path) = std::env::var_os(LIBRARY_PATH)
    {
        let others = std::env::split_paths(&path).filter(|folder| folder != own);
        match std::env::join_paths(others) {
            Ok(rest) if !rest.is_empty() => command.env(LIBRARY_PATH, rest),
            _ => command.env_remove(LIBRARY_PATH),
        };
    }
    if who == Implementation::PytorchEagerMalloc {
        command.envs(MALLOC);
    }
    Ok((command, python.clone()))
}

/// If the machine runs out of memory, the worker is killed and not the process that waits for it.
fn offer_to_the_oom_killer(pid: u32) {
    // This file only exists on Linux.
    drop(std::fs::write(format!("/proc/{pid}/oom_score_adj"), "1000"));
}

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal()
}

#[cfg(not(unix))]
fn signal_of(_status: ExitStatus) -> Option<i32> {
    None
}

fn describe_end(status: Option<ExitStatus>, last: Option<&str>) -> Failure {
    const SIGKILL: i32 = 9;
    if status.and_then(signal_of) == Some(SIGKILL) {
        return Failure::OutOfMemory("the system killed it, as it does without memory".to_owned());
    }
    let how = status.map_or_else(|| "ended".to_owned(), |status| status.to_string());
    Failure::Failed(match last {
        Some(last) => format!("{how}: {}", one_line(last)),
        None => how,
    })
}

/// The first line, cut to a length that fits a table.
fn one_line(message: &str) -> String {
    const MOST: usize = 200;
    let line = message.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_killed_worker_ran_out_of_memory_and_a_crashed_one_did_not() {
        let killed = ExitStatus::from_raw(9);
        assert!(matches!(
            describe_end(Some(killed), None),
            Failure::OutOfMemory(_)
        ));
        let crashed = describe_end(Some(ExitStatus::from_raw(11)), Some("last words"));
        assert!(crashed.message().ends_with("last words"), "{crashed:?}");
        assert!(matches!(crashed, Failure::Failed(_)));
    }

    #[test]
    fn messages_fit_a_table() {
        assert_eq!(
            one_line("CUDA out of memory.\nTried"),
            "CUDA out of memory."
        );
        assert_eq!(one_line(&"é".repeat(300)).chars().count(), 203);
    }
}
