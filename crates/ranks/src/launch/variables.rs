//! Launchers, and the variables that each of them sets.

use std::fmt;

use super::{Address, Launch, slurm};
use crate::error::{Error, Result};
use crate::shard::Shard;

/// Who started the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Launcher {
    /// `--nproc`.
    Snug,
    /// `torchrun`, in a pod or a job as well.
    Torchrun,
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// Slurm's `srun`.
    Slurm,
    /// Kubeflow's training operator (v1).
    PyTorchJob,
    /// Kubeflow Trainer (v2).
    TrainJob,
    /// Volcano's plugin for PyTorch.
    Volcano,
    /// A Job of Kubernetes with `completionMode: Indexed`; the rest was set by hand.
    IndexedJob,
    /// Variables that a person or an unknown launcher set.
    Hand,
}

/// The names of a launcher's variables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) rank: &'static str,
    pub(crate) size: &'static str,
    pub(crate) local_rank: &'static str,
    pub(crate) local_size: &'static str,
    pub(super) host: &'static str,
    pub(super) port: &'static str,
    /// Restarts, 0 where unset.
    pub(super) attempt: Option<&'static str>,
    /// Whether the store is served by somebody else than rank 0, no where unset.
    pub(super) agent: Option<&'static str>,
}

/// The names of PyTorch.
const USUAL: Names = Names {
    rank: "RANK",
    size: "WORLD_SIZE",
    local_rank: "LOCAL_RANK",
    local_size: "LOCAL_WORLD_SIZE",
    host: "MASTER_ADDR",
    port: "MASTER_PORT",
    attempt: None,
    agent: None,
};

impl Launcher {
    /// Whose variables are there.
    pub(super) fn of(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let has = |name: &str| variable(name).is_some_and(|it| !it.trim().is_empty());
        let any = |names: [&str; 2]| names.into_iter().any(has);
        Some(if has(Self::Snug.names().rank) {
            Self::Snug
        } else if any(["TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"]) {
            Self::Torchrun
        } else if has(Self::OpenMpi.names().rank) {
            Self::OpenMpi
        } else if slurm::is_task(variable) {
            Self::Slurm
        } else if any([USUAL.rank, USUAL.size]) {
            if any(["PET_NNODES", "PET_NPROC_PER_NODE"]) {
                Self::PyTorchJob
            } else if any(["VC_TASK_INDEX", "VK_TASK_INDEX"]) {
                Self::Volcano
            } else if !has(USUAL.rank) && has(Self::IndexedJob.names().rank) {
                Self::IndexedJob
            } else {
                Self::Hand
            }
        } else if any([Self::TrainJob.names().rank, Self::TrainJob.names().size]) {
            Self::TrainJob
        } else {
            return None;
        })
    }

    /// The names of its variables.
    pub(crate) const fn names(self) -> Names {
        match self {
            Self::Snug => Names {
                rank: "SNUG_RANK",
                size: "SNUG_WORLD_SIZE",
                local_rank: "SNUG_LOCAL_RANK",
                local_size: "SNUG_LOCAL_WORLD_SIZE",
                host: "SNUG_MASTER_ADDR",
                port: "SNUG_MASTER_PORT",
                attempt: Some("SNUG_RESTART_COUNT"),
                agent: Some("SNUG_AGENT_STORE"),
            },
            Self::Torchrun => Names {
                attempt: Some("TORCHELASTIC_RESTART_COUNT"),
                agent: Some("TORCHELASTIC_USE_AGENT_STORE"),
                ..USUAL
            },
            Self::OpenMpi => Names {
                rank: "OMPI_COMM_WORLD_RANK",
                size: "OMPI_COMM_WORLD_SIZE",
                local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
                local_size: "OMPI_COMM_WORLD_LOCAL_SIZE",
                ..USUAL
            },
            Self::Slurm => Names {
                rank: "SLURM_PROCID",
                size: "SLURM_NTASKS",
                local_rank: "SLURM_LOCALID",
                local_size: "SLURM_TASKS_PER_NODE",
                attempt: Some("SLURM_RESTART_COUNT"),
                ..USUAL
            },
            Self::TrainJob => Names {
                rank: "PET_NODE_RANK",
                size: "PET_NNODES",
                host: "PET_MASTER_ADDR",
                port: "PET_MASTER_PORT",
                ..USUAL
            },
            // Kubernetes sets it in each pod of such a Job.
            Self::IndexedJob => Names {
                rank: "JOB_COMPLETION_INDEX",
                ..USUAL
            },
            Self::PyTorchJob | Self::Volcano | Self::Hand => USUAL,
        }
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snug => "`--nproc`",
            Self::Torchrun => "torchrun",
            Self::OpenMpi => "`mpirun`",
            Self::Slurm => "`srun`",
            Self::PyTorchJob => "the PyTorchJob",
            Self::TrainJob => "the TrainJob",
            Self::Volcano => "Volcano",
            Self::IndexedJob => "the Indexed Job",
            Self::Hand => "an unknown launcher",
        })
    }
}

/// The environment of a process that `launcher` started.
pub(super) struct Variables<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) launcher: Launcher,
}

impl<'a> Variables<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>, launcher: Launcher) -> Self {
        Self { variable, launcher }
    }

    /// A variable, unless it is unset or empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = (self.variable)(name)?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    pub(super) fn needed_text(&self, name: &'static str) -> Result<String> {
        self.text(name).ok_or(Error::Missing {
            launcher: self.launcher,
            name,
        })
    }

    pub(super) fn number(&self, name: &'static str) -> Result<Option<usize>> {
        self.text(name)
            .map(|it| read(name, it, "a whole number"))
            .transpose()
    }

    pub(super) fn needed_number(&self, name: &'static str) -> Result<usize> {
        read(name, self.needed_text(name)?, "a whole number")
    }

    /// The number of ranks, at least 1.
    pub(super) fn size(&self) -> Result<usize> {
        let name = self.launcher.names().size;
        match self.needed_number(name)? {
            0 => Err(Error::Value {
                name,
                value: "0".to_owned(),
                expected: "a whole number from 1 on",
            }),
            size => Ok(size),
        }
    }

    /// The rank of this process, which is `local_rank` of `local_size` on its machine.
    pub(super) fn rank_with(
        &self,
        local_rank: usize,
        local_size: usize,
        store: Address,
    ) -> Result<Launch> {
        let launcher = self.launcher;
        let names = launcher.names();
        let (rank, size) = (self.needed_number(names.rank)?, self.size()?);
        let too_large = |name, rank, size| Error::RankTooLarge { name, rank, size };
        let shard = Shard::new(rank, size).ok();
        let shard = shard.ok_or(too_large(names.rank, rank, size))?;
        if local_rank >= local_size {
            return Err(too_large(names.local_rank, local_rank, local_size));
        }
        if local_size > size {
            return Err(Error::Value {
                name: names.local_size,
                value: local_size.to_string(),
                expected: "a part of all ranks",
            });
        }
        let attempt = names.attempt.map(|it| self.number(it)).transpose()?;
        Ok(Launch {
            launcher,
            shard,
            local_rank,
            local_size,
            store,
            is_store_served: false,
            attempt: attempt
                .flatten()
                .map_or(0, |it| u32::try_from(it).unwrap_or(u32::MAX)),
        })
    }

    pub(super) fn is_store_served(&self) -> bool {
        let agent = self.launcher.names().agent;
        let said = agent.and_then(|it| self.text(it));
        said.is_some_and(|it| it == "1" || it.eq_ignore_ascii_case("true"))
    }

    pub(super) fn host(&self) -> Result<String> {
        self.needed_text(self.launcher.names().host)
    }

    /// The port that is set, if one is.
    pub(super) fn port(&self) -> Result<Option<u16>> {
        let name = self.launcher.names().port;
        let text = self.text(name);
        text.map(|it| {
            let port = read::<std::num::NonZeroU16>(name, it, "a port from 1 to 65535")?;
            Ok(port.get())
        })
        .transpose()
    }

    pub(super) fn address(&self) -> Result<Address> {
        let host = self.host()?;
        let port = self.port()?.ok_or(Error::Missing {
            launcher: self.launcher,
            name: self.launcher.names().port,
        })?;
        Ok(Address { host, port })
    }

    /// Refuses a variable with another value than `expected`, which the launcher's variable `theirs` has.
    pub(super) fn must_agree(
        &self,
        name: &'static str,
        theirs: &'static str,
        expected: usize,
    ) -> Result<()> {
        match self.text(name) {
            Some(value) if value.parse() != Ok(expected) => Err(Error::Contradiction {
                launcher: self.launcher,
                name,
                value,
                theirs,
                expected,
            }),
            _ => Ok(()),
        }
    }
}

fn read<T: std::str::FromStr>(
    name: &'static str,
    value: String,
    expected: &'static str,
) -> Result<T> {
    value.parse().ok().ok_or(Error::Value {
        name,
        value,
        expected,
    })
}
