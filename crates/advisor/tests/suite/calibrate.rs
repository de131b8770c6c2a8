//! Tests `advisor calibrate`, and how `advisor suggest` uses its rates and the ledger.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const MEASURED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/measurements/2026-11-25-amd-epyc-bench.json"
);

/// Runs the program in a separate folder, which also holds the ledger.
fn advisor(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(arguments)
        .current_dir(dir)
        .env("SNUG_LEDGER", "ledger.jsonl")
        .env_remove("SNUG_CALIBRATION")
        .env_remove("CUDA_VISIBLE_DEVICES")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Writes steps of an RTX 3060 that are about half as fast as Snug's defaults say.
fn benchmark(dir: &Path) {
    let row = |policy: &str, precision: &str, ms: f64| {
        json!({
            "implementation": "snug", "img_size": [512, 512], "width": 64, "batch": 8,
            "precision": precision, "memory_format": "channels-last", "policy": policy,
            "split_concat": false, "status": "ok", "step_ms_median": ms,
            "peak_allocated_bytes": null,
        })
    };
    let rows = [
        row("off", "fp16", 1400.0),
        row("selective", "fp16", 1480.0),
        row("block", "fp16", 1850.0),
        row("stage", "fp16", 1840.0),
    ];
    let value = json!({
        "schema_version": 1, "date": "2026-01-02", "rows": rows,
        "device": {
            "kind": "cuda", "name": "NVIDIA GeForce RTX 3060", "cpu_capability": "AVX2",
            "threads": 8,
        },
    });
    fs::write(dir.join("results.json"), value.to_string()).unwrap();
}

#[test]
fn of_measured_steps() {
    let dir = tempfile::tempdir().unwrap();
    let text = said(&advisor(dir.path(), &["calibrate", MEASURED]));
    insta::assert_snapshot!("calibrate", text);
    let json = said(&advisor(dir.path(), &["calibrate", MEASURED, "--json"]));
    let value: Value = serde_json::from_str(&json).unwrap();
    for group in value["groups"].as_array().unwrap() {
        let spread = |when: &str| group[when]["spread"].as_f64().unwrap();
        assert!(spread("after") < spread("before"));
    }
    // Without `--write`, nothing is saved.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_suggestion_is_calibrated_where_the_card_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    benchmark(dir.path());
    let suggest = |gpu: &str| said(&advisor(dir.path(), &["suggest", "--gpu", gpu]));
    let before = suggest("RTX 3060");
    let output = advisor(dir.path(), &["calibrate", "results.json", "--write"]);
    insta::assert_snapshot!("calibrate_card", said(&output));
    assert_eq!(stderr(&output), "ledger: `ledger.jsonl`\n");
    let after = suggest("RTX 3060");
    let note = "note: times calibrated from 4 measurements (fp16 channels-last)\n";
    assert!(
        after.contains(note) && !before.contains("calibrated"),
        "{after}"
    );
    insta::assert_snapshot!("suggest_calibrated", after);
    assert!(!suggest("RTX 4090").contains("calibrated"));
    let json = said(&advisor(
        dir.path(),
        &["suggest", "--gpu", "RTX 3060", "--json"],
    ));
    assert!(json.contains("times calibrated from 4 measurements"));
    // Adding the same rates twice changes nothing.
    let first = fs::read_to_string(dir.path().join("ledger.jsonl")).unwrap();
    advisor(dir.path(), &["calibrate", "results.json", "--write"]);
    let second = fs::read_to_string(dir.path().join("ledger.jsonl")).unwrap();
    assert_eq!((first.lines().count(), &first), (1, &second));
    let ledger = said(&advisor(dir.path(), &["ledger"]));
    insta::assert_snapshot!("calibrate_ledger", ledger);
    let json = said(&advisor(dir.path(), &["ledger", "--json"]));
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["calibrations"][0]["source"], "bench");
}

/// Earlier versions kept the rates in a separate file, named by a separate variable.
#[test]
fn an_earlier_calibration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("calibration.json"), "{}").unwrap();
    let suggest = ["suggest", "--gpu", "RTX 3060"];
    let said = stderr(&advisor(dir.path(), &suggest));
    let instead =
        "is no longer read: `advisor calibrate FILE... --write` adds the rates to the ledger";
    assert_eq!(
        said,
        format!("note: `calibration.json` {instead}; then remove it\n")
    );
    let output = Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(suggest)
        .env("SNUG_LEDGER", "off")
        .env("SNUG_CALIBRATION", "rates.json")
        .output()
        .unwrap();
    assert_eq!(
        stderr(&output),
        format!("note: `SNUG_CALIBRATION` {instead}\n")
    );
}

#[test]
fn a_suggestion_is_corrected_by_runs() {
    let dir = tempfile::tempdir().unwrap();
    let line = json!({
        "schema_version": 1, "date": "2026-01-02T03:04:05Z",
        "device": {
            "kind": "cuda", "name": "NVIDIA GeForce RTX 3060", "total_bytes": null,
            "instruction_set": null, "threads": null,
        },
        "libtorch": "2.11.0",
        "shape": {
            "img_size": [512, 512], "width": 64, "classes": 1, "batch": 8, "accumulation": 1,
            "precision": "fp16", "memory_format": "channels-last", "policy": "off",
            "plan": null, "split_concat": false,
            "largest_batch": { "train": 8, "validation": 8 },
        },
        "predicted": {
            "allocated_bytes": 6_u64 << 30, "reserved_bytes": 7_u64 << 30,
            "total_bytes": 8_u64 << 30, "images_per_second": 12.0,
        },
        "measured": {
            "allocated_bytes": 6_u64 << 30, "reserved_bytes": 7_u64 << 30,
            "total_bytes": 9_u64 << 30, "images_per_second": 8.0,
        },
        "steps": 40, "status": "completed",
    });
    let suggest = || {
        said(&advisor(
            dir.path(),
            &["suggest", "--gpu", "RTX 3060", "--json"],
        ))
    };
    let figures = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        let predicted = &value["guide"]["recipe"]["predicted"];
        (
            predicted["total_bytes"].as_u64().unwrap(),
            predicted["images_per_second"].as_f64().unwrap(),
        )
    };
    let warning = "no prediction for this GPU has been compared with a measurement yet";
    let text = suggest();
    assert!(text.contains(warning), "{text}");
    let before = figures(&text);
    let ledger = dir.path().join("ledger.jsonl");
    fs::write(&ledger, format!("{line}\n")).unwrap();
    let text = suggest();
    assert!(!text.contains(warning), "{text}");
    assert_eq!(figures(&text), before);
    fs::write(&ledger, format!("{line}\n").repeat(3)).unwrap();
    let text = suggest();
    let note = "corrected by runs on this device: times by 1.50, 1.0 GiB more memory";
    assert!(text.contains(note), "{text}");
    let after = figures(&text);
    assert!((before.1 / after.1 - 1.5).abs() < 1e-6);
    // The allocator gives back what no longer fits.
    assert!(after.0 > before.0 && after.0 <= before.0 + (1 << 30));
}

#[test]
fn broken_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    benchmark(dir.path());
    fs::write(
        dir.path().join("nothing.json"),
        fs::read_to_string(dir.path().join("results.json"))
            .unwrap()
            .replace("\"ok\"", "\"oom\""),
    )
    .unwrap();
    for arguments in [
        &["calibrate"][..],
        &["calibrate", "nowhere.json"],
        &["calibrate", "nothing.json"],
        &["calibrate", "results.json", "--write"],
    ] {
        // The ledger is a folder, which cannot be written to.
        let output = Command::new(env!("CARGO_BIN_EXE_advisor"))
            .args(arguments)
            .current_dir(dir.path())
            .env("SNUG_LEDGER", ".")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        text.push_str(&stderr(&output));
    }
    insta::assert_snapshot!("calibrate_refusals", text);
}
