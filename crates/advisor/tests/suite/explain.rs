//! `advisor explain`: what a person reads, the figures, and what is refused.

use std::process::{Command, Output};

const STEP: &[&str] = &[
    "explain",
    "--width",
    "16",
    "--img-size",
    "128x192",
    "--batch",
    "2",
    "--amp",
    "off",
    "--threads",
    "2",
];

fn explain(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn in_words() {
    let output = explain(&[STEP, &["--grad-checkpoint", "selective"]].concat());
    assert!(output.status.success() && output.stderr.is_empty());
    insta::assert_snapshot!("explain", String::from_utf8(output.stdout).unwrap());
}

#[test]
fn figures_agree_with_each_other() {
    let output = explain(&[STEP, &["--json"]].concat());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let peak = value["predicted"]["allocated_bytes"].as_u64().unwrap();
    let parts = value["breakdown"].as_object().unwrap().values();
    assert_eq!(
        parts.filter_map(serde_json::Value::as_u64).sum::<u64>(),
        peak
    );
    let moments = value["timeline"].as_array().unwrap();
    let most = moments.iter().max_by_key(|m| m["allocated_bytes"].as_u64());
    assert_eq!(most.unwrap()["allocated_bytes"].as_u64(), Some(peak));
    for unknown in ["reserved_bytes", "total_bytes", "images_per_second"] {
        assert!(value["predicted"][unknown].is_null());
    }
}

#[test]
fn what_is_not_predicted_is_refused() {
    let mut text = String::new();
    for arguments in [
        &["--amp", "fp16"][..],
        &["--channels-last", "off"],
        &["--grad-checkpoint", "auto"],
        &["--img-size", "8x8"],
        &["--batch", "1099511627776"],
        &["--threads", "4294967295"],
        &["--device", "cuda"],
        &["--config", "nowhere.toml"],
    ] {
        let output = explain(&[&["explain"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        text.push_str(message.lines().next().unwrap_or_default());
        text.push('\n');
    }
    insta::assert_snapshot!("explain_refusals", text);
}
