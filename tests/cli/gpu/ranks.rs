//! Two ranks with a GPU each. Gradients travel through the machine's memory, because NCCL needs real ones.

use standin::StandIn;

use super::super::{Run, Sandbox, small};
use super::{card, on};

const GPU: &str = "NVIDIA GeForce RTX 3060";

/// A run of two ranks on a machine with these two cards; `None` where there is no stand-in.
fn two(machine: &StandIn, sandbox: &Sandbox, more: &[&str]) -> Option<Run> {
    let ranks = [
        "--data",
        "data",
        "--device",
        "cuda",
        "--run-dir",
        "run",
        "--nproc",
        "2",
        "--backend",
        "gloo",
    ];
    let mut command = sandbox.command();
    on(machine, command.args(small(&[&ranks[..], more].concat()))).then(|| Run::of(&mut command))
}

#[test]
fn each_rank_takes_a_gpu_of_its_own() {
    let sandbox = Sandbox::with_pages();
    let machine = StandIn::with(card(GPU, (8, 6), 12)).and(card(GPU, (8, 6), 12));
    let Some(run) = two(&machine, &sandbox, &["--epochs", "1"]) else {
        return;
    };
    run.ok();
    let summary = sandbox.json("run/summary.json");
    assert_eq!(
        (&summary["ranks"], &summary["status"]),
        (&2.into(), &"completed".into())
    );
    let events = sandbox.rows("run/events.jsonl");
    let ranks = events.iter().find(|it| it["event"] == "ranks").unwrap();
    for rank in ranks["ranks"].as_array().unwrap() {
        assert!(
            rank["peak_allocated_bytes"].as_u64() > Some(1 << 20),
            "{rank}"
        );
    }
    // A third rank has no GPU.
    let third = ["--nproc", "3", "--run-dir", "third"];
    let run = two(&machine, &sandbox, &third).unwrap();
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.complaint().contains("no GPU is left"), "{run:?}");
}

#[test]
fn the_smaller_gpu_decides_for_both() {
    let sandbox = Sandbox::with_pages();
    let machine = StandIn::with(card(GPU, (8, 6), 12)).and(card(GPU, (8, 6), 1));
    let large = [
        "--img-size",
        "496x512",
        "--batch",
        "4",
        "--width",
        "16",
        "--max-steps",
        "3",
    ];
    let large = |more: &[&'static str]| [&large[..], more].concat();
    let Some(planned) = two(&machine, &sandbox, &large(&["--backend", "gloo"])) else {
        return;
    };
    let planned = planned.ok();
    let warnings = |run: &Run| -> Vec<String> {
        let lines = run.stderr.lines();
        let warnings = lines.filter(|it| it.starts_with("warning: "));
        warnings.map(str::to_owned).collect()
    };
    assert!(warnings(&planned).is_empty(), "{planned:?}");
    let summary = sandbox.json("run/summary.json");
    assert_eq!(summary["config"]["grad_checkpoint_policy"], "mixed");

    // Without a plan, the fallbacks of the smaller one are those of both.
    let forced = ["--force", "--run-dir", "forced"];
    let forced = two(&machine, &sandbox, &large(&forced)).unwrap().ok();
    let said = warnings(&forced);
    assert!(said.len() > 1, "{forced:?}");
    let on_rank_1 = |it: &String| it.contains("out of memory on rank 1");
    assert!(said.iter().all(on_rank_1), "{forced:?}");
    let summary = sandbox.json("forced/summary.json");
    assert_eq!(summary["steps"], 3);
    assert_eq!(summary["config"]["grad_checkpoint_policy"], "mixed");
}
