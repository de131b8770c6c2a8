//! A run that was stopped and resumed equals an uninterrupted one, bit for bit (fp32 on the CPU).

use serde_json::Value;

use super::running::Running;
use super::{Run, Sandbox, small};

const WEIGHTS: [&str; 2] = ["best.safetensors", "last/weights.safetensors"];

/// An interval so short that a snapshot is written after every step.
pub(super) const EVERY_STEP: [&str; 2] = ["--snapshot-minutes", "0.0000001"];

/// Keys of a line in `metrics.jsonl` that do not depend on time.
const LEARNT: &[&str] = &[
    "epoch",
    "steps",
    "lr",
    "train_loss",
    "val_loss",
    "val_iou",
    "val_dice",
    "best_threshold",
    "per_class",
    "scale",
];

/// The part of the metrics that must be equal.
pub(super) fn learnt(sandbox: &Sandbox, run: &str) -> Vec<Vec<Value>> {
    let rows = sandbox.rows(&format!("{run}/metrics.jsonl"));
    rows.iter()
        .map(|row| LEARNT.iter().map(|key| row[key].clone()).collect())
        .collect()
}

/// Checks that two runs have the same weights, losses and summary. Weights are compared by their
/// bytes, and numbers by their digits, which are the shortest text for each float.
pub(super) fn assert_same(sandbox: &Sandbox, a: &str, b: &str) {
    for file in WEIGHTS {
        let [x, y] = [a, b].map(|run| sandbox.read(&format!("{run}/{file}")));
        assert!(x.len() > 100_000, "only {} bytes were compared", x.len());
        assert!(x == y, "{b}/{file} differs");
    }
    let (x, y) = (learnt(sandbox, a), learnt(sandbox, b));
    assert!(x.len() > 1);
    assert_eq!(x, y, "{b}/metrics.jsonl");
    let [x, y] = [a, b].map(|run| sandbox.json(&format!("{run}/summary.json")));
    for key in ["status", "epochs", "steps", "validation", "config", "error"] {
        assert_eq!(x[key], y[key], "{key} of {b}");
    }
    // Neither writing nor reading snapshots took more memory than a step.
    let peak = "/memory/peak_allocated_bytes";
    assert_eq!(x.pointer(peak), y.pointer(peak), "{peak} of {b}");
}

impl Sandbox {
    /// A run in `dir` that is killed at a fault point.
    pub(super) fn dies(&self, point: &str, flags: &[&str], dir: &str) {
        let flags = small(&[&["--data", "data", "--run-dir", dir], flags].concat());
        let run = Run::of(self.command().args(flags).env("SNUG_FAULT", point));
        assert_eq!(run.code, None, "{point}: {run:?}");
    }

    /// Resumes the run in `dir`, which needs only its name.
    pub(super) fn resume(&self, dir: &str) -> Run {
        self.train(&["fit", "--device", "cpu", "--resume", dir])
            .ok()
    }
}

#[test]
fn a_run_resumes_in_the_middle_of_an_epoch() {
    let sandbox = Sandbox::with_pages();
    // 8 pages make batches of 3, 3 and 2: the first two are one step, the last is another.
    let shapes: [&[&str]; 5] = [
        &["--batch", "2", "--epochs", "3"],
        &["--batch", "3", "--accumulation", "2", "--epochs", "3"],
        &["--batch", "2", "--epochs", "3", "--max-steps", "7"],
        // The first steps overflow, so that the scaler's state changes.
        &["--batch", "2", "--epochs", "2", "--amp", "fp16"],
        &[
            "--batch",
            "2",
            "--epochs",
            "2",
            "--grad-checkpoint",
            "selective",
            "--channels-last",
            "off",
            "--amp",
            "bf16",
        ],
    ];
    for (i, shape) in shapes.iter().enumerate() {
        let whole = format!("whole-{i}");
        sandbox.fit(&[shape, &["--run-dir", whole.as_str()][..]].concat());
        for nth in [1, 4, 5] {
            let dir = format!("cut-{i}-{nth}");
            let flags = [shape, &EVERY_STEP[..]].concat();
            sandbox.dies(&format!("snapshot:done@{nth}"), &flags, &dir);
            let run = sandbox.resume(&dir);
            assert!(
                run.stderr.contains(&format!("resume: `{dir}`, step ")),
                "{run:?}"
            );
            if (i, nth) == (0, 4) {
                // Of the first epoch only the validation was left, which has no speed.
                let epochs: Vec<_> = run
                    .stderr
                    .lines()
                    .filter(|it| it.starts_with("epoch "))
                    .collect();
                let speeds: Vec<_> = epochs.iter().map(|it| it.contains(" img/s")).collect();
                assert_eq!(speeds, [false, true, true], "{run:?}");
            }
            assert_same(&sandbox, &whole, &dir);
            let events = sandbox.rows(&format!("{dir}/events.jsonl"));
            let events: Vec<_> = events
                .iter()
                .map(|e| e["event"].as_str().unwrap())
                // What limited a run is only said if it took a while.
                .filter(|event| !["amp-check", "limit"].contains(event))
                .collect();
            assert_eq!(events, ["started", "resumed", "finished"]);
        }
        // The comparison can fail.
        let other = format!("other-{i}");
        sandbox.fit(&[shape, &["--seed", "5", "--run-dir", other.as_str()][..]].concat());
        assert_ne!(learnt(&sandbox, &whole), learnt(&sandbox, &other));
    }
}

#[test]
fn a_run_that_is_stopped_again_and_again_ends_as_if_it_never_was() {
    let sandbox = Sandbox::with_pages();
    let flags = ["--batch", "2", "--epochs", "30", "--patience", "0"];
    sandbox.fit(&[&flags[..], &["--run-dir", "whole"]].concat());
    let args = [
        &flags[..],
        &["--run-dir", "run", "--resume", "auto", "--data", "data"],
    ]
    .concat();
    let mut stopped = 0;
    loop {
        let mut run = Running::start(&sandbox, &args);
        // Each process trains some epochs.
        while run.text.matches("\nepoch ").count() < 4 && run.read_line() {}
        // The run may have ended by itself.
        let _sent = run.signal(if stopped % 2 == 0 { "-INT" } else { "-TERM" });
        match run.end() {
            Some(130) => stopped += 1,
            Some(0) => break,
            code => panic!("{code:?}: {}", run.text),
        }
        assert!(stopped < 30, "it makes no progress");
    }
    println!("stopped {stopped} times");
    assert!(stopped >= 2);
    assert_same(&sandbox, "whole", "run");
}

#[test]
fn early_stopping_and_the_end_are_remembered() {
    let sandbox = Sandbox::with_pages();
    // The learning rate is too small to learn anything: only BatchNorm's statistics change.
    let flags = ["--lr", "1e-30", "--epochs", "40", "--patience", "3"];
    sandbox.fit(&[&flags[..], &["--run-dir", "whole"]].concat());
    let epochs = sandbox.json("whole/summary.json")["epochs"]
        .as_u64()
        .unwrap();
    for nth in [epochs - 2, epochs] {
        let dir = format!("cut-{nth}");
        sandbox.dies(&format!("epoch:logged@{nth}"), &flags, &dir);
        sandbox.resume(&dir);
        assert_same(&sandbox, "whole", &dir);
    }
    // A finished run stays unchanged.
    let before = sandbox.tree();
    let run = sandbox.resume("whole");
    assert!(run.stderr.contains("nothing is left to do"), "{run:?}");
    assert!(sandbox.tree() == before);
}

#[test]
fn a_finished_run_can_be_extended() {
    let sandbox = Sandbox::with_pages();
    let flags = ["--epochs", "3", "--batch", "2"];
    sandbox.fit(&[&flags[..], &["--run-dir", "whole", "--max-steps", "11"]].concat());
    let run = sandbox.fit(&[&flags[..], &["--run-dir", "run", "--max-steps", "6"]].concat());
    assert!(run.stderr.contains("  ETA 0s"), "{run:?}");
    let again = sandbox.resume("run");
    let how = "resume: the run has done 6 steps, and `--max-steps` wants no more; a higher one continues it";
    assert!(again.stderr.contains(how), "{again:?}");
    let more = [
        "fit",
        "--device",
        "cpu",
        "--resume",
        "run",
        "--max-steps",
        "11",
    ];
    let run = sandbox.train(&more).ok();
    assert!(
        run.stderr.contains("changed: `max_steps` 6 -> 11"),
        "{run:?}"
    );
    // The interrupted epoch continues: it is validated once more, and no image is left out.
    let last = "last/weights.safetensors";
    assert!(sandbox.read(&format!("whole/{last}")) == sandbox.read(&format!("run/{last}")));
    let (whole, run) = (learnt(&sandbox, "whole"), learnt(&sandbox, "run"));
    assert_eq!(whole.len() + 1, run.len());
    assert_eq!(whole[1..], run[2..]);
    // With more epochs the cosine schedule changes, and a note says so.
    let run = sandbox
        .train(&[
            "fit",
            "--device",
            "cpu",
            "--resume",
            "run",
            "--epochs",
            "5",
            "--max-steps",
            "18",
        ])
        .ok();
    assert!(run.stderr.contains("`epochs` 3 -> 5"), "{run:?}");
    assert_eq!(sandbox.json("run/summary.json")["steps"], 18);
}

#[test]
fn built_in_pages_and_the_scaled_preset_resume_with_the_same_command() {
    let sandbox = Sandbox::empty();
    let flags = [
        "--preset",
        "best-balance",
        "--img-size",
        "64x64",
        "--width",
        "4",
    ];
    let flags = [
        &flags[..],
        &["--device", "cpu", "--max-steps", "5", "--amp", "off"],
    ]
    .concat();
    sandbox
        .train(&[&["fit", "--run-dir", "whole"], &flags[..]].concat())
        .ok();
    let args = [&["fit", "--resume", "auto"], &flags[..], &EVERY_STEP].concat();
    let run = Run::of(
        sandbox
            .command()
            .args(&args)
            .env("SNUG_FAULT", "snapshot:done@3"),
    );
    assert_eq!(run.code, None, "{run:?}");
    let run = sandbox.train(&args).ok();
    assert!(
        run.stderr.contains("resume: `runs/balloons-001`, step 3"),
        "{run:?}"
    );
    let [a, b] = ["whole", "runs/balloons-001"]
        .map(|run| sandbox.read(&format!("{run}/last/weights.safetensors")));
    assert!(a == b);
}
