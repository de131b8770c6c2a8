//! Which GPU a rank takes, and what a person should know of its environment.

use super::{Launch, Launcher, slurm};
use crate::error::{Error, Result};

/// The GPU of the rank `local_rank` of its machine, which sees `visible` GPUs. A rank that sees exactly one takes it,
/// because launchers may show each rank its own (`--gpus-per-task`). Ranks that see the same one cannot be told from
/// them here.
///
/// # Errors
/// If no GPU is left for the rank.
pub const fn device_of(local_rank: usize, visible: usize) -> Result<usize> {
    match visible {
        1 => Ok(0),
        _ if local_rank < visible => Ok(local_rank),
        _ => Err(Error::TooFewGpus {
            local_rank,
            visible,
        }),
    }
}

impl Launch {
    /// The GPU of this rank, which sees `visible` GPUs: as [`device_of`], but `--nproc` shows each rank all GPUs.
    ///
    /// # Errors
    /// If no GPU is left for the rank.
    pub const fn device(&self, visible: usize) -> Result<usize> {
        let local_rank = self.local_rank;
        match self.launcher {
            Launcher::Snug if local_rank >= visible => Err(Error::TooFewGpus {
                local_rank,
                visible,
            }),
            _ => device_of(local_rank, visible),
        }
    }
}

/// What is probably a mistake of the environment, in sentences for a person. `launch` is what [`Launch::of`] made of it,
/// and `cores` are those of this machine if the run trains on its CPU.
pub fn advice(
    variable: &dyn Fn(&str) -> Option<String>,
    launch: Option<&Launch>,
    cores: Option<usize>,
) -> Vec<String> {
    let number = |name| variable(name).and_then(|it| it.trim().parse::<usize>().ok());
    let mut advice = Vec::new();
    if let (None, Some(tasks @ 2..)) = (launch, number("SLURM_NTASKS"))
        && !slurm::is_task(variable)
    {
        advice.push(format!(
            "this Slurm job has {tasks} tasks, but this process trains alone: `srun snug train` starts one rank in each \
             task"
        ));
    }
    if let (Some(launch), Some(cores)) = (launch, cores)
        && launch.launcher == Launcher::Torchrun
        && number("OMP_NUM_THREADS") == Some(1)
        && launch.threads(cores) > 1
    {
        advice.push(format!(
            "`OMP_NUM_THREADS=1`, which torchrun sets unless you do, leaves cores idle: `OMP_NUM_THREADS={}` uses all \
             {cores} of this machine",
            launch.threads(cores)
        ));
    }
    advice
}
