//! Ranks that Slurm's `srun` started.

use super::hosts;
use super::variables::Variables;
use super::{Address, Launch};
use crate::error::{Error, Result};

/// Numbers of steps from here on are no `srun` of a person: the batch script, an interactive shell, and the like.
const FIRST_SPECIAL_STEP: u32 = 0xffff_fff0;
/// Ports below those that systems give out on their own.
const FIRST_PORT: u16 = 15_000;
const NUM_PORTS: u64 = 10_000;

/// Whether this process is a task of an `srun`. A shell of `salloc` or a batch script is not one, although both have the
/// job's variables.
pub(super) fn is_task(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let step: Option<u32> = variable("SLURM_STEP_ID").and_then(|it| it.trim().parse().ok());
    step.is_some_and(|it| it < FIRST_SPECIAL_STEP) && variable("SLURM_PROCID").is_some()
}

/// The rank of this task.
pub(super) fn launch(variables: &Variables<'_>) -> Result<Launch> {
    let names = variables.launcher.names();
    let node = variables.needed_number("SLURM_NODEID")?;
    // The step may use fewer nodes than the job, and `SLURM_NTASKS_PER_NODE` is only what was asked for.
    let name = either(
        variables,
        "SLURM_STEP_TASKS_PER_NODE",
        "SLURM_TASKS_PER_NODE",
    );
    let per_node = variables.needed_text(name)?;
    let local_size = tasks_of(&per_node, node).ok_or(Error::Value {
        name,
        value: per_node,
        expected: "a list of tasks for each node, such as `2(x3),1`",
    })?;
    let host = match variables.text(names.host) {
        Some(host) => host,
        None => first_host(variables)?,
    };
    let port = match variables.port()? {
        Some(port) => port,
        None => port_of(variables)?,
    };
    let store = Address { host, port };
    variables.rank_with(
        variables.needed_number(names.local_rank)?,
        local_size,
        store,
    )
}

/// The name of the step's variable, or of the job's where that is unset.
fn either(variables: &Variables<'_>, step: &'static str, job: &'static str) -> &'static str {
    if variables.text(step).is_some() {
        step
    } else {
        job
    }
}

fn first_host(variables: &Variables<'_>) -> Result<String> {
    let name = either(variables, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST");
    let value = variables.needed_text(name)?;
    hosts::first(&value).ok_or(Error::Value {
        name,
        value,
        expected: "a list of hosts, such as `n[1-2,7],m3`",
    })
}

/// A port that all tasks of a step compute alike, and that steps on one node rarely share.
fn port_of(variables: &Variables<'_>) -> Result<u16> {
    let job = variables.needed_number("SLURM_JOB_ID")? as u64;
    let step = variables.needed_number("SLURM_STEP_ID")? as u64;
    let offset = job.wrapping_add(step.wrapping_mul(101)) % NUM_PORTS;
    Ok(FIRST_PORT + u16::try_from(offset).unwrap_or(0))
}

/// The tasks on the `node`th node of a list such as `2(x3),1`.
fn tasks_of(list: &str, node: usize) -> Option<usize> {
    let mut before = 0_usize;
    for entry in list.split(',') {
        let (tasks, nodes) = match entry.split_once("(x") {
            Some((tasks, nodes)) => (tasks, nodes.strip_suffix(')')?.parse().ok()?),
            None => (entry, 1),
        };
        before = before.checked_add(nodes)?;
        if node < before {
            return tasks.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_a_node() {
        let tasks: Vec<_> = (0..5).map(|node| tasks_of("2(x3),1", node)).collect();
        assert_eq!(tasks, [Some(2), Some(2), Some(2), Some(1), None]);
        for wrong in ["", "2(x", "2(x3", "a", "2(x18446744073709551615),1"] {
            assert!(tasks_of(wrong, usize::MAX).is_none(), "{wrong}");
        }
    }
}
