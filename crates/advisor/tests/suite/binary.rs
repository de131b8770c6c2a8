//! The binary itself: exit codes, stdout and stderr.

use std::process::{Command, Output};

fn advisor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(arguments)
        .env_remove("CUDA_VISIBLE_DEVICES")
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn bad_input() {
    let mut text = String::new();
    for vram in [
        "0", "0GiB", "-1GiB", "1e30GiB", "nanGiB", "abc", "8", "8G", "",
    ] {
        let output = advisor(&["suggest", "--vram", vram]);
        assert_eq!(output.status.code(), Some(2), "{vram}");
        assert!(output.stdout.is_empty(), "{vram}");
        let message = stderr(&output);
        text.push_str(message.lines().next().unwrap_or_default());
        text.push('\n');
    }
    for arguments in [&["sugest"][..], &["suggest", "--jsn"], &[]] {
        let output = advisor(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    insta::assert_snapshot!("bad_input", text);
}

#[test]
fn decimal_units_are_said() {
    let output = advisor(&["suggest", "--vram", "8GB"]);
    assert!(output.status.success());
    insta::assert_snapshot!("decimal", stderr(&output));
    let output = advisor(&["suggest", "--vram", "8GiB"]);
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn this_machine_whatever_it_is() {
    let output = advisor(&["suggest", "--json"]);
    assert!(output.status.success());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema_version"], 1);
    assert!(value["device"]["kind"].is_string());
    let output = advisor(&["suggest"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("  cargo xtask train --preset "));
}

#[test]
fn hidden_gpus_are_no_gpus() {
    let output = Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(["suggest", "--json"])
        .env("CUDA_VISIBLE_DEVICES", "")
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["device"]["kind"], "cpu");
}
