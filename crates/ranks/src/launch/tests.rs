//! Environments as launchers set them, and the traps among them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;
use crate::error::Error;

const TORCHRUN: &str = "RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 GROUP_RANK=1 MASTER_ADDR=localhost \
    MASTER_PORT=40123 OMP_NUM_THREADS=1 TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=2 \
    TORCHELASTIC_USE_AGENT_STORE=True";
const SRUN: &str = "SLURM_JOB_ID=4711 SLURM_STEP_ID=1 SLURM_PROCID=2 SLURM_LOCALID=0 SLURM_NTASKS=4 SLURM_NNODES=2 \
    SLURM_NODEID=1 SLURM_JOB_NODELIST=n[1-2] SLURM_TASKS_PER_NODE=2(x2) SLURM_NTASKS_PER_NODE=8 \
    SLURM_LAUNCH_NODE_IPADDR=10.0.0.9";
const MPIRUN: &str = "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 \
    OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_RANK=1";
const MASTER: &str = "MASTER_ADDR=head MASTER_PORT=23456";
const PYTORCH_JOB: &str = "RANK=1 WORLD_SIZE=3 MASTER_ADDR=job-master-0 MASTER_PORT=23456 PET_NNODES=3 PET_NODE_RANK=1 \
    PET_NPROC_PER_NODE=1 PET_MASTER_ADDR=job-master-0 PET_MASTER_PORT=23456";
const TRAIN_JOB: &str = "PET_NNODES=2 PET_NPROC_PER_NODE=auto PET_NODE_RANK=1 PET_MASTER_ADDR=job-node-0-0.job \
    PET_MASTER_PORT=29500 JOB_COMPLETION_INDEX=1";

/// An environment from words; a later one replaces an earlier one, and `NAME=` unsets it.
fn environment(words: &[&str]) -> impl Fn(&str) -> Option<String> {
    let words = words.join(" ");
    let variables = words.split_whitespace().filter_map(|it| it.split_once('='));
    let all: BTreeMap<String, String> = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    move |name| all.get(name).cloned()
}

fn of(words: &[&str]) -> Result<Option<Launch>> {
    Launch::of(&environment(words))
}

#[test]
fn each_launcher_is_understood() {
    let mut said = String::new();
    for (words, note) in [
        (&[TORCHRUN][..], "torchrun"),
        (
            &[TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE=False"],
            "torchrun that does not share its store",
        ),
        (&[SRUN, TORCHRUN], "torchrun in srun"),
        (&[SRUN], "srun"),
        (
            &[SRUN, "SLURM_RESTART_COUNT=1 MASTER_ADDR=n7 MASTER_PORT=5"],
            "srun after a requeue, with an address",
        ),
        (
            &[
                SRUN,
                "SLURM_STEP_NODELIST=n2,m[3-9] SLURM_STEP_TASKS_PER_NODE=3,1",
            ],
            "srun on a part of the job",
        ),
        (&[MPIRUN, MASTER], "mpirun"),
        (&[SRUN, MPIRUN, MASTER], "mpirun in a Slurm job"),
        (&[PYTORCH_JOB], "PyTorchJob"),
        (&[TRAIN_JOB], "TrainJob"),
        (&["RANK=1 WORLD_SIZE=2 VC_TASK_INDEX=0", MASTER], "Volcano"),
        (
            &["WORLD_SIZE=2 JOB_COMPLETION_INDEX=1", MASTER],
            "Indexed Job",
        ),
        (
            &[
                "RANK=1 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2",
                MASTER,
            ],
            "by hand",
        ),
        (
            &["RANK=1 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=1"],
            "by hand, on one machine",
        ),
    ] {
        let launch = of(words).unwrap().unwrap();
        let served = if launch.is_store_served {
            "served"
        } else {
            "by rank 0"
        };
        writeln!(
            said,
            "{note}: {}, rank {} of {}, here {} of {}, store {} {served}, attempt {}",
            launch.launcher,
            launch.shard.rank(),
            launch.shard.size(),
            launch.local_rank,
            launch.local_size,
            launch.store,
            launch.attempt
        )
        .unwrap();
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_process_of_its_own() {
    for words in [
        &[""][..],
        &[MASTER],
        &["RANK= WORLD_SIZE="],
        // A shell of `salloc`, a batch script, and an interactive step.
        &[SRUN, "SLURM_STEP_ID="],
        &[SRUN, "SLURM_STEP_ID=4294967291"],
        &[SRUN, "SLURM_STEP_ID=4294967290"],
        // A job with an index, such as one of a sweep.
        &["JOB_COMPLETION_INDEX=3"],
        // Runs of one rank need no address.
        &["OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1"],
        &[SRUN, "SLURM_NTASKS=1 SLURM_PROCID=0"],
        &["WORLD_SIZE=1 RANK=0"],
    ] {
        assert_eq!(of(words), Ok(None), "{words:?}");
    }
}

#[test]
fn traps_are_refused_with_a_hint() {
    let mut said = String::new();
    for words in [
        &[TORCHRUN, "RANK="][..],
        &[TORCHRUN, "RANK=4"],
        &[TORCHRUN, "WORLD_SIZE=two"],
        &[TORCHRUN, "WORLD_SIZE=0"],
        &[TORCHRUN, "LOCAL_RANK=2"],
        &[TORCHRUN, "LOCAL_WORLD_SIZE=8"],
        &[TORCHRUN, "MASTER_PORT=0"],
        &[MPIRUN],
        &[MPIRUN, "MASTER_ADDR=head"],
        &[MPIRUN, MASTER, "RANK=0"],
        &[SRUN, "WORLD_SIZE=2"],
        &[SRUN, "SLURM_LOCALID="],
        &[SRUN, "SLURM_JOB_NODELIST=n[1-"],
        &[SRUN, "SLURM_TASKS_PER_NODE=2"],
        &[PYTORCH_JOB, "WORLD_SIZE=6 PET_NPROC_PER_NODE=2"],
        &[TRAIN_JOB, "PET_NPROC_PER_NODE=8"],
        &[TRAIN_JOB, "PET_NNODES=1:2"],
        &[TRAIN_JOB, "PET_NODE_RANK="],
        &["RANK=1", MASTER],
        &["RANK=1 WORLD_SIZE=2 MASTER_ADDR=head"],
        &["RANK=1 WORLD_SIZE=4 LOCAL_RANK=1", MASTER],
    ] {
        let error = of(words).unwrap_err();
        writeln!(said, "error: {error}\nhint: {}\n", error.hint()).unwrap();
    }
    insta::assert_snapshot!(said);
}

#[test]
fn ports_of_steps_differ() {
    let port = |words: &str| of(&[SRUN, words]).unwrap().unwrap().store.port;
    let ports = [
        port(""),
        port("SLURM_STEP_ID=2"),
        port("SLURM_JOB_ID=4712"),
        port("SLURM_JOB_ID=9223372036854775807"),
    ];
    for (nth, it) in ports.iter().enumerate() {
        assert!(
            (15_000..25_000).contains(it) && !ports[..nth].contains(it),
            "{ports:?}"
        );
    }
}

#[test]
fn a_child_reads_what_its_parent_wrote() {
    let parent = environment(&["WORLD_SIZE=1 RANK=0", MASTER]);
    let ranks = Launch::local(&parent, 3, 4000).unwrap();
    assert_eq!(ranks.len(), 3);
    for mut launch in ranks {
        // As in a restart by a parent that serves the store.
        (launch.attempt, launch.is_store_served) = (launch.attempt + 2, launch.shard.rank() == 1);
        let words: Vec<_> = launch
            .variables()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(of(&[TORCHRUN, &words.join(" ")]), Ok(Some(launch)));
    }
}

#[test]
fn ranks_start_no_ranks() {
    let error = Launch::local(&environment(&[SRUN]), 2, 4000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`--nproc` cannot start ranks: `srun` started this process as one of 4 ranks"
    );
}

#[test]
fn a_gpu_for_each_rank() {
    assert_eq!(device_of(3, 4), Ok(3));
    assert_eq!(device_of(3, 1), Ok(0));
    // A launcher may show each rank its own GPU; `--nproc` does not.
    let locals = Launch::local(&environment(&[]), 2, 1).unwrap();
    assert_eq!([locals[0].device(1), locals[1].device(2)], [Ok(0), Ok(1)]);
    assert!(locals[1].device(1).is_err());
    let torchrun = of(&[TORCHRUN]).unwrap().unwrap();
    assert_eq!(torchrun.device(1), Ok(0));
    for (local_rank, visible) in [(0, 0), (2, 2)] {
        let error = device_of(local_rank, visible).unwrap_err();
        assert_eq!(
            error,
            Error::TooFewGpus {
                local_rank,
                visible
            }
        );
    }
}

#[test]
fn advice_about_threads_and_a_forgotten_srun() {
    let torchrun = environment(&[TORCHRUN]);
    let launch = Launch::of(&torchrun).unwrap();
    let shell = environment(&[SRUN, "SLURM_STEP_ID="]);
    let advice_of = |variable: &dyn Fn(&str) -> Option<String>, launch, cores| {
        advice(variable, launch, cores).join("\n")
    };
    insta::assert_snapshot!(advice_of(&torchrun, launch.as_ref(), Some(16)));
    insta::assert_snapshot!(advice_of(&shell, None, None));
    // Nothing to say: one core for each rank, a GPU, another number, a task of srun.
    assert_eq!(advice_of(&torchrun, launch.as_ref(), Some(2)), "");
    assert_eq!(advice_of(&torchrun, launch.as_ref(), None), "");
    let chosen = environment(&[TORCHRUN, "OMP_NUM_THREADS=4"]);
    assert_eq!(advice_of(&chosen, launch.as_ref(), Some(16)), "");
    assert_eq!(advice_of(&environment(&[SRUN]), None, Some(16)), "");
}
