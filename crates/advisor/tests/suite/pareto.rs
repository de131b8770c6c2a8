//! Tests `advisor pareto`: the table, the files, the picture, and what it refuses.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

const CARD: &[&str] = &["--gpu", "RTX 3060", "--batch", "8"];

fn pareto(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .arg("pareto")
        .args(arguments)
        .env("CUDA_VISIBLE_DEVICES", "")
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn for_people() {
    let text = said(&pareto(CARD));
    insta::assert_snapshot!("pareto", text);
    // The times of an unnamed card are relative.
    let more = ["--vram", "4GiB", "--amp", "off", "--split-concat", "on"];
    insta::assert_snapshot!("pareto_4_gib", said(&pareto(&more)));
}

#[test]
fn files_agree() {
    let csv = said(&pareto(&[CARD, &["--csv"]].concat()));
    let value: Value = serde_json::from_str(&said(&pareto(&[CARD, &["--json"]].concat()))).unwrap();
    let points = value["points"].as_array().unwrap();
    assert_eq!(csv.lines().count(), points.len() + 1);
    let shown: Vec<&str> = csv
        .lines()
        .take(4)
        .chain(csv.lines().rev().take(3))
        .collect();
    insta::assert_snapshot!("pareto_csv", shown.join("\n"));
    insta::assert_snapshot!("pareto_json_point", format!("{:#}", points[1]));
    // Every plan can be passed back as a flag.
    let plan = points[1]["plan"].as_array().unwrap();
    let names: Vec<&str> = plan.iter().map(|it| it.as_str().unwrap()).collect();
    assert!(csv.contains(&format!("mixed,\"{}\",true", names.join(","))));
}

#[test]
fn in_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("front.svg");
    // This batch is large enough for the card's budget to be in the picture.
    let more = ["--batch", "12", "--csv", "--svg", file.to_str().unwrap()];
    let csv = said(&pareto(&[&CARD[..2], &more].concat()));
    let picture = fs::read_to_string(&file).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(!picture.contains("NaN") && !picture.contains("inf"));
    // A mark for each way, and one in the legend.
    let count = |what: &str| picture.matches(what).count();
    assert_eq!(count("<circle"), csv.lines().count() - 1 + 1);
    for policy in ["off", "selective", "block", "stage", "mixed"] {
        // Under the name lies its halo.
        assert_eq!(count(&format!(">{policy}</text>")), 2, "{policy}");
    }
    assert_eq!(count(">left of this line a step fits the device</text>"), 2);
    assert_eq!(count("paint-order"), 0, "few renderers know it");
}

#[test]
fn refusals() {
    let mut text = String::new();
    for arguments in [
        &["--svg", "nowhere/front.svg"][..],
        &["--batch", "0"],
        &["--img-size", "500x512"],
        &["--amp", "fp8"],
        &["--csv", "--json"],
    ] {
        let output = pareto(&[&["--gpu", "RTX 3060"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        text.push_str(&String::from_utf8(output.stderr).unwrap());
    }
    insta::assert_snapshot!("pareto_refusals", text);
}
