//! Tests `advisor ledger`: what it says about runs, an empty ledger and a broken file.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use advisor::ledger::{
    Device, Entry, LargestBatch, LedgerPlace, Measured, Predicted, SCHEMA_VERSION, Shape,
};
use config::RunConfig;

const MIB: u64 = 1 << 20;

fn ledger(file: &str, dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .arg("ledger")
        .args(arguments)
        .current_dir(dir)
        .env("SNUG_LEDGER", file)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn run(device: Device, predicted: Predicted, measured: Measured) -> Entry {
    Entry {
        schema_version: SCHEMA_VERSION,
        date: "2026-01-02T03:04:05Z".to_owned(),
        device,
        libtorch: "2.11.0".to_owned(),
        shape: Shape::of(
            &RunConfig::default(),
            config::Precision::Bf16,
            LargestBatch::of(12, 100, 10),
        ),
        predicted,
        measured,
        steps: 40,
        status: "completed".to_owned(),
    }
}

fn on_cpu(predicted: Option<u64>, measured: u64) -> Entry {
    run(
        Device::cpu("Some CPU", "AVX512", 2),
        Predicted {
            allocated_bytes: predicted,
            ..Predicted::default()
        },
        Measured {
            allocated_bytes: Some(measured),
            images_per_second: Some(3.0),
            ..Measured::default()
        },
    )
}

fn on_gpu(reserved: u64, speed: f64) -> Entry {
    run(
        Device::gpu("NVIDIA GeForce RTX 3060"),
        Predicted {
            allocated_bytes: Some(4000 * MIB),
            reserved_bytes: Some(4500 * MIB),
            total_bytes: Some(5000 * MIB),
            images_per_second: Some(20.0),
        },
        Measured {
            allocated_bytes: Some(4010 * MIB),
            reserved_bytes: Some(reserved * MIB),
            total_bytes: Some((reserved + 450) * MIB),
            images_per_second: Some(speed),
        },
    )
}

#[test]
fn runs_of_two_devices() {
    let dir = tempfile::tempdir().unwrap();
    let place = LedgerPlace::File(dir.path().join("runs.jsonl"));
    for entry in [
        on_cpu(Some(101 * MIB), 100 * MIB),
        on_gpu(4400, 16.0),
        on_cpu(None, 90 * MIB),
        on_gpu(4600, 18.0),
        on_cpu(Some(99 * MIB), 100 * MIB),
        on_gpu(4700, 15.0),
        run(
            Device::gpu("NVIDIA A100"),
            Predicted::default(),
            Measured::default(),
        ),
    ] {
        place.keep(&entry).unwrap();
    }
    let text = said(&ledger("runs.jsonl", dir.path(), &[]));
    insta::assert_snapshot!("ledger", text);
    let json = said(&ledger(
        "runs.jsonl",
        dir.path(),
        &["--json", "--device", "rtx"],
    ));
    insta::assert_snapshot!("ledger_json", json);
    let none = said(&ledger("runs.jsonl", dir.path(), &["--device", "rtx 9"]));
    insta::assert_snapshot!("ledger_other_device", none);
}

#[test]
fn no_ledger_is_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = said(&ledger("none/yet.jsonl", dir.path(), &[]));
    text.push_str(&said(&ledger("off", dir.path(), &[])));
    text.push_str(&said(&ledger("none/yet.jsonl", dir.path(), &["--json"])));
    insta::assert_snapshot!("ledger_none", text);
    assert!(!dir.path().join("none").exists(), "reading makes nothing");
}

#[test]
fn a_broken_ledger() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("runs.jsonl"),
        "\0\0\n{\"schema_version\":9}\n{\"schema",
    )
    .unwrap();
    let text = said(&ledger("runs.jsonl", dir.path(), &[]));
    assert!(
        text.contains("lines left out: 1 of another schema, 2 not understood"),
        "{text}"
    );
    // The ledger is a folder.
    let output = ledger(".", dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: cannot read `.`: "), "{message}");
    assert!(message.contains("\nhint: "), "{message}");
}
