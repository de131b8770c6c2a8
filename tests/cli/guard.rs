//! The memory guard: a run that would fill the machine's memory stops with a snapshot to resume
//! from.

use super::resume::assert_same;
use super::{Run, Sandbox, small};

const FLAGS: [&str; 4] = ["--batch", "2", "--epochs", "2"];
/// Every machine uses more memory than this.
const NO_ROOM: [&str; 4] = ["--guard-ram", "0.000001", "--guard-every", "1"];

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn ram_is_known() -> bool {
    let is_known = machine::ram::read().is_some();
    if !is_known {
        eprintln!("skipped: this system does not say how much memory it has");
    }
    is_known
}

fn fit(sandbox: &Sandbox, more: &[&str]) -> Run {
    sandbox.train(&small(&[&FLAGS[..], &["--data", "data"], more].concat()))
}

#[test]
fn a_full_machine_stops_a_run_which_can_be_resumed() {
    if !ram_is_known() {
        return;
    }
    let sandbox = Sandbox::with_pages();
    fit(&sandbox, &["--run-dir", "whole"]).ok();
    // At the start of the run, and in the middle of it.
    for steps in ["0", "3"] {
        let dir = format!("stopped-{steps}");
        let into = ["--run-dir", &dir, "--resume", "auto"];
        if steps != "0" {
            fit(&sandbox, &[&into[..], &["--max-steps", steps]].concat()).ok();
        }
        let more = ["--max-steps", "8", "--force"];
        let stopped = fit(&sandbox, &[&into[..], &NO_ROOM, &more].concat());
        assert_eq!(stopped.code, Some(4), "{stopped:?}");
        let complaint = stopped.complaint();
        assert!(
            complaint.starts_with("error: emergency stop: the memory of this machine"),
            "{complaint}"
        );
        assert!(complaint.contains("`--resume auto`"), "{complaint}");
        let summary = sandbox.json(&format!("{dir}/summary.json"));
        assert_eq!(summary["status"], "emergency-stop");
        assert_eq!(summary["steps"].to_string(), steps);
        // No rung would have freed enough memory, so the run only waited.
        let fallbacks = summary["fallbacks"].as_array().unwrap();
        assert!(fallbacks.len() <= 1, "{fallbacks:?}");
        assert!(fallbacks.iter().all(|rung| rung["to"] == "step retried"));
        fit(&sandbox, &[&into[..], &["--max-steps", "8"]].concat()).ok();
        let weights = |dir: &str| sandbox.read(&format!("{dir}/last/weights.safetensors"));
        assert_eq!(weights("whole"), weights(&dir), "stopped after {steps}");
    }
    // Without `--max-steps` even the configurations are equal.
    let into = ["--run-dir", "plain", "--resume", "auto"];
    let stopped = fit(&sandbox, &[&into[..], &NO_ROOM, &["--force"]].concat());
    assert_eq!(stopped.code, Some(4), "{stopped:?}");
    fit(&sandbox, &into).ok();
    assert_same(&sandbox, "whole", "plain");
}

#[test]
fn a_run_that_the_guard_would_stop_is_not_started() {
    if !ram_is_known() {
        return;
    }
    let sandbox = Sandbox::with_pages();
    let refused = fit(&sandbox, &NO_ROOM);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    fit(&sandbox, &["--guard-ram", "off", "--run-dir", "off"]).ok();
    let wrong = fit(&sandbox, &["--guard-ram", "90"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.complaint().contains("`90` is neither a share"));
}
