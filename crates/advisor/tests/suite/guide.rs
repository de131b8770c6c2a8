//! Tests `advisor guide`: its text, its JSON, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn guide(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .arg("guide")
        .args(arguments)
        .env_remove("CUDA_VISIBLE_DEVICES")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn row(batch: u32, precision: &str, format: &str, policy: &str, (ms, mib): (f64, u64)) -> Value {
    json!({
        "group": "guide", "implementation": "snug", "img_size": [512, 512], "width": 64,
        "batch": batch, "precision": precision, "memory_format": format, "policy": policy,
        "split_concat": false, "status": "ok", "message": null, "step_ms_median": ms,
        "peak_allocated_bytes": mib << 20,
    })
}

fn benchmark(dir: &Path, rows: &[Value]) -> String {
    let path = dir.join("results.json");
    let value = json!({
        "schema_version": 1,
        "device": {
            "kind": "cuda", "name": "Some Card", "total_bytes": null, "driver": null,
            "cpu_capability": "AVX2", "threads": 8,
        },
        "libtorch": "2.11.0", "date": "2026-01-02", "command": "train bench", "rows": rows,
    });
    fs::write(&path, value.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn beside_predictions() {
    insta::assert_snapshot!("guide", said(&guide(&[])));
    insta::assert_snapshot!("guide_width_16", said(&guide(&["--width", "16"])));
    insta::assert_snapshot!("guide_4_gib", said(&guide(&["--vram", "4GiB"])));
}

#[test]
fn beside_measurements() {
    let dir = tempfile::tempdir().unwrap();
    let file = benchmark(
        dir.path(),
        &[
            row(8, "tf32", "channels-first", "off", (200.0, 12_000)),
            row(8, "fp16", "channels-first", "off", (125.0, 6500)),
            row(8, "fp16", "channels-last", "block", (130.0, 4300)),
            // This row measures another workload.
            row(2, "fp32", "channels-first", "off", (50.0, 4000)),
        ],
    );
    let text = said(&guide(&["--measured", &file])).replace(&file, "FILE");
    insta::assert_snapshot!("guide_measured", text);
    let none = benchmark(dir.path(), &[]);
    let text = said(&guide(&["--measured", &none]));
    assert!(text.ends_with("note: the file has no row for this workload at this width\n"));
}

#[test]
fn for_programs() {
    let value: Value = serde_json::from_str(&said(&guide(&["--json"]))).unwrap();
    let baseline = &value["rows"][3];
    assert_eq!(baseline["name"], "baseline");
    assert!(baseline["verdict"]["too-low"].as_f64().unwrap() > 4.0);
    insta::assert_snapshot!("guide_json_row", format!("{baseline:#}"));
    insta::assert_snapshot!("guide_json_claim", format!("{:#}", value["claims"][0]));
}

#[test]
fn refusals() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.json");
    fs::write(&broken, "{}").unwrap();
    let broken = broken.to_str().unwrap();
    let later = dir.path().join("later.json");
    let text = fs::read_to_string(benchmark(dir.path(), &[])).unwrap();
    fs::write(
        &later,
        text.replace("\"schema_version\":1", "\"schema_version\":2"),
    )
    .unwrap();
    let later = later.to_str().unwrap();
    let mut text = String::new();
    for arguments in [
        &["--measured", "nowhere.json"][..],
        &["--measured", broken],
        &["--measured", later],
        &["--width", "0"],
        &["--gpu", "RTX 3061"],
    ] {
        let output = guide(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        text.push_str(&String::from_utf8(output.stderr).unwrap());
    }
    let text = text.replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!("guide_refusals", text);
}
