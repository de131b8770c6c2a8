//! Which rank this process is, read from the environment that its launcher set.
//!
//! Launchers nest: `srun` starts torchrun, and torchrun starts ranks. The innermost one knows this process best, so the
//! first row wins whose variables are there:
//!
//! | launcher | seen by | rank 0's address | who serves the store |
//! |---|---|---|---|
//! | Snug (`--nproc`) | `SNUG_RANK` | set | rank 0, or its parent if `SNUG_AGENT_STORE` says so |
//! | torchrun | `TORCHELASTIC_RUN_ID` | set | torchrun, if `TORCHELASTIC_USE_AGENT_STORE` says so |
//! | Open MPI | `OMPI_COMM_WORLD_RANK` | `MASTER_ADDR` and `MASTER_PORT`, passed with `mpirun -x` | rank 0 |
//! | srun | `SLURM_STEP_ID`, `SLURM_PROCID` | first host of the step; port from the job's number | rank 0 |
//! | `PyTorchJob`, Volcano, an Indexed Job, or by hand | `RANK`, `WORLD_SIZE` | set | rank 0 |
//! | `TrainJob` | `PET_NNODES`, `PET_NODE_RANK` | set | rank 0 |
//!
//! Open MPI comes before srun because its daemons on other machines are tasks of srun. `RANK`, `WORLD_SIZE` and
//! `LOCAL_RANK` beside the variables of Open MPI or srun were set by hand, and are refused if they say something else.

mod device;
mod hosts;
mod local;
mod pods;
mod slurm;
#[cfg(test)]
mod tests;
mod variables;

use std::fmt;

use crate::error::Result;
use crate::shard::Shard;
use variables::Variables;

pub use device::{advice, device_of};
pub use local::Variable;
pub use variables::Launcher;

/// Where the store listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host of rank 0, or of what serves the store in its place.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A rank of a run of several processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Who started the process.
    pub launcher: Launcher,
    /// The rank, and the number of ranks, at least 2.
    pub shard: Shard,
    /// The rank among those of this machine or pod, from 0.
    pub local_rank: usize,
    /// The number of ranks on this machine or in this pod.
    pub local_size: usize,
    /// Where the store listens.
    pub store: Address,
    /// Whether something other than rank 0 serves the store already, so that rank 0 is a client as well.
    pub is_store_served: bool,
    /// How often the launcher has restarted the run. This does not tell all starts apart: torchrun does not count those
    /// after a machine joined or left ([`Rendezvous`](crate::Rendezvous) does).
    pub attempt: u32,
}

impl Launch {
    /// The rank that the environment describes, or `None` for a process of its own, which includes a run of one rank.
    /// An empty variable is unset.
    ///
    /// # Errors
    /// If a variable is missing, makes no sense, or contradicts another one; if ranks would be missing.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let Some(launcher) = Launcher::of(variable) else {
            return Ok(None);
        };
        let variables = Variables::new(variable, launcher);
        if variables.size()? == 1 {
            return Ok(None);
        }
        let launch = match launcher {
            Launcher::Snug | Launcher::Torchrun | Launcher::OpenMpi => {
                let names = launcher.names();
                Self {
                    is_store_served: variables.is_store_served(),
                    ..variables.rank_with(
                        variables.needed_number(names.local_rank)?,
                        variables.needed_number(names.local_size)?,
                        variables.address()?,
                    )?
                }
            }
            Launcher::Slurm => slurm::launch(&variables)?,
            Launcher::PyTorchJob
            | Launcher::TrainJob
            | Launcher::Volcano
            | Launcher::IndexedJob
            | Launcher::Hand => pods::launch(&variables)?,
        };
        if matches!(launcher, Launcher::OpenMpi | Launcher::Slurm) {
            for (name, theirs, value) in [
                ("RANK", launcher.names().rank, launch.shard.rank()),
                ("WORLD_SIZE", launcher.names().size, launch.shard.size()),
                ("LOCAL_RANK", launcher.names().local_rank, launch.local_rank),
            ] {
                variables.must_agree(name, theirs, value)?;
            }
        }
        Ok(Some(launch))
    }

    /// How many threads this rank may use on a machine with `cores` cores, at least 1.
    pub fn threads(&self, cores: usize) -> usize {
        (cores / self.local_size.max(1)).max(1)
    }
}
