//! `--crop`: windows cut from images at their own resolution, in every command.

use std::process::Command;

use ::data::synth::{Counts, write_dataset};
use image::{GenericImageView as _, GrayImage, Luma};
use serde_json::Value;

use super::resume::{EVERY_STEP, assert_same, learnt};
use super::{Run, Sandbox};

const CROP: [&str; 4] = ["--crop", "on", "--img-size", "32x32"];

/// A sandbox with 3 + 2 + 1 pages of 80x100 in `data/`: an image is 12 windows.
fn with_large_pages() -> Sandbox {
    let sandbox = Sandbox::empty();
    let counts = Counts {
        train: 3,
        val: 2,
        test: 1,
    };
    write_dataset(&sandbox.path("data"), counts, (80, 100), 3, |_, _| ()).unwrap();
    sandbox
}

fn scores(sandbox: &Sandbox, flags: &[&str]) -> Value {
    let evaluate = ["evaluate", "--device", "cpu", "--data", "data", "--json"];
    let weights = ["--weights", "run/best.safetensors"];
    let run = sandbox.train(&[&evaluate[..], &weights, flags].concat());
    serde_json::from_str(&run.ok().stdout).unwrap()
}

/// An image for validation.
const PAGE: &str = "data/val/images/page-00000.png";

/// Flags with which a few epochs find something.
const LEARNS: [&str; 6] = ["--epochs", "20", "--lr", "5e-3", "--patience", "0"];

fn predict(sandbox: &Sandbox, input: &str, out: &str, flags: &[&str]) {
    let predict = ["predict", "--device", "cpu", "--input", input];
    let weights = ["--weights", "run/best.safetensors", "--out", out];
    sandbox
        .train(&[&predict[..], &weights, flags].concat())
        .ok();
}

fn answer(sandbox: &Sandbox, path: &str) -> GrayImage {
    image::open(sandbox.path(path)).unwrap().into_luma8()
}

/// Writes a mask for [`PAGE`] to a folder, and returns it.
fn of_page(sandbox: &Sandbox, out: &str, flags: &[&str]) -> GrayImage {
    predict(sandbox, PAGE, out, flags);
    let mask = answer(sandbox, &format!("{out}/page-00000_mask.png"));
    let is_white = |pixel: &Luma<u8>| pixel.0 == [255];
    assert!(mask.pixels().any(is_white) && !mask.pixels().all(is_white));
    mask
}

#[test]
fn a_run_on_windows_scores_images() {
    let sandbox = with_large_pages();
    let run = sandbox.fit(&[&CROP[..], &LEARNS, &["--run-dir", "run"]].concat());
    assert!(
        run.stderr
            .contains("windows of 32x32: 36 per epoch, and 24 cover the images for validation"),
        "{run:?}"
    );
    assert!(run.stdout.contains("windows of the images:   \u{2705} on"));
    // 36 windows in batches of 4.
    let steps: Vec<_> = sandbox.rows("run/metrics.jsonl");
    let steps: Vec<_> = steps
        .iter()
        .map(|row| row["steps"].as_u64().unwrap())
        .collect();
    assert_eq!(steps[..2], [9, 18]);
    let report = sandbox.json("run/report.json");
    assert_eq!(
        [
            &report["data"]["train_images"],
            &report["data"]["val_images"]
        ],
        [3, 2]
    );
    assert_eq!(report["images"]["scores"].as_array().map(Vec::len), Some(2));

    // The weights know it. Scores are of images, and no batch changes them.
    let one = scores(&sandbox, &["--batch", "1"]);
    assert_eq!(one["num_images"], 2);
    let iou = |scores: &Value| scores["best_threshold"]["iou"].as_f64().unwrap();
    for batch in ["5", "24"] {
        // A pixel may change sides, since batches of other sizes may round otherwise.
        let other = scores(&sandbox, &["--batch", batch]);
        assert!((iou(&one) - iou(&other)).abs() < 1e-3, "{one} {other}");
    }
    let resized = scores(&sandbox, &["--crop", "off"]);
    assert_ne!(one, resized);
    let mask = of_page(&sandbox, "windows", &[]);
    assert_eq!(mask.dimensions(), (100, 80));
    let whole = ["--crop", "off"];
    predict(&sandbox, PAGE, "resized", &whole);
    assert!(mask != answer(&sandbox, "resized/page-00000_mask.png"));
    // The middle of each window, predicted as an image of its own.
    let page = image::open(sandbox.path(PAGE)).unwrap();
    std::fs::create_dir(sandbox.path("cut")).unwrap();
    let firsts = [0, 16, 32, 48].map(|top| [0, 13, 27, 40, 54, 68].map(|left| (left, top)));
    for (left, top) in firsts.concat() {
        let path = sandbox.path(&format!("cut/{left}-{top}.png"));
        page.crop_imm(left, top, 32, 32).save(path).unwrap();
    }
    predict(&sandbox, "cut", "apart", &whole);
    for (left, top) in firsts.concat() {
        let window = answer(&sandbox, &format!("apart/{left}-{top}_mask.png"));
        let middle = |mask: &GrayImage, x, y| mask.view(x + 10, y + 8, 12, 16).to_image();
        assert!(
            middle(&mask, left, top) == middle(&window, 0, 0),
            "{left}, {top}"
        );
    }
}

#[test]
fn a_window_of_the_size_of_its_image_is_the_image() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&LEARNS[..], &["--run-dir", "run"]].concat());
    let [whole, cut] = ["off", "on"].map(|crop| scores(&sandbox, &["--crop", crop]));
    assert_eq!(whole, cut);
    let [whole, cut] = ["off", "on"].map(|crop| of_page(&sandbox, crop, &["--crop", crop]));
    assert!(whole == cut);
}

#[test]
fn a_run_on_windows_resumes_in_the_middle_of_an_epoch() {
    let sandbox = with_large_pages();
    let flags = [&CROP[..], &["--width", "8", "--epochs", "2"]].concat();
    sandbox.fit(&[&flags[..], &["--run-dir", "whole"]].concat());
    for nth in [2, 12] {
        let dir = format!("cut-{nth}");
        let flags = [&flags[..], &EVERY_STEP].concat();
        sandbox.dies(&format!("snapshot:done@{nth}"), &flags, &dir);
        sandbox.resume(&dir);
        assert_same(&sandbox, "whole", &dir);
    }
    // The comparison can fail.
    sandbox.fit(&[&flags[..], &["--seed", "5", "--run-dir", "other"]].concat());
    assert_ne!(learnt(&sandbox, "whole"), learnt(&sandbox, "other"));
    let run = sandbox.train(&["fit", "--resume", "whole", "--crop", "off"]);
    assert!(run.complaint().contains("crop"), "{run:?}");
}

#[test]
fn windows_are_chosen_where_lines_vanish_at_every_size() {
    let sandbox = Sandbox::empty();
    for (folder, nth) in ["images", "masks"]
        .iter()
        .flat_map(|it| (0..4).map(move |nth| (it, nth)))
    {
        // A line every 100 pixels, too thin for 512x512.
        let lines = GrayImage::from_fn(1600, 1600, |x, y| {
            Luma([u8::from((x + 7 * nth) % 100 == 0 || y % 100 == 9) * 255])
        });
        let path = sandbox.path(&format!("data/{folder}/{nth}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        lines.save(path).unwrap();
    }
    let dry = |flags: &[&str]| {
        let command = sandbox.command();
        let mut snug = Command::new(env!("CARGO_BIN_EXE_snug"));
        snug.current_dir(command.get_current_dir().unwrap())
            .env("SNUG_LEDGER", "ledger.jsonl")
            .args(["train", "data", "--device", "cpu", "--dry-run"])
            .args(flags);
        Run::of(&mut snug).ok().stderr
    };
    let said = dry(&[]);
    for line in [
        "chosen: img_size = 256x256: a size that a CPU trains in reasonable time",
        "chosen: crop = true: masks have structures that vanish when the images are resized",
        // Three images of 49 windows, in batches of 4.
        "chosen: epochs = 40: 1480 steps in all, 37 per epoch; the run ends earlier after 10 epochs without a better IoU",
    ] {
        assert!(said.lines().any(|it| it == line), "{line}\n{said}");
    }
    let warning = "lines break and dots vanish; a larger `--img-size` or `--crop on` keeps them";
    assert!(!said.contains(warning), "{said}");
    let said = dry(&["--crop", "off"]);
    assert!(
        said.contains("chosen: img_size = 512x512") && said.contains(warning),
        "{said}"
    );
    for command in ["predict", "evaluate", "inspect"] {
        let help = sandbox.train(&[command, "--help"]).ok().stdout;
        assert!(!help.contains("Train on windows"), "{help}");
    }
    let advice = |flags: &[&str]| {
        let inspect = ["inspect", "data", "--img-size", "256x256"];
        let run = sandbox.train(&[&inspect[..], flags].concat()).ok();
        (
            run.stdout.contains("; `--crop on` keeps structures"),
            run.stderr.contains(warning),
        )
    };
    assert_eq!(advice(&[]), (true, true));
    assert_eq!(advice(&["--crop", "on"]), (false, false));
}
