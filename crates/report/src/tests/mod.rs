//! The pages as a whole. Run with `INSTA_UPDATE=always` to accept new snapshots.

mod fixture;
mod japanese;
mod text;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use locale::Language;

use crate::{Error, Run, compare, epochs, render, write};
use fixture::{Folder, complete, config, events, interrupted, report, rows, summary};

/// The run in a folder, whose path is always the same.
fn run(folder: &Folder) -> Run {
    let mut run = Run::open(&folder.path).unwrap();
    run.dir = Path::new("runs").join(&run.name);
    run
}

fn page(folder: &Folder) -> String {
    render(&run(folder), Language::English)
}

fn error(folder: &Folder) -> String {
    let error = Run::open(&folder.path).unwrap_err();
    assert!(!error.hint().is_empty());
    let cause = std::error::Error::source(&error).map(|it| format!(": {it}"));
    let said = format!("{error}{}", cause.unwrap_or_default());
    said.replace(folder.path.to_str().unwrap(), "RUN")
}

#[test]
fn one_class() {
    insta::assert_snapshot!(text::of(&page(&complete(1))));
}

#[test]
fn five_classes() {
    insta::assert_snapshot!(text::of(&page(&complete(5))));
}

#[test]
fn interrupted_before_a_validation() {
    insta::assert_snapshot!(text::of(&page(&interrupted())));
}

#[test]
fn runs_of_different_classes_and_status() {
    let folders = [complete(1), complete(5), interrupted()];
    let runs = folders.iter().map(|it| Run::open(&it.path).unwrap());
    let runs: Vec<Run> = runs.collect();
    insta::assert_snapshot!(text::of(&compare(&runs, Language::English)));
    let equal = text::of(&compare(&runs[..1], Language::English));
    assert!(equal.contains("All settings are equal.") && equal.contains("0.800 (best)"));
    assert!(text::of(&compare(&[], Language::English)).contains("0 runs compared"));
}

#[test]
fn every_status_says_what_to_do() {
    for (status, advice) in [
        ("early-stopped", "stopped improving"),
        ("stopped", "complete up to there. `--resume"),
        ("from-the-future", ">from-the-future</span>"),
        ("emergency-stop", "lower the batch. `--resume"),
        ("failed", "cause of the error. `--resume"),
    ] {
        let finished = json!({"event": "finished", "status": status});
        let folder = complete(1).with_lines("events.jsonl", &[finished]);
        let folder = folder.with("summary.json", &summary(status, 1));
        let html = page(&folder).replace("<code>", "`");
        assert!(html.contains(advice), "{status}");
        let is_good = status.ends_with("stopped");
        assert_eq!(html.contains("Warning."), !is_good, "{status}");
        fs::remove_file(folder.path.join("last/snapshot.safetensors")).unwrap();
        assert_eq!(
            page(&folder).contains("so start it again"),
            !["early-stopped", "from-the-future"].contains(&status)
        );
    }
    let killed = Folder::new("killed").with_lines("metrics.jsonl", &rows(3));
    let said = text::of(&page(&killed));
    assert!(
        said.contains("it was killed") && said.contains("0.800"),
        "{said}"
    );
}

#[test]
fn sentences_fit_what_is_known() {
    let said = |change: fn(&mut Value), row: usize| {
        let mut report = report(1);
        change(&mut report);
        let folder = complete(1).with("report.json", &report);
        text::of(&page(&folder.with_lines("metrics.jsonl", &rows(2)[..row])))
    };
    let resumed = said(
        |it| it["time"] = json!({"seconds": 100.0, "verdict": null}),
        2,
    );
    assert!(resumed.contains("\nThis part of the run took 1m40s.\nSettings\n"));
    // The second epoch has no validation loss.
    assert!(resumed.contains("went from 0.450 to 0.200 and the validation loss was 0.550."));
    let ties = said(
        |it| {
            let iou = |k| if (30..=60).contains(&k) { 0.8 } else { 0.1 };
            it["thresholds"] = (0..=100).map(|k| json!({"iou": iou(k)})).collect();
            it["images"]["scores"] = json!([{"iou": 0.3}]);
        },
        1,
    );
    assert!(ties.contains("highest at threshold 0.50, 0.800;"));
    assert!(ties.contains("The IoU of the only validation image that counts is 0.300."));
}

#[test]
fn an_epoch_that_was_resumed_counts_once() {
    // The fixture's best epoch is the fourth, with an IoU of 0.8.
    for lines in [[0.5, 0.8], [0.8, 0.5]] {
        let mut rows = rows(3);
        rows.extend(lines.map(|iou| json!({"epoch": 4, "val_iou": iou, "train_loss": 0.3})));
        let folder = complete(1).with_lines("metrics.jsonl", &rows);
        let said = text::of(&page(&folder));
        assert!(said.contains("Over 4 epochs, "), "{said}");
        assert!(said.contains(" to 0.800 at epoch 4 of 4"), "{said}");
    }
    let (mut lines, expected) = (rows(4), rows(4));
    lines.insert(1, json!({"epoch": 2, "val_iou": 0.1}));
    let folder = complete(1).with_lines("metrics.jsonl", &lines);
    let run = run(&folder);
    let scores = run.rows.iter().map(|it| it.val_iou);
    assert!(scores.eq(expected.iter().map(|it| it["val_iou"].as_f64())));
    let table = epochs(&folder.path).unwrap();
    let scores = table.iter().map(|it| &it["val_iou"]);
    assert!(scores.eq(expected.iter().map(|it| &it["val_iou"])));
}

#[test]
fn a_page_leads_nowhere_else() {
    let folder = complete(1);
    let pages = [
        page(&folder),
        page(&complete(5)),
        page(&interrupted()),
        compare(&[Run::open(&folder.path).unwrap()], Language::English),
    ];
    for page in pages {
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert!(!page.contains("<script") && !page.contains("@import") && !page.contains("url("));
        let leads = |attribute: &str, to: &str| {
            let found = page.split(attribute).skip(1);
            found.filter(|it| !it.starts_with(to)).count()
        };
        assert_eq!(leads("src=\"", "data:image/png;base64,"), 0);
        assert_eq!(leads("href=\"", "#"), 0);
    }
    assert_eq!(page(&folder).matches("src=\"data:").count(), 3);
}

#[test]
fn whatever_comes_from_files_is_escaped() {
    const EVIL: &str = "</title><script>alert('`1`')</script>\"&";
    /// Replaces every text except those that choose a file or a branch.
    fn spoil(value: &mut Value) {
        match value {
            Value::String(text) if Path::new(text).extension().is_none_or(|it| it != "png") => {
                EVIL.clone_into(text);
            }
            Value::Array(items) => items.iter_mut().for_each(spoil),
            Value::Object(fields) => fields
                .iter_mut()
                .filter(|it| it.0 != "event")
                .for_each(|it| spoil(it.1)),
            _ => {}
        }
    }
    for classes in [1, 5] {
        let mut files = [report(classes), summary("failed", classes), json!(events())];
        files.iter_mut().for_each(spoil);
        let [report, mut summary, events] = files;
        summary["error"] = EVIL.into();
        let config = format!("{}\"<script>\" = '<script>'\n", config(classes));
        let folder = complete(classes)
            .with("report.json", &report)
            .with("summary.json", &summary)
            .with("config.toml", &config)
            .with_lines("events.jsonl", events.as_array().unwrap());
        let run = Run::open(&folder.path).unwrap();
        for language in Language::ALL {
            for page in [
                render(&run, language),
                compare(&[run.clone(), run.clone()], language),
            ] {
                assert!(!page.contains("<script"));
                text::of(&page);
            }
        }
    }
}

#[test]
fn any_part_of_a_report_may_be_missing() {
    let whole = report(1);
    for part in whole.as_object().unwrap().keys() {
        let mut report = whole.clone();
        report[part] = Value::Null;
        text::of(&page(&complete(1).with("report.json", &report)));
    }
    for part in [
        "predicted",
        "measured",
        "budget_bytes",
        "device_total_bytes",
    ] {
        let mut report = whole.clone();
        report["memory"][part] = Value::Null;
        text::of(&page(&complete(1).with("report.json", &report)));
    }
    text::of(&page(
        &complete(1)
            .with("report.json", &"{}")
            .with("summary.json", &"{}"),
    ));
}

#[test]
fn charts_stay_finite() {
    let gaps = json!({"epoch": 1, "train_loss": null, "val_iou": null, "lr": 0});
    let high = json!({"epoch": 2, "train_loss": 1e30, "val_iou": 0.0, "lr": 1e-9});
    for rows in [rows(1), rows(1000), vec![gaps.clone()], vec![gaps, high]] {
        let page = page(&complete(1).with_lines("metrics.jsonl", &rows));
        text::of(&page);
        for drawn in page
            .split(" d=\"")
            .skip(1)
            .filter_map(|it| it.split('"').next())
        {
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }
}

#[test]
fn a_damaged_folder_is_named_with_its_file() {
    let rows = rows(2);
    let cut = format!("{}\n{{\"epoch\": 2, \"val", rows[0]);
    let folder = complete(1).with("metrics.jsonl", &cut);
    assert_eq!(Run::open(&folder.path).unwrap().rows.len(), 1);
    let picture = |path: &str| {
        let mut report = report(1);
        report["images"]["shown"][0]["image"] = path.into();
        complete(1).with("report.json", &report)
    };
    let said = [
        error(&Folder::new("empty")),
        error(&complete(1).with("metrics.jsonl", &format!("{}\nnonsense\n", rows[0]))),
        error(&complete(1).with("report.json", &json!({"schema_version": 2}))),
        error(&complete(1).with("summary.json", &json!({"epochs": "four"}))),
        error(&complete(1).with("config.toml", &"width = ")),
        error(&picture("../../secret.png")),
        error(&picture("config.toml")),
    ];
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn a_page_is_written_whole() {
    let folder = complete(1);
    let path = write(&folder.path).unwrap();
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(
        written,
        render(&Run::open(&folder.path).unwrap(), Language::English)
    );
    let names = fs::read_dir(&folder.path).unwrap().flatten();
    let left = names.filter(|it| it.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(left.count(), 0);
    // Writing again replaces it; a folder of its name is in the way.
    write(&folder.path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = write(&folder.path).unwrap_err();
    assert!(matches!(
        error,
        Error::Io {
            action: "write",
            ..
        }
    ));
}
