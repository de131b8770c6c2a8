//! Layouts and kinds of data, end to end; `synth`; and real photographs if available.

use std::fs;
use std::path::Path;

use super::{Sandbox, small};

#[test]
fn synth_writes_what_fit_reads() {
    let sandbox = Sandbox::empty();
    let run = sandbox
        .train(&[
            "synth",
            "--out",
            "data",
            "--img-size",
            "64x48",
            "--train",
            "4",
            "--val",
            "2",
        ])
        .ok();
    assert_eq!(
        run.stdout,
        "wrote 4 train, 2 val and 0 test pages of 64x48 to data\n"
    );
    assert_eq!(
        image::image_dimensions(sandbox.path("data/train/images/page-00003.png")).unwrap(),
        (48, 64)
    );
    let run = sandbox.fit(&["--epochs", "1", "--batch", "6", "--run-dir", "run"]);
    assert!(
        run.stderr.contains("batch: only 4 images"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("train: 4 images of 64x48"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("val: 2 images of 64x48"),
        "{}",
        run.stderr
    );

    let before = sandbox.tree();
    let weights = ["--weights", "run/best.safetensors", "--split", "test"];
    let run = sandbox.train(&[&["evaluate", "--data", "data"], &weights[..]].concat());
    assert_eq!(run.code, Some(2));
    insta::assert_snapshot!(run.complaint(), @r"
    error: `data` has no `test` images
    hint: choose others with `--split`
    ");
    let run = sandbox.train(&["synth", "--out", "data"]);
    assert_eq!(run.code, Some(2));
    insta::assert_snapshot!(run.complaint(), @r"
    error: folder `data` is not empty
    hint: name a new folder: nothing is overwritten
    ");
    assert!(sandbox.tree() == before);
}

#[test]
fn built_in_pages_need_no_data() {
    let sandbox = Sandbox::empty();
    let flags = ["--max-steps", "1", "--run-name", "first"];
    let run = sandbox.train(&small(&flags)).ok();
    assert!(
        run.stdout
            .contains("for comparison, answers without a network"),
        "{}",
        run.stdout
    );
    assert!(run.stderr.contains("--full-size"), "{}", run.stderr);
    assert_eq!(sandbox.json("runs/first/summary.json")["steps"], 1);
}

#[test]
fn a_flat_pair_of_folders_is_split() {
    let sandbox = Sandbox::with_pages();
    for (from, to) in [("images", "imgs"), ("masks", "masks")] {
        fs::create_dir_all(sandbox.path("flat")).unwrap();
        fs::rename(
            sandbox.path("data/train").join(from),
            sandbox.path("flat").join(to),
        )
        .unwrap();
    }
    let flags = [
        "--data",
        "flat",
        "--val-percent",
        "25",
        "--epochs",
        "1",
        "--run-dir",
        "run",
    ];
    let run = sandbox.train(&small(&flags)).ok();
    assert!(run.stderr.contains("train: 6 images"), "{}", run.stderr);
    assert!(run.stderr.contains("val: 2 images"), "{}", run.stderr);

    // The configuration next to the weights records the run's split.
    let weights = [
        "--weights",
        "run/best.safetensors",
        "--data",
        "flat",
        "--device",
        "cpu",
    ];
    let run = sandbox
        .train(&[&["evaluate", "--json"], &weights[..]].concat())
        .ok();
    let scores: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(scores["num_images"], 2);
    assert_eq!(
        scores["iou"],
        sandbox.json("run/summary.json")["validation"]["best_iou"]
    );
}

#[test]
fn photographs_train_and_evaluate() {
    let nuclei = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/nuclei");
    if !Path::new(nuclei).is_dir() {
        eprintln!("skipped: no `{nuclei}`");
        return;
    }
    let sandbox = Sandbox::empty();
    let flags = ["--data", nuclei, "--epochs", "1", "--run-dir", "run"];
    sandbox.train(&small(&flags)).ok();
    let weights = [
        "--weights",
        "run/best.safetensors",
        "--data",
        nuclei,
        "--device",
        "cpu",
    ];
    let run = sandbox
        .train(&[&["evaluate", "--json"], &weights[..]].concat())
        .ok();
    let scores: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        scores["iou"],
        sandbox.json("run/summary.json")["validation"]["best_iou"]
    );
}
