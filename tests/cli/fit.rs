//! What a run writes, and the flags that change its course.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Sandbox;

/// The type of a key's value.
type Check = fn(&Value) -> bool;

/// Pointers into `summary.json`, with the types on which other programs may rely.
const SUMMARY: &[(&str, Check)] = &[
    ("/schema_version", Value::is_u64),
    ("/status", Value::is_string),
    ("/device/kind", Value::is_string),
    ("/device/name", Value::is_string),
    ("/device/total_bytes", Value::is_u64),
    ("/config/img_size", Value::is_array),
    ("/config/batch", Value::is_u64),
    ("/config/lr", Value::is_f64),
    ("/config/use_amp", Value::is_boolean),
    ("/config/use_grad_checkpoint", Value::is_boolean),
    ("/config/use_channels_last", Value::is_boolean),
    ("/epochs", Value::is_u64),
    ("/steps", Value::is_u64),
    ("/throughput/images_per_second", Value::is_f64),
    ("/throughput/step_ms_median", Value::is_f64),
    // `null` if the kernels are not known.
    ("/memory/predicted_peak_bytes", |v| {
        v.is_null() || v.is_u64()
    }),
    ("/fallbacks", Value::is_array),
    ("/memory/peak_allocated_bytes", Value::is_u64),
    // `null` on the CPU, whose allocator reserves nothing.
    ("/memory/peak_reserved_bytes", Value::is_null),
    ("/validation/best_iou", Value::is_f64),
    ("/validation/best_dice", Value::is_f64),
    ("/validation/best_threshold", Value::is_f64),
    ("/validation/best_epoch", Value::is_u64),
    ("/artifacts/config", Value::is_string),
    ("/artifacts/best", Value::is_string),
    ("/artifacts/last", Value::is_string),
    ("/artifacts/metrics", Value::is_string),
    ("/artifacts/events", Value::is_string),
    ("/artifacts/samples", Value::is_string),
    ("/artifacts/model", Value::is_null),
];

#[test]
fn a_run_writes_its_files_and_evaluate_reproduces_its_score() {
    let sandbox = Sandbox::with_pages();
    let run = sandbox.fit(&["--epochs", "3"]);
    assert!(
        run.stdout.contains("memory optimisation settings"),
        "{}",
        run.stdout
    );
    assert!(
        run.stderr.contains("results: runs/data-001"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("epoch 3/3"), "{}", run.stderr);

    let summary = sandbox.json("runs/data-001/summary.json");
    for (pointer, right) in SUMMARY {
        let value = summary
            .pointer(pointer)
            .unwrap_or_else(|| panic!("no {pointer}"));
        assert!(right(value), "{pointer} is {value}");
    }
    assert_eq!(summary["status"], "completed");
    assert_eq!(
        (&summary["epochs"], &summary["steps"]),
        (&3.into(), &6.into())
    );
    let artifacts = summary["artifacts"].as_object().unwrap();
    for path in artifacts.values().filter_map(Value::as_str) {
        let path = format!("runs/data-001/{path}");
        assert!(sandbox.path(&path).exists(), "{path}");
        assert!(
            run.stdout.contains(&path),
            "{path} is not named in {}",
            run.stdout
        );
    }
    assert_eq!(
        fs::read_dir(sandbox.path("runs/data-001/samples"))
            .unwrap()
            .count(),
        4
    );

    let metrics = sandbox.rows("runs/data-001/metrics.jsonl");
    assert_eq!(metrics.len(), 3);
    for (row, epoch) in metrics.iter().zip(1..) {
        assert_eq!(
            (&row["epoch"], &row["steps"]),
            (&epoch.into(), &(2 * epoch).into())
        );
        for key in ["lr", "train_loss", "val_loss", "val_iou", "val_dice"] {
            assert!(row[key].is_f64(), "{key} is {}", row[key]);
        }
    }
    let best = metrics
        .iter()
        .filter_map(|row| row["val_iou"].as_f64())
        .fold(0.0, f64::max);
    assert_eq!(summary["validation"]["best_iou"], best);
    let events = sandbox.rows("runs/data-001/events.jsonl");
    assert_eq!(events.first().unwrap()["event"], "started");
    // What limited the run comes after its end, if anything did.
    let finished = events.iter().rfind(|it| it["event"] == "finished");
    assert_eq!(finished.unwrap()["status"], "completed");

    // The saved weights give the same scores to the last bit.
    let weights = [
        "--weights",
        "runs/data-001/best.safetensors",
        "--data",
        "data",
    ];
    let run = sandbox
        .train(&[&["evaluate", "--json", "--device", "cpu"], &weights[..]].concat())
        .ok();
    let scores: Value = serde_json::from_str(&run.stdout).unwrap();
    let validation = &summary["validation"];
    assert_eq!(scores["iou"], validation["best_iou"]);
    assert_eq!(scores["dice"], validation["best_dice"]);
    assert_eq!(
        scores["best_threshold"]["threshold"],
        validation["best_threshold"]
    );
    assert_eq!(scores["num_images"], 4);
    let run = sandbox
        .train(&[&["evaluate", "--split", "test"], &weights[..]].concat())
        .ok();
    assert!(
        run.stdout.starts_with("2 images at 64x64, fp32: IoU "),
        "{}",
        run.stdout
    );

    // The next run takes the next number.
    let run = sandbox.fit(&["--max-steps", "1"]);
    assert!(
        run.stderr.contains("results: runs/data-002"),
        "{}",
        run.stderr
    );
}

#[test]
fn max_steps_ends_a_run() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--epochs", "9", "--max-steps", "3", "--run-dir", "run"]);
    let summary = sandbox.json("run/summary.json");
    assert_eq!(summary["status"], "completed");
    assert_eq!(
        (&summary["epochs"], &summary["steps"]),
        (&2.into(), &3.into())
    );
}

#[test]
fn accumulation_makes_one_step_of_several_batches() {
    let sandbox = Sandbox::with_pages();
    // 8 pages make batches of 3, 3 and 2; the last one is a step of its own.
    sandbox.fit(&[
        "--batch",
        "3",
        "--accumulation",
        "2",
        "--epochs",
        "2",
        "--run-dir",
        "run",
    ]);
    assert_eq!(sandbox.json("run/summary.json")["steps"], 4);
}

#[test]
fn models_are_numbered() {
    let sandbox = Sandbox::with_pages();
    for number in ["01", "02"] {
        let flags = [
            "--max-steps",
            "1",
            "--models-dir",
            "models",
            "--dataset",
            "manga",
        ];
        let run = sandbox.fit(&flags);
        let model = format!("models/manga-unet-{number}.safetensors");
        assert!(run.stdout.contains(&model), "{}", run.stdout);
        let best = format!("runs/manga-0{number}/best.safetensors");
        assert!(sandbox.read(&model) == sandbox.read(&best));
        let summary = sandbox.json(&format!("runs/manga-0{number}/summary.json"));
        let path = Path::new(summary["artifacts"]["model"].as_str().unwrap());
        assert!(path.is_absolute() && path.ends_with(&model), "{path:?}");
    }
}

#[test]
fn early_stopping_is_a_status() {
    let sandbox = Sandbox::with_pages();
    // The learning rate is too small to learn: only BatchNorm's statistics change.
    let flags = ["--lr", "1e-30", "--epochs", "40", "--patience", "2"];
    sandbox.fit(&[&flags[..], &["--run-dir", "run"]].concat());
    let summary = sandbox.json("run/summary.json");
    let best = summary["validation"]["best_epoch"].as_u64().unwrap();
    assert_eq!(summary["status"], "early-stopped");
    assert_eq!(summary["epochs"], best + 2);
}

#[test]
fn a_diverging_run_fails_and_keeps_its_results() {
    let sandbox = Sandbox::with_pages();
    let flags = [
        "--data",
        "data",
        "--lr",
        "1e30",
        "--epochs",
        "9",
        "--run-dir",
        "run",
    ];
    let run = sandbox.train(&super::small(&flags));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.complaint()
            .starts_with("error: the loss is not finite after step "),
        "{run:?}"
    );
    // It may be the first epoch.
    let hint = run.complaint().split("\nhint: lower `--lr`").nth(1);
    assert!(hint.is_some_and(|it| it.contains(" if ")), "{run:?}");
    let summary = sandbox.json("run/summary.json");
    assert_eq!(summary["status"], "failed");
    assert!(summary["error"].is_string(), "{summary}");
}

/// For notebooks and schedulers: stdout is JSON alone, with the rows of the run's files.
#[test]
fn lines_of_json_say_what_happens() {
    let sandbox = Sandbox::with_pages();
    let flags = [
        "--data",
        "data",
        "--epochs",
        "2",
        "--run-dir",
        "run",
        "--json-lines",
    ];
    let run = sandbox.fit(&flags);
    let lines = run
        .stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap());
    let lines: Vec<Value> = lines.collect();
    assert_eq!(lines.first().unwrap()["event"], "started");
    assert_eq!(lines.last().unwrap()["event"], "finished");
    assert_eq!(lines.last().unwrap()["status"], "completed");
    let metrics = sandbox.rows("run/metrics.jsonl");
    assert_eq!(metrics.len(), 2);
    let epochs = lines.iter().filter(|it| it["event"] == "epoch");
    for (line, row) in epochs.zip(&metrics) {
        let mut line = line.clone();
        line.as_object_mut().unwrap().remove("event");
        assert_eq!(line, *row);
    }
    // The settings and the report are for people.
    assert!(run.stderr.contains("done: 2 epoch(s)"), "{}", run.stderr);
    let plain = sandbox.fit(&["--data", "data", "--epochs", "1", "--run-dir", "plain"]);
    assert!(
        plain.stdout.contains("done: 1 epoch(s)"),
        "{}",
        plain.stdout
    );
}

/// TensorBoard's own reader has read such a file; here its parts are there, and a resumed run begins another one.
#[test]
fn tensorboard_gets_an_event_file() {
    let sandbox = Sandbox::with_pages();
    let files = || {
        let all = fs::read_dir(sandbox.path("run")).unwrap().flatten();
        let names = all.filter(|it| {
            it.file_name()
                .to_string_lossy()
                .starts_with("events.out.tfevents.")
        });
        let bytes = names.map(|it| fs::read(it.path()).unwrap());
        bytes
            .map(|it| String::from_utf8_lossy(&it).into_owned())
            .collect::<Vec<_>>()
    };
    let flags = [
        "--data",
        "data",
        "--epochs",
        "2",
        "--run-dir",
        "run",
        "--tensorboard",
    ];
    sandbox.fit(&[&flags[..], &["--max-steps", "3"]].concat());
    let [first] = &files()[..] else {
        panic!("one file");
    };
    for part in [
        "brain.Event:2",
        "hparams",
        "weight_decay",
        "loss/train",
        "validation/IoU",
        "pr_curves",
        "samples/",
    ] {
        assert!(first.contains(part), "{part}");
    }
    sandbox.fit(&[&flags[..], &["--resume", "auto", "--max-steps", "4"]].concat());
    assert_eq!(files().len(), 2);
    sandbox.fit(&["--data", "data", "--epochs", "1", "--run-dir", "plain"]);
    let plain = fs::read_dir(sandbox.path("plain")).unwrap().flatten();
    assert!(
        plain
            .map(|it| it.file_name())
            .all(|it| !it.to_string_lossy().contains("tfevents"))
    );
}
