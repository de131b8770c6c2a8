//! Errors of a run of several processes; the remedy is apart, in [`Error::hint`].

use crate::launch::Launcher;

/// `std`'s `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why ranks cannot start or go on together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// A variable that a rank needs.
    #[error("{launcher} started this process as a rank, but `{name}` is not set")]
    Missing {
        launcher: Launcher,
        name: &'static str,
    },
    /// A variable with a value that makes no sense.
    #[error("`{name}={value}` is not {expected}")]
    Value {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
    /// A rank that the run or the machine does not have. Both are counted from 0.
    #[error("`{name}={rank}` does not fit: ranks are counted from 0, and there are {size}")]
    RankTooLarge {
        name: &'static str,
        rank: usize,
        size: usize,
    },
    /// A variable that was set beside a launcher's, with another value.
    #[error("`{name}={value}` contradicts `{theirs}={expected}`, which {launcher} set")]
    Contradiction {
        launcher: Launcher,
        name: &'static str,
        value: String,
        theirs: &'static str,
        expected: usize,
    },
    /// A pod that should hold several ranks, and holds this process alone.
    #[error("{launcher} expects {num} ranks in each pod, but started only this process")]
    PodOfSeveral { launcher: Launcher, num: usize },
    /// `--nproc` in a process that is a rank already.
    #[error("`--nproc` cannot start ranks: {launcher} started this process as one of {size} ranks")]
    Nested { launcher: Launcher, size: usize },
    /// Fewer GPUs than ranks.
    #[error("no GPU is left for rank {local_rank} of this machine, where {visible} are visible")]
    TooFewGpus { local_rank: usize, visible: usize },
    /// A GPU that was named for several ranks.
    #[error(
        "`--device cuda:{index}` names one GPU, but {local_size} ranks on this machine need one each"
    )]
    OneGpuForAll { index: usize, local_size: usize },

    /// Words from another rank that another version wrote, or that were damaged.
    #[error("what another rank sent cannot be read: {flaw}")]
    Record { flaw: String },
    /// Statuses that are not one of each rank.
    #[error("expected one status of each rank, but got those of ranks {}", list(.ranks))]
    Statuses { ranks: Vec<usize> },
    /// Ranks at another step than rank 0.
    #[error("ranks are at another step than rank 0: {}", list(.ranks))]
    Steps { ranks: Vec<usize> },
    /// Ranks with another recipe than rank 0.
    #[error("ranks compute with another recipe than rank 0: {}", list(.ranks))]
    Recipes { ranks: Vec<usize> },

    /// Ranks that did not come.
    #[error("not all ranks arrived: missing {}", list(.ranks))]
    Absent { ranks: Vec<usize> },
    /// Rank 0 is there, and does not say who is missing.
    #[error("rank 0 arrived, but it is still waiting for other ranks")]
    NotAll,
    /// Two processes with one rank.
    #[error("another process also claims to be rank {rank}")]
    Twice { rank: usize },
    /// Ranks that were started for runs of different sizes.
    #[error("rank {rank} was started for {found} ranks, and rank 0 for {size}")]
    Sizes {
        rank: usize,
        found: String,
        size: usize,
    },
}

impl Error {
    /// An [`Error::Record`].
    pub(crate) fn record(flaw: &str) -> Self {
        let flaw = flaw.to_owned();
        Self::Record { flaw }
    }

    /// One sentence that states the remedy, without the word `hint`.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { launcher, name } => match (launcher, *name) {
                (Launcher::OpenMpi, "MASTER_ADDR" | "MASTER_PORT") => format!(
                    "Open MPI does not set `{name}`: start with `mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500`, \
                     where `HOST` is the host of rank 0"
                ),
                (Launcher::Slurm, _) => "start the ranks with `srun`, which sets it".to_owned(),
                _ => format!(
                    "set `{name}` for each process, or unset `{}` and `{}` to train with one process",
                    launcher.names().rank,
                    launcher.names().size
                ),
            },
            Self::Value { name: "PET_NNODES", .. } => {
                "use a fixed number of nodes, or start `torchrun --no-python snug train` in the pods, which can change it"
                    .to_owned()
            }
            Self::Value { name, .. } | Self::RankTooLarge { name, .. } => {
                format!("correct `{name}`, or unset the launcher's variables to train with one process")
            }
            Self::Contradiction { name, theirs, .. } => format!(
                "Snug goes by what the launcher set for each process: unset `{name}`, or make it equal to `{theirs}`"
            ),
            Self::PodOfSeveral { launcher, .. } => format!(
                "set `{}: 1` and use one pod for each GPU, or start `torchrun --no-python snug train` in the pods",
                match launcher {
                    Launcher::TrainJob => "numProcPerNode",
                    _ => "nprocPerNode",
                }
            ),
            Self::Nested { .. } => "leave out `--nproc`, or let the launcher start only one process".to_owned(),
            Self::TooFewGpus { .. } => {
                "start one rank for each GPU of this machine, or train on the CPU with `--device cpu`".to_owned()
            }
            Self::OneGpuForAll { .. } => {
                "with `--device cuda` each rank takes its own; `CUDA_VISIBLE_DEVICES` chooses among them".to_owned()
            }
            Self::Record { .. } => "use the same version of Snug for all ranks".to_owned(),
            Self::Statuses { .. } | Self::Twice { .. } => {
                "give each process a rank of its own, and each run a port of its own".to_owned()
            }
            Self::Steps { .. } | Self::Recipes { .. } => {
                "start all ranks with the same settings, and resume from the last snapshot".to_owned()
            }
            Self::Absent { .. } | Self::NotAll => {
                "see in the output of the missing ranks whether they started, and whether they can reach rank 0's host \
                 and port"
                    .to_owned()
            }
            Self::Sizes { .. } => "start all ranks with the same number of ranks".to_owned(),
        }
    }
}

/// Ranks in a message.
fn list(ranks: &[usize]) -> String {
    let ranks: Vec<_> = ranks.iter().map(ToString::to_string).collect();
    ranks.join(", ")
}
