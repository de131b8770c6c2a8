//! Planted faults, each in a separate run: the run survives it, or ends with the right exit code,
//! and nothing is lost.

use serde_json::Value;

use super::resume::{EVERY_STEP, assert_same};
use super::{Run, Sandbox, small};

/// Flags of a run of 8 steps.
const FLAGS: [&str; 4] = ["--batch", "2", "--epochs", "2"];

fn fit(sandbox: &Sandbox, fault: &str, more: &[&str]) -> Run {
    let flags = small(&[&FLAGS[..], &["--data", "data"], more].concat());
    Run::of(sandbox.command().args(flags).env("SNUG_FAULT", fault))
}

/// The rungs of the summary, as `from -> to`.
fn rungs(summary: &Value) -> Vec<String> {
    let fallbacks = summary["fallbacks"].as_array().unwrap();
    let word = |rung: &Value, key: &str| rung[key].as_str().unwrap().to_owned();
    fallbacks
        .iter()
        .map(|rung| format!("{} -> {}", word(rung, "from"), word(rung, "to")))
        .collect()
}

fn weights(sandbox: &Sandbox, dir: &str) -> Vec<u8> {
    sandbox.read(&format!("{dir}/last/weights.safetensors"))
}

#[test]
fn repairable_faults_leave_every_bit_unchanged() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&FLAGS[..], &["--run-dir", "whole"]].concat());
    let once = "step failed -> step retried";
    let form = "use_reentrant false -> use_reentrant true";
    let cases: [(&str, &str, &[&str]); 5] = [
        ("oom:30@3", "off", &[once]),
        ("oom:5@1,oom:200@8", "off", &[once, once]),
        ("recompute@3", "block", &[form]),
        (
            "recompute:2@3",
            "stage",
            &[form, "checkpointing stage -> checkpointing off"],
        ),
        (
            "recompute@8",
            "selective",
            &["checkpointing selective -> checkpointing off"],
        ),
    ];
    for (fault, policy, expected) in cases {
        let dir = fault.replace([':', '@', ','], "-");
        let more = ["--grad-checkpoint", policy, "--run-dir", &dir];
        let run = fit(&sandbox, fault, &more).ok();
        let summary = sandbox.json(&format!("{dir}/summary.json"));
        assert_eq!(rungs(&summary), expected, "{fault}: {run:?}");
        assert_eq!(summary["steps"], 8);
        assert_eq!(
            weights(&sandbox, "whole"),
            weights(&sandbox, &dir),
            "{fault}"
        );
        let events = sandbox.rows(&format!("{dir}/events.jsonl"));
        let logged = events.iter().filter(|event| event["event"] == "fallback");
        assert_eq!(logged.count(), expected.len(), "{fault}");
    }
}

#[test]
fn a_non_finite_loss_ends_a_run_in_fp32_and_loses_nothing() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&FLAGS[..], &["--run-dir", "whole"]].concat());
    let more = [&["--run-dir", "run"], &EVERY_STEP[..]].concat();
    let failed = fit(&sandbox, "nan-loss@6", &more);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let complaint = failed.complaint();
    assert!(complaint.contains("made in the forward pass"), "{failed:?}");
    let summary = sandbox.json("run/summary.json");
    assert_eq!(summary["status"], "failed");
    assert_eq!(summary["steps"], 5);
    // The run resumes from before the fault, which does not return.
    sandbox.resume("run");
    assert_same(&sandbox, "whole", "run");
}

#[test]
fn infinite_gradients_never_reach_the_weights_in_fp32() {
    let sandbox = Sandbox::with_pages();
    let run = fit(&sandbox, "inf-gradients:2@4", &["--run-dir", "two"]).ok();
    let summary = sandbox.json("two/summary.json");
    assert_eq!(summary["steps"], 8);
    assert_eq!(summary["skipped_updates"], 2, "{summary}");
    assert_eq!(rungs(&summary), [""; 0]);
    // Four steps to an epoch.
    for words in [
        "epoch 1: 1 of its updates skipped",
        "epoch 2: 1 of its updates",
    ] {
        assert!(run.stderr.contains(words), "{run:?}");
    }
    // Without end: no scale and no precision can repair that.
    let failed = fit(&sandbox, "inf-gradients:6@2", &["--run-dir", "six"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let words = "gradients are not finite, step after step";
    assert!(failed.complaint().contains(words), "{failed:?}");
    let summary = sandbox.json("six/summary.json");
    assert_eq!(summary["skipped_updates"], 4, "{summary}");
    assert_eq!(summary["steps"], 5, "the fifth is undone");
}

#[test]
fn overflowing_steps_are_skipped_and_then_a_rung_is_taken() {
    let sandbox = Sandbox::with_pages();
    let amp = ["--amp", "fp16", "--init-scale", "4096"];
    let run = |fault: &str, dir: &str| {
        let more = [&amp[..], &["--run-dir", dir]].concat();
        fit(&sandbox, fault, &more).ok();
        sandbox.json(&format!("{dir}/summary.json"))
    };
    let scale = |dir: &str| {
        let rows = sandbox.rows(&format!("{dir}/metrics.jsonl"));
        rows.last().unwrap()["scale"].as_f64().unwrap()
    };
    let whole = run("nan-loss@99", "whole");
    assert_eq!(rungs(&whole), [""; 0]);
    let skipped = run("inf-gradients:2@3", "skipped");
    assert_eq!(
        rungs(&skipped),
        [""; 0],
        "the scaler handles two skips alone"
    );
    assert!((scale("whole") / scale("skipped") - 4.0).abs() < 1e-9);
    let collapsed = run("inf-gradients:5@3", "collapsed");
    let rungs_taken = rungs(&collapsed);
    assert_eq!(rungs_taken.len(), 1, "{rungs_taken:?}");
    assert!(
        rungs_taken[0].starts_with("AMP fp16 -> AMP "),
        "{rungs_taken:?}"
    );
    for summary in [&skipped, &collapsed] {
        assert_eq!(summary["steps"], whole["steps"]);
    }
    let nan = run("nan-loss@3", "nan");
    assert!(rungs(&nan)[0].starts_with("AMP fp16 -> AMP "), "{nan}");
}

#[test]
fn a_rung_that_changes_bits_can_be_taken_back() {
    let sandbox = Sandbox::with_pages();
    let amp = ["--amp", "fp16", "--init-scale", "65536", "--run-dir", "run"];
    // The run dies once the snapshot from before the rung is written.
    let died = fit(&sandbox, "inf-gradients:5@3,snapshot:done", &amp);
    assert_eq!(died.code, None, "{died:?}");
    sandbox.resume("run");
    let summary = sandbox.json("run/summary.json");
    assert_eq!(rungs(&summary), [""; 0], "this run took no rung");
    assert_eq!(summary["steps"], 8);
}

#[test]
fn a_full_disk_costs_only_a_snapshot() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&FLAGS[..], &["--run-dir", "whole"]].concat());
    let more = [&["--run-dir", "full"], &EVERY_STEP[..]].concat();
    let run = fit(&sandbox, "disk-full@2,disk-full@3", &more).ok();
    assert_eq!(run.stderr.matches("no snapshot: ").count(), 1, "{run:?}");
    assert!(run.stderr.contains("snapshots are written again"));
    assert_same(&sandbox, "whole", "full");
}

#[test]
fn an_unknown_fault_is_refused() {
    let sandbox = Sandbox::with_pages();
    let before = sandbox.tree();
    let refused = fit(&sandbox, "oom:x", &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.complaint().contains("`oom:x` is no fault"));
    assert_eq!(before, sandbox.tree());
}
