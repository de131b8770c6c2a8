//! Runs of several processes: they compute what one process does, a failure of any rank is repaired on all, and a run
//! goes on after the death of any of them, with any number of others.

use safetensors::SafeTensors;

use super::resume::{EVERY_STEP, learnt};
use super::running::Running;
use super::{Run, Sandbox, small};

/// In a step with one batch of two, rank 0 of two trains on none.
const STEPS: [&str; 6] = ["--batch", "2", "--accumulation", "3", "--patience", "0"];
/// Flags of a run of 6 steps, of which every second has one batch.
const SHORT: [&str; 2] = ["--epochs", "3"];

fn flags<'a>(size: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let ranks = ["--data", "data", "--nproc", size, "--reduce", "ordered"];
    small(&[&STEPS[..], &ranks, more].concat())
}

fn fit(sandbox: &Sandbox, size: &str, fault: &str, more: &[&str]) -> Run {
    let mut command = sandbox.command();
    Run::of(
        command
            .args(flags(size, &[&SHORT[..], more].concat()))
            .env("SNUG_FAULT", fault),
    )
}

/// The tensors of the last weights that differ, running statistics aside.
fn differing(sandbox: &Sandbox, a: &str, b: &str) -> Vec<String> {
    let [a, b] = [a, b].map(|run| sandbox.read(&format!("{run}/last/weights.safetensors")));
    let [a, b] = [&a, &b].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    let names = a.names().into_iter().filter(|it| !it.contains("running_"));
    names
        .filter(|name| a.tensor(name).unwrap().data() != b.tensor(name).unwrap().data())
        .map(str::to_owned)
        .collect()
}

/// Checks that two runs of several ranks have the same files of weights, and the same losses and scores.
fn assert_same(sandbox: &Sandbox, a: &str, b: &str) {
    for file in ["best.safetensors", "last/weights.safetensors"] {
        let [x, y] = [a, b].map(|run| sandbox.read(&format!("{run}/{file}")));
        assert!(x == y, "{b}/{file} differs");
    }
    assert_eq!(learnt(sandbox, a), learnt(sandbox, b), "{b}");
}

#[test]
fn ranks_train_the_weights_of_one_process() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&STEPS[..], &SHORT, &["--run-dir", "one"]].concat());
    for size in ["2", "3"] {
        let run = fit(&sandbox, size, "", &["--run-dir", size]).ok();
        let said = format!("ranks: {size}, started by `--nproc`");
        assert_eq!(run.stderr.matches(&said).count(), 1, "{run:?}");
        assert_eq!(differing(&sandbox, "one", size), [""; 0]);
        let [one, many] = ["one", size].map(|run| sandbox.rows(&format!("{run}/metrics.jsonl")));
        for (one, many) in one.iter().zip(&many) {
            assert_eq!(one["train_loss"], many["train_loss"]);
        }
    }
    assert_same(&sandbox, "2", "3");
}

#[test]
fn a_failure_of_any_rank_is_repaired_on_all() {
    let sandbox = Sandbox::with_pages();
    fit(&sandbox, "2", "", &["--run-dir", "whole"]).ok();
    for (nth, (fault, more, expected)) in [
        // Forward, backward, and both at once on different ranks.
        ("oom:10@3#1", "off", "step 3: out of memory on rank 1"),
        ("oom:150@5#0", "off", "step 5: out of memory on rank 0"),
        (
            "oom:9@3#1,oom:160@3#0",
            "off",
            "step 3: out of memory on rank",
        ),
        (
            "recompute@3#1",
            "block",
            "step 3: a checkpointed segment cannot be recomputed on rank 1",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = format!("run-{nth}");
        let more = ["--grad-checkpoint", more, "--run-dir", &dir];
        let run = fit(&sandbox, "2", fault, &more).ok();
        assert_eq!(
            run.stderr.matches("warning:").count(),
            1,
            "{fault}: {run:?}"
        );
        assert!(run.stderr.contains(expected), "{fault}: {run:?}");
        assert_same(&sandbox, "whole", &dir);
    }
}

/// In the passes of a step a failure is undone on all ranks, and in the update, which others have done, it is retried.
#[test]
fn no_allocation_that_fails_leaves_others_waiting() {
    let sandbox = Sandbox::with_pages();
    for (name, flags) in [
        ("ordered", &["--reduce", "ordered"][..]),
        ("overlap", &["--reduce", "overlap"]),
        ("together", &["--sync-batch-norm", "--amp", "bf16"]),
    ] {
        let fit = |fault: &str, dir: &str| {
            let more = [&["--rank-timeout", "20", "--run-dir", dir], flags].concat();
            fit(&sandbox, "2", fault, &more).ok()
        };
        let whole = format!("{name}-whole");
        fit("", &whole);
        for allocation in (0..900).step_by(180) {
            let fault = format!("oom:{allocation}@3#1");
            let dir = format!("{name}-{allocation}");
            let run = fit(&fault, &dir);
            assert!(
                run.stderr.matches("warning:").count() <= 1,
                "{fault}: {run:?}"
            );
            assert_same(&sandbox, &whole, &dir);
        }
    }
    // Segments run batch norm again.
    let segments = ["--sync-batch-norm", "--grad-checkpoint", "block"];
    let refused = fit(&sandbox, "2", "", &segments);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("`--sync-batch-norm` needs our own kernels"),
        "{refused:?}"
    );
}

#[test]
fn a_run_goes_on_after_the_death_of_any_rank() {
    let sandbox = Sandbox::with_pages();
    let goes_on = |size, fault, dir| {
        let more = [&EVERY_STEP[..], &["--run-dir", dir, "--resume", "auto"]].concat();
        fit(&sandbox, size, fault, &more)
    };
    goes_on("2", "", "whole").ok();
    for (size, fault, expected) in [
        ("3", "death@2#1", "rank 1 was killed by signal 6"),
        ("2", "death@4#0", "rank 0 was killed by signal 6"),
        (
            "2",
            "snapshot:half-written@2#0",
            "rank 0 was killed by signal 9",
        ),
        (
            "3",
            "nan-loss@5#2",
            "rank 2 ended the run: the loss is not finite",
        ),
    ] {
        let run = goes_on(size, fault, "run");
        assert_eq!(run.code, Some(1), "{fault}: {run:?}");
        assert_eq!(run.stderr.matches("error:").count(), 1, "{fault}: {run:?}");
        assert!(run.stderr.contains(expected), "{fault}: {run:?}");
    }
    goes_on("3", "", "run").ok();
    assert_same(&sandbox, "whole", "run");
}

/// A run that normalises over all ranks does so when it is resumed, without the flag.
#[test]
fn a_resumed_run_normalises_as_before() {
    let sandbox = Sandbox::with_pages();
    let together = |fault, dir, more: &[&str]| {
        let flags = [&EVERY_STEP[..], &["--run-dir", dir], more].concat();
        fit(&sandbox, "2", fault, &flags)
    };
    together("", "whole", &["--sync-batch-norm"]).ok();
    let killed = together("death@4#1", "run", &["--sync-batch-norm"]);
    assert_eq!(killed.code, Some(1), "{killed:?}");
    together("", "run", &["--resume", "auto"]).ok();
    assert_same(&sandbox, "whole", "run");
}

#[test]
fn a_rank_that_hangs_ends_the_run_in_time() {
    let sandbox = Sandbox::with_pages();
    let more = ["--rank-timeout", "2", "--run-dir", "run"];
    let run = fit(&sandbox, "2", "hang@3#1", &more);
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stderr.contains("rank 1 did not answer"), "{run:?}");
    assert_eq!(sandbox.json("run/summary.json")["steps"], 2);
    // Nothing is lost.
    fit(&sandbox, "2", "", &["--run-dir", "whole"]).ok();
    fit(&sandbox, "2", "", &["--run-dir", "run", "--resume", "auto"]).ok();
    assert_same(&sandbox, "whole", "run");
}

#[test]
fn all_ranks_stop_at_the_same_step_and_one_process_goes_on() {
    let sandbox = Sandbox::with_pages();
    let long = ["--epochs", "400", "--run-dir", "run"];
    let mut run = Running::of(sandbox.command().args(flags("3", &long)));
    run.wait_for("epoch");
    assert!(run.signal("-INT"));
    assert_eq!(run.end(), Some(130), "{}", run.text);
    assert!(
        run.text.contains("--nproc 3 --reduce ordered"),
        "{}",
        run.text
    );
    let steps = sandbox.json("run/summary.json")["steps"].as_u64().unwrap();
    let rest = (steps + 2).to_string();
    let more = [&STEPS[..], &["--epochs", "400", "--max-steps", &rest]].concat();
    sandbox.fit(&[&more[..], &["--run-dir", "run", "--resume", "auto"]].concat());
    sandbox.fit(&[&more[..], &["--run-dir", "whole"]].concat());
    assert_eq!(differing(&sandbox, "whole", "run"), [""; 0]);
}
