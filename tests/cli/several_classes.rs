//! Three classes in indexed masks, images of mixed sizes.

use std::collections::BTreeSet;
use std::path::Path;

use data::decode::LabelKind;
use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;

use super::Sandbox;

/// Writes images with background, class 1 and class 2 from left to right, in shades that a network
/// can distinguish.
fn write_images(split: &Path, count: u32) {
    for folder in ["images", "masks"] {
        std::fs::create_dir_all(split.join(folder)).unwrap();
    }
    for i in 0..count {
        let (width, height) = (60 + 9 * i, 96 - 7 * i);
        let class = |x: u32| u8::try_from(3 * x / width).unwrap();
        let image = RgbImage::from_fn(width, height, |x, y| {
            let noise = u8::try_from((x * 31 + y * 17 + i) % 40).unwrap();
            Rgb([class(x) * 100 + noise, noise, 200 - class(x) * 90])
        });
        image.save(split.join(format!("images/{i}.png"))).unwrap();
        let mask = GrayImage::from_fn(width, height, |x, _| Luma([class(x)]));
        mask.save(split.join(format!("masks/{i}_mask.png")))
            .unwrap();
    }
}

#[test]
fn three_classes_train_evaluate_and_predict() {
    let sandbox = Sandbox::empty();
    write_images(&sandbox.path("data/train"), 6);
    write_images(&sandbox.path("data/val"), 3);
    let run = sandbox.fit(&[
        "--classes",
        "3",
        "--lr",
        "1e-2",
        "--epochs",
        "6",
        "--run-dir",
        "run",
    ]);
    assert!(
        run.stderr.contains("6 images of 61x60 to 96x105"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("class 2: IoU "), "{}", run.stdout);
    let summary = sandbox.json("run/summary.json");
    let validation = &summary["validation"];
    let classes = validation["per_class"].as_array().unwrap();
    assert_eq!(
        classes
            .iter()
            .map(|c| c["class"].clone())
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(validation["best_threshold"].is_null(), "{validation}");
    assert!(
        validation["best_iou"].as_f64().unwrap() > 0.0,
        "{validation}"
    );

    // The number of classes follows from the weights.
    let weights = ["--weights", "run/best.safetensors", "--device", "cpu"];
    let run = sandbox
        .train(&[&["evaluate", "--json", "--data", "data"], &weights[..]].concat())
        .ok();
    let scores: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(scores["iou"], validation["best_iou"]);
    assert_eq!(scores["per_class"], validation["per_class"]);

    let flags = ["predict", "--input", "data/val/images", "--out", "out"];
    sandbox.train(&[&flags, &weights[..]].concat()).ok();
    let with_threshold = [
        "predict",
        "--input",
        "data/val/images",
        "--out",
        "other",
        "--threshold",
        "0.3",
    ];
    let refused = sandbox.train(&[&with_threshold, &weights[..]].concat());
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.complaint().contains("these weights have 3"),
        "{refused:?}"
    );
    let mask = data::decode::labels(&sandbox.path("out/2_mask.png")).unwrap();
    assert_eq!((mask.width, mask.height), (78, 82));
    // Viewers show the classes in colours.
    assert!(matches!(mask.kind, LabelKind::Palette(colours) if colours[1] == [128, 0, 0, 255]));
    let values: BTreeSet<u32> = mask.values.into_iter().collect();
    assert!(values.is_subset(&BTreeSet::from([0, 1, 2])), "{values:?}");

    // With one class too few, the values found are listed.
    let run = sandbox.train(&super::small(&["--data", "data", "--classes", "2"]));
    assert_eq!(run.code, Some(2));
    assert!(
        run.complaint()
            .contains("2 classes were asked for, and the masks hold 3 different values"),
        "{}",
        run.complaint()
    );
    assert!(
        run.complaint().contains("--classes 3"),
        "{}",
        run.complaint()
    );
}
