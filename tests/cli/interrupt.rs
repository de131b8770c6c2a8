//! Signals: a run that is told to stop saves its state.

use train::run::snapshot::Snapshot;
use train::run::weights::WeightsFile;

use super::running::Running;
use super::{LEDGER, Sandbox};

#[test]
fn a_signal_ends_a_run_with_its_weights_saved() {
    for signal in ["-INT", "-TERM"] {
        let sandbox = Sandbox::with_pages();
        let mut run = Running::endless(&sandbox);
        run.wait_for("epoch      1/");
        assert!(run.signal(signal));
        let code = run.end();
        let text = &run.text;
        assert_eq!(code, Some(130), "{signal}: {text}");
        assert!(text.contains("error: interrupted at step "), "{text}");
        assert!(text.contains("hint: "), "{text}");
        assert!(text.contains("run/last/weights.safetensors"), "{text}");

        let summary = sandbox.json("run/summary.json");
        assert_eq!(summary["status"], "interrupted");
        assert!(summary["steps"].as_u64().unwrap() >= 2, "{summary}");
        let last = format!("run/{}", summary["artifacts"]["last"].as_str().unwrap());
        let network = WeightsFile::open(&sandbox.path(&last))
            .unwrap()
            .network()
            .unwrap();
        assert_eq!((network.width, network.classes), (4, 1));
        let events = sandbox.rows("run/events.jsonl");
        assert_eq!(events.last().unwrap()["status"], "interrupted");

        let ledger = sandbox.rows(LEDGER);
        assert_eq!(ledger.last().unwrap()["status"], "interrupted");

        let hint = "hint: the same command with `--resume auto`";
        assert!(text.contains(hint), "{text}");
        let snapshot = Snapshot::open(&sandbox.path("run/last/snapshot.safetensors")).unwrap();
        let position = snapshot.state().trainer.position;
        assert_eq!(summary["steps"], position.steps);

        // The weights can be used for a warm start.
        sandbox.fit(&["--max-steps", "1", "--resume", &last, "--run-dir", "next"]);
    }
}

#[test]
fn a_run_that_is_stopped_before_its_first_step_leaves_no_folder() {
    let sandbox = Sandbox::with_pages();
    // Several slow steps are timed before the first one counts.
    let flags = ["--data", "data", "--epochs", "100000", "--run-dir", "run"];
    let slow = [
        "--grad-checkpoint",
        "selective",
        "--tensorboard",
        "--batch",
        "2",
    ];
    let large = ["--width", "32", "--img-size", "256x256"];
    let mut run = Running::start(&sandbox, &[&flags[..], &slow, &large].concat());
    run.wait_for("timing steps");
    assert!(run.signal("-INT"));
    assert_eq!(run.end(), Some(130), "{}", run.text);
    assert!(
        run.text
            .contains("nothing was trained, so `run` was removed"),
        "{}",
        run.text
    );
    assert!(
        run.text.contains("error: interrupted at step 0"),
        "{}",
        run.text
    );
    assert!(!sandbox.path("run").exists());
}

#[test]
fn a_signal_asks_for_a_snapshot_and_the_run_goes_on() {
    let sandbox = Sandbox::with_pages();
    let flags = ["--data", "data", "--epochs", "1", "--run-dir", "run"];
    let flags = [
        &flags[..],
        &["--batch", "1", "--width", "16", "--img-size", "256x256"],
    ]
    .concat();
    let mut run = Running::start(&sandbox, &flags);
    // The first epoch has not ended: only the signal asks.
    run.wait_for("results: ");
    assert!(run.signal("-USR1"));
    run.wait_for("snapshot: step ");
    assert_eq!(run.end(), Some(0), "{}", run.text);
    assert!(sandbox.path("run/last/snapshot.safetensors").exists());
}
