//! Signals: a run that is told to stop saves what it has.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use train::snapshot::Snapshot;
use train::weights::WeightsFile;

use super::{LEDGER, Sandbox, small};

#[test]
fn a_signal_ends_a_run_with_its_weights_saved() {
    for signal in ["-INT", "-TERM"] {
        let sandbox = Sandbox::with_pages();
        let endless = [
            "--data",
            "data",
            "--epochs",
            "100000",
            "--patience",
            "0",
            "--run-dir",
            "run",
        ];
        let mut child = sandbox
            .command()
            .args(small(&endless))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("epoch      1/") {
            assert_ne!(
                stderr.read_line(&mut text).unwrap(),
                0,
                "ended by itself: {text}"
            );
        }
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}: {text}");
        assert!(text.contains("error: interrupted at step "), "{text}");
        assert!(text.contains("hint: "), "{text}");
        assert!(text.contains("run/last/weights.safetensors"), "{text}");

        let summary = sandbox.json("run/summary.json");
        assert_eq!(summary["status"], "interrupted");
        assert!(summary["steps"].as_u64().unwrap() >= 2, "{summary}");
        let last = summary["artifacts"]["last"].as_str().unwrap();
        let network = WeightsFile::open(&sandbox.path(last))
            .unwrap()
            .network()
            .unwrap();
        assert_eq!((network.width, network.classes), (4, 1));
        let events = sandbox.rows("run/events.jsonl");
        assert_eq!(events.last().unwrap()["status"], "interrupted");

        let ledger = sandbox.rows(LEDGER);
        assert_eq!(ledger.last().unwrap()["status"], "interrupted");

        assert!(text.contains("hint: `--resume auto`"), "{text}");
        let snapshot = Snapshot::open(&sandbox.path("run/last/snapshot.safetensors")).unwrap();
        let position = snapshot.state().trainer.position;
        assert_eq!(summary["steps"], position.steps);

        // The weights are good for a warm start.
        sandbox.fit(&["--max-steps", "1", "--resume", last, "--run-dir", "next"]);
    }
}
