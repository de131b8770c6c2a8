//! Tests what is said of several GPUs: the text, the figures, and what is refused.

use std::process::{Command, Output};

use serde_json::Value;

fn advisor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(arguments)
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = advisor(arguments);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&text(&[arguments, &["--json"]].concat())).unwrap()
}

const CARD: [&str; 3] = ["suggest", "--gpu", "RTX 3060"];

#[test]
fn in_words() {
    insta::assert_snapshot!(
        "ranks_suggest",
        text(&[&CARD[..], &["--gpus", "4"]].concat())
    );
    let nodes = [
        "explain",
        "--gpu",
        "A100-SXM4-80GB",
        "--gpus",
        "16",
        "--link",
        "NVLink3,25Gb/s",
    ];
    insta::assert_snapshot!("ranks_explain", text(&nodes));
    let scale = text(&["scale", "--gpu", "A100-SXM4-80GB"]);
    assert!(
        scale.lines().all(|line| line.chars().count() <= 120),
        "{scale}"
    );
    insta::assert_snapshot!("ranks_scale", scale);
}

#[test]
fn one_gpu_changes_nothing() {
    assert_eq!(text(&CARD), text(&[&CARD[..], &["--gpus", "1"]].concat()));
    let (plain, mut one) = (json(&CARD), json(&[&CARD[..], &["--gpus", "1"]].concat()));
    let ranks = one.as_object_mut().unwrap().remove("ranks").unwrap();
    assert_eq!(plain, one);
    assert_eq!(ranks["efficiency"], 1.0);
    assert_eq!(
        ranks["images_per_second"],
        one["recommendation"]["predicted"]["images_per_second"]
    );
    assert_eq!(ranks["command"], one["recommendation"]["command"]);
}

#[test]
fn figures_for_programs() {
    let value = json(&[
        "suggest", "--gpu", "RTX 4090", "--gpus", "8", "--link", "10GbE",
    ]);
    let ranks = value["ranks"].clone();
    insta::assert_snapshot!("ranks_json", format!("{ranks:#}"));
    // Memory for buckets and NCCL is kept free.
    let alone = json(&["suggest", "--gpu", "RTX 4090"]);
    let budget = |value: &Value| value["device"]["budget_bytes"].as_u64().unwrap();
    let kept =
        ranks["buckets_bytes"].as_u64().unwrap() + ranks["communicator_bytes"].as_u64().unwrap();
    assert_eq!(budget(&alone) - budget(&value), kept);
    // Without the speed of a card, no time of a step is known.
    let unknown = json(&["suggest", "--vram", "8GiB", "--gpus", "2"]);
    assert!(
        unknown["ranks"]["efficiency"].is_null()
            && unknown["ranks"]["exchange_seconds"].is_number()
    );
}

/// Micro-batches are divided: the effective batch stays, or each rank gets one.
#[test]
fn batches_are_divided() {
    let batches = |gpus: &str, more: &[&str]| {
        let value = json(&[&["suggest", "--vram", "2GiB", "--gpus", gpus], more].concat());
        let (each, ranks) = (&value["recommendation"], &value["ranks"]);
        let each = each["batch"].as_u64().unwrap() * each["accumulation"].as_u64().unwrap();
        (each, ranks["effective_batch"].as_u64().unwrap())
    };
    let (alone, _) = batches("1", &[]);
    for gpus in [2, 4, 64] {
        let (each, all) = batches(&gpus.to_string(), &[]);
        assert!(
            all >= alone && all == each * gpus,
            "{gpus} of {alone}: {each}, {all}"
        );
    }
    assert_eq!(batches("4", &["--target-batch", "64"]), (16, 64));
    // Whoever names the batch of a step gets no other, whatever fits.
    for more in [&["--goal", "speed"][..], &["--gpus", "4"]] {
        let asked = ["suggest", "--gpu", "A100-SXM4-80GB", "--target-batch", "64"];
        let value = json(&[&asked, more].concat());
        let each = 64 / value["ranks"]["num"].as_u64().unwrap_or(1);
        let others = value["alternatives"].as_array().unwrap().iter();
        for recipe in others.chain([&value["recommendation"]]) {
            let number = |key: &str| recipe[key].as_u64().unwrap();
            assert_eq!(number("batch") * number("accumulation"), each, "{recipe}");
        }
    }
}

#[test]
fn what_is_refused() {
    let mut refused = String::new();
    for arguments in [
        &["--gpus", "0"][..],
        &["--link", "pcie4"],
        &["--gpus", "2", "--link", "token-ring"],
        &["--gpus", "2", "--link", "pcie4,pcie5"],
        &["--gpus", "12"],
        &["--gpus", "3", "--target-batch", "64"],
    ] {
        let output = advisor(&[&CARD[..], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        refused.push_str(&String::from_utf8(output.stderr).unwrap());
    }
    let output = advisor(&["explain", "--device", "cpu", "--gpus", "2"]);
    refused.push_str(&String::from_utf8(output.stderr).unwrap());
    insta::assert_snapshot!("ranks_refusals", refused);
}
