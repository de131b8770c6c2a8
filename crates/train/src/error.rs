//! Why a command of `train` failed, and with which exit code.

use std::io::ErrorKind;
use std::path::PathBuf;

use config::cli::Exit;
use config::{ConfigError, Place};

use crate::usage::UsageError;
use data::DataError;
use engine::Error as Engine;
use engine::guard::MemoryPlace as Full;
use engine::trainer::Cause;
use ranks::Error as Ranks;
use torch_ext::distributed::Failure as Lost;

/// Failure of a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A preset, a file or a flag is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data is wrong, as found before the run started.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data could not be loaded during the run.
    #[error("the run stopped at step {step}: {source}")]
    DataDuringRun {
        /// Optimizer steps done.
        step: u64,
        /// The error of the data.
        source: DataError,
    },
    /// A step, a run of steps or an evaluation failed.
    #[error(transparent)]
    Engine(engine::Error),
    /// A command-line request cannot be met.
    #[error(transparent)]
    Refused(#[from] UsageError),
    /// No permitted configuration is predicted to fit.
    #[error("{message}")]
    NothingFits {
        /// The prediction and the available memory.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A weights file does not fit.
    #[error("`{path}`: {message}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A run cannot be continued from this snapshot.
    #[error("`{path}`: {message}")]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// The action that failed, such as "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
        /// Whether the run had started.
        during_run: bool,
    },
    /// Images without a mask, among others that have one now.
    #[error("{} of {of} images could not be read or predicted, as said above", failed.len())]
    WithoutMask {
        /// These images.
        failed: Vec<PathBuf>,
        /// The number of all images.
        of: usize,
    },
    /// The page of a run could not be made.
    #[error(transparent)]
    Report(#[from] report::Error),
    /// Settings or weights could not be converted.
    #[error(transparent)]
    Convert(#[from] convert::Error),
    /// A benchmark failed.
    #[error(transparent)]
    Bench(#[from] bench::Error),
    /// Parts of a session on a GPU did not end as they should.
    #[error("not as expected: {names}")]
    GpuParts {
        /// Their names.
        names: String,
    },
}

/// Result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Data(error) => Self::Data(error),
            other => Self::Engine(other),
        }
    }
}

impl From<torch_ext::Error> for Error {
    fn from(error: torch_ext::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Engine(error.into())
    }
}

impl Error {
    /// The exit code of the program.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Data(_)
            | Self::Engine(
                Engine::MissingFeature { .. }
                | Engine::PolicyNotChosen
                | Engine::Plan(_)
                | Engine::NoSuchGpu { .. }
                | Engine::CudaUnavailable { .. }
                | Engine::NoSuchPrecision { .. }
                | Engine::Ranks(
                    Ranks::Missing { .. }
                    | Ranks::Value { .. }
                    | Ranks::RankTooLarge { .. }
                    | Ranks::Contradiction { .. }
                    | Ranks::PodOfSeveral { .. }
                    | Ranks::Nested { .. }
                    | Ranks::TooFewGpus { .. }
                    | Ranks::OneGpuForAll { .. },
                ),
            )
            | Self::Refused(_)
            | Self::Report(_)
            | Self::Convert(_)
            | Self::Weights { .. }
            | Self::Snapshot { .. }
            | Self::Bench(
                bench::Error::Usage { .. }
                | bench::Error::NotABenchmark { .. }
                | bench::Error::NotASession { .. }
                | bench::Error::Io { .. },
            )
            | Self::Io {
                during_run: false, ..
            } => Exit::Usage,
            Self::NothingFits { .. } => Exit::NothingFits,
            Self::Engine(Engine::MemoryPressure(_)) => Exit::EmergencyStop,
            Self::Engine(Engine::Interrupted { .. }) => Exit::Interrupted,
            Self::Engine(error) if error.is_peer_lost() => Exit::PeerFailed,
            _ => Exit::Failed,
        }
    }

    /// The message, with the causes that the error itself leaves out.
    pub fn message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let why = error.to_string();
            if !text.contains(&why) {
                text.push_str(": ");
                text.push_str(&why);
            }
            cause = error.source();
        }
        text
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => Some(error.hint().unwrap_or_else(|| where_to_look(error))),
            Self::Data(error) | Self::DataDuringRun { source: error, .. } => {
                error.hint().or_else(|| match error {
                    DataError::Read { source, .. } | DataError::Write { source, .. } => {
                        hint_of_io(source.kind())
                    }
                    _ => None,
                })
            }
            Self::Engine(error) => hint_of_engine(error),
            Self::WithoutMask { .. } => {
                Some("mend or remove them, and run the command again with `--resume`".to_owned())
            }
            Self::Refused(error) => Some(error.hint()),
            Self::Report(error) => Some(error.hint().to_owned()),
            Self::Convert(error) => error.hint(),
            Self::NothingFits { hint, .. }
            | Self::Weights { hint, .. }
            | Self::Snapshot { hint, .. }
            | Self::Bench(bench::Error::Usage { hint, .. }) => Some(hint.clone()),
            Self::Bench(bench::Error::Worker { .. }) => Some(
                "`logs` in the folder of the results has what it said; `train doctor` tries each \
                 technique"
                    .to_owned(),
            ),
            Self::Bench(bench::Error::Io { source, .. }) | Self::Io { source, .. } => {
                hint_of_io(source.kind())
            }
            _ => None,
        }
    }

    /// Whether memory ran out, on the device or under a limit on it.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Engine(error) if error.is_out_of_memory())
    }

    /// An error of reading or writing before the run started.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source,
            during_run: false,
        }
    }

    /// Marks the error as one during the run.
    #[must_use]
    pub fn during_run(self, step: u64) -> Self {
        match self {
            Self::Data(source) => Self::DataDuringRun { step, source },
            Self::Io {
                action,
                path,
                source,
                ..
            } => Self::Io {
                action,
                path,
                source,
                during_run: true,
            },
            other => other,
        }
    }
}

/// What the user can do about a failure of the engine.
fn hint_of_engine(error: &Engine) -> Option<String> {
    let hint = match error {
        Engine::MissingFeature { feature } => {
            return Some(format!(
                "rebuild with `cargo build -p train --features full` (or add `{feature}` to \
                 `--features`), or switch it off"
            ));
        }
        Engine::NoSuchGpu { num_gpus, .. } => {
            return Some(format!("choose `cuda:0` to `cuda:{}`", num_gpus - 1));
        }
        Engine::Ranks(error) => return Some(error.hint()),
        Engine::PeerFailed { reason } => return reason.hint.clone(),
        Engine::Tensor(torch_ext::Error::Distributed(failure)) => return hint_of_lost(failure),
        Engine::MemoryPressure(pressure) => {
            let flag = match pressure.place {
                Full::Gpu => "--guard-gpu",
                Full::Ram => "--guard-ram",
            };
            return Some(format!(
                "the same command with `--resume auto` goes on where it stopped, once other \
                 programs have let go of memory; `{flag} off` does without this guard"
            ));
        }
        Engine::PolicyNotChosen => {
            "name one here: `selective` halves the activations for almost no time, `mixed` takes \
             the least memory"
        }
        Engine::Plan(_) => "one of `everything`, `convs`, `last-conv`, `nothing` for each stage",
        Engine::NoSuchPrecision { .. } => "`--amp fp16`, or `--amp off`",
        Engine::CudaUnavailable { .. } => "`--device cpu` runs the same on the CPU",
        Engine::NonFiniteLoss {
            cause: Cause::Weights | Cause::Explosion { .. },
            ..
        } => {
            "lower `--lr`: a step went too far; if an epoch is finished, `--resume FILE` starts anew \
             from its weights"
        }
        Engine::NonFiniteLoss { .. } | Engine::GradientOverflow { .. } => {
            "lower `--lr`; where mixed precision is on, `--amp off` tells whether it is the \
             cause; the weights of finished epochs, if there are any, are kept"
        }
        Engine::Interrupted { step: 1.. } => {
            "the same command with `--resume auto` goes on where it stopped"
        }
        error if error.is_out_of_memory() => {
            "`--grad-checkpoint auto` takes the fastest policy that fits; or lower `--batch`, \
             `--img-size` or `--width`"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What the user can do if processes cannot work together.
fn hint_of_lost(failure: &Lost) -> Option<String> {
    let hint = match failure {
        Lost::PeerGone { .. } | Lost::TimedOut { .. } | Lost::Dead { .. } => {
            "see in the output of the other ranks which failed first; the same command with `--resume auto` goes on \
             from the last snapshot"
        }
        Lost::Unreachable { .. } => {
            "see whether all ranks were started and can reach rank 0's host and port; between machines, \
             `GLOO_SOCKET_IFNAME=NAME` names the network interface to use"
        }
        Lost::PortTaken { .. } => "choose a free port with the launcher, or with `MASTER_PORT`",
        Lost::NoNccl { .. } => {
            "`--backend gloo` does without it: gradients travel through the machine's memory"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The hint for an error whose message already says what the value should be.
fn where_to_look(error: &ConfigError) -> String {
    match error.place() {
        Place::Flag(flag) => format!("`train fit --help` describes `{flag}`"),
        Place::File { .. } => "correct the file, or override the key with its flag".to_owned(),
        _ => "`train fit --help` lists the flags and what they take".to_owned(),
    }
}

fn hint_of_io(kind: ErrorKind) -> Option<String> {
    let hint = match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some disk space, or choose another folder"
        }
        ErrorKind::NotFound => "check the path",
        ErrorKind::PermissionDenied => "check its permissions, or choose another folder",
        ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "choose another folder"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
