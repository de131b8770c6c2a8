//! Runs in too little memory: a run is adapted before it starts, refused, or forced.

use serde_json::Value;

use super::{Run, Sandbox};

/// Limits as shares of an unlimited run's peak, and whether checkpoint policies alone suffice.
const SHARES: [(f64, bool); 4] = [(0.8, true), (0.6, true), (0.45, true), (0.3, false)];

/// Peak of an unlimited run in bytes, if peaks can be predicted on this machine.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn unlimited(sandbox: &Sandbox, more: &[&str]) -> Option<u64> {
    sandbox.fit(&[&["--epochs", "2", "--run-dir", "free"], more].concat());
    let summary = sandbox.json("free/summary.json");
    if summary["memory"]["predicted_peak_bytes"].is_null() {
        eprintln!("skipped: peaks are not predicted for this CPU");
        return None;
    }
    summary["memory"]["peak_allocated_bytes"].as_u64()
}

fn limited(sandbox: &Sandbox, bytes: u64, more: &[&str]) -> Run {
    let limit = format!("{}KiB", bytes / 1024);
    let flags = [
        &["--data", "data", "--epochs", "2", "--memory-limit", &limit],
        more,
    ];
    sandbox.train(&super::small(&flags.concat()))
}

#[test]
fn a_run_in_less_memory_finishes_and_policies_keep_every_bit() {
    // With smaller images, weights and optimizer state would make up most of the peak.
    const LARGE: [&str; 2] = ["--img-size", "128x128"];
    let sandbox = Sandbox::with_pages();
    let Some(peak) = unlimited(&sandbox, &LARGE) else {
        return;
    };
    for (share, is_bit_exact) in SHARES {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a peak"
        )]
        let limit = (peak as f64 * share) as u64;
        let dir = format!("limited-{share}");
        let more = [&LARGE[..], &["--run-dir", &dir]].concat();
        let run = limited(&sandbox, limit, &more).ok();
        assert!(
            run.stderr
                .contains("advisor: grad_checkpoint_policy off -> "),
            "{}",
            run.stderr
        );
        let summary = sandbox.json(&format!("{dir}/summary.json"));
        let taken = summary["memory"]["peak_allocated_bytes"].as_u64().unwrap();
        assert!(taken <= limit, "{taken} of {limit}");
        let of_config = |key: &str| summary["config"][key].as_u64().unwrap();
        assert_eq!(of_config("batch") * of_config("accumulation"), 4);
        let changed = summary["fallbacks"].as_array().unwrap();
        assert!(changed.iter().all(|change| change["step"] == 0));
        let weights = |dir: &str| sandbox.read(&format!("{dir}/last/weights.safetensors"));
        if is_bit_exact {
            assert_eq!(changed.len(), 1, "{changed:?}");
            assert_eq!(weights("free"), weights(&dir), "at {share} of the peak");
        } else {
            assert!(changed.len() > 1, "{changed:?}");
            assert!(summary["validation"]["best_iou"].as_f64().is_some());
        }
        let events = sandbox.rows(&format!("{dir}/events.jsonl"));
        assert!(events.iter().any(|event| event["event"] == "changed"));
    }
}

#[test]
fn a_run_that_does_not_fit_is_refused_or_forced() {
    let sandbox = Sandbox::with_pages();
    let Some(peak) = unlimited(&sandbox, &[]) else {
        return;
    };
    let before = sandbox.tree();
    let strict = limited(&sandbox, peak * 3 / 5, &["--run-dir", "strict", "--strict"]);
    assert_eq!(strict.code, Some(3), "{strict:?}");
    assert!(
        strict
            .complaint()
            .contains("without `--strict` it would run with `--"),
        "{strict:?}"
    );
    let nothing = limited(&sandbox, 1 << 20, &["--run-dir", "nothing"]);
    assert_eq!(nothing.code, Some(3), "{nothing:?}");
    assert!(
        nothing.complaint().contains("reduce `--width`"),
        "{nothing:?}"
    );
    assert_eq!(before, sandbox.tree());

    // The run starts unchanged. When it runs out of memory, the ladder takes over.
    let forced = limited(&sandbox, peak * 3 / 5, &["--run-dir", "forced", "--force"]).ok();
    for words in [
        "run anyway (`--force`)",
        "step 1: out of memory; step failed -> step retried",
        "step 1: out of memory; checkpointing off -> checkpointing mixed",
        "every bit stays as it would have been",
    ] {
        assert!(forced.stderr.contains(words), "{words}: {forced:?}");
    }
    let weights = |dir: &str| sandbox.read(&format!("{dir}/last/weights.safetensors"));
    assert_eq!(weights("free"), weights("forced"));
    let fallbacks = &sandbox.json("forced/summary.json")["fallbacks"];
    assert_eq!(fallbacks.as_array().unwrap().len(), 2, "{fallbacks}");
}

#[test]
fn the_policy_is_chosen_if_it_is_left_open() {
    let sandbox = Sandbox::with_pages();
    let Some(peak) = unlimited(&sandbox, &[]) else {
        return;
    };
    let policy = |dir: &str| {
        sandbox.json(&format!("{dir}/summary.json"))["config"]["grad_checkpoint_policy"].clone()
    };
    let auto = ["--grad-checkpoint", "auto", "--run-dir", "auto"];
    limited(&sandbox, peak / 2, &auto).ok();
    assert_eq!(policy("auto"), "mixed");
    let roomy = ["--grad-checkpoint", "auto", "--run-dir", "roomy"];
    limited(&sandbox, 2 * peak, &roomy).ok();
    assert_eq!(policy("roomy"), Value::Null);
    let block = ["--grad-checkpoint", "block", "--auto", "--run-dir", "block"];
    let run = limited(&sandbox, 2 * peak, &block).ok();
    assert_eq!(policy("block"), Value::Null, "{run:?}");
    // Only a hint; the recipe is unchanged.
    let block = ["--grad-checkpoint", "block", "--run-dir", "slow"];
    let run = limited(&sandbox, 2 * peak, &block).ok();
    assert!(run.stderr.contains("(`--auto` takes it)"), "{run:?}");
    assert_eq!(policy("slow"), "block");
}
