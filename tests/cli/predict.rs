//! `predict`: writes a mask for each image, in the image's own size.

use std::collections::BTreeSet;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba};

use super::Sandbox;

/// Writes images of every supported kind, none of them in the training size.
fn write_images(dir: &Path) -> Vec<(&'static str, u32, u32)> {
    std::fs::create_dir_all(dir).unwrap();
    let shade = |x: u32, y: u32| u8::try_from((x * 7 + y * 3) % 256).unwrap();
    let images: [(&str, DynamicImage); 5] = [
        (
            "rgb.png",
            RgbImage::from_fn(90, 50, |x, y| Rgb([shade(x, y), 40, 200])).into(),
        ),
        (
            "gray.png",
            GrayImage::from_fn(64, 64, |x, y| Luma([shade(x, y)])).into(),
        ),
        (
            "photo.jpg",
            RgbImage::from_fn(33, 71, |x, y| Rgb([shade(y, x); 3])).into(),
        ),
        (
            "deep.png",
            ImageBuffer::from_fn(17, 20, |x, y| Luma([u16::from(shade(x, y)) * 257])).into(),
        ),
        (
            "alpha.png",
            ImageBuffer::from_fn(128, 65, |x, y| Rgba([shade(x, y), 9, 9, 255_u8])).into(),
        ),
    ];
    images
        .map(|(name, image)| {
            image.save(dir.join(name)).unwrap();
            (name, image.width(), image.height())
        })
        .to_vec()
}

/// Size of a mask and the values in it.
fn mask(path: &Path) -> ((u32, u32), BTreeSet<u8>) {
    let mask = image::open(path).unwrap();
    assert_eq!(mask.color(), image::ColorType::L8);
    (
        (mask.width(), mask.height()),
        mask.into_luma8().into_raw().into_iter().collect(),
    )
}

#[test]
fn masks_have_the_size_of_their_images() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--max-steps", "2", "--run-dir", "run"]);
    let images = write_images(&sandbox.path("in"));
    sandbox.write("in/notes.txt", "not an image");
    let predict = [
        "predict",
        "--weights",
        "run/best.safetensors",
        "--device",
        "cpu",
    ];
    let run = sandbox
        .train(&[&predict[..], &["--input", "in", "--out", "out"]].concat())
        .ok();
    assert_eq!(run.stdout, "wrote 5 mask(s) to out\n");
    for (name, width, height) in images {
        let stem = name.split('.').next().unwrap();
        let (size, values) = mask(&sandbox.path(&format!("out/{stem}_mask.png")));
        assert_eq!(size, (width, height), "{name}");
        assert!(
            values.is_subset(&BTreeSet::from([0, 255])),
            "{name}: {values:?}"
        );
    }

    // One image, with a threshold below every probability, and with one above.
    for (threshold, value) in [("0", 255), ("1", 0)] {
        let flags = [
            "--input",
            "in/rgb.png",
            "--out",
            threshold,
            "--threshold",
            threshold,
        ];
        sandbox.train(&[&predict[..], &flags].concat()).ok();
        let (_, values) = mask(&sandbox.path(&format!("{threshold}/rgb_mask.png")));
        assert_eq!(values, BTreeSet::from([value]));
    }

    // Existing masks are not overwritten without a flag.
    sandbox.write("out/rgb_mask.png", "mine");
    let before = sandbox.tree();
    let again = [&predict[..], &["--input", "in", "--out", "out"]].concat();
    let run = sandbox.train(&again);
    assert_eq!(run.code, Some(2));
    insta::assert_snapshot!(run.complaint(), @r"
    error: `out/alpha_mask.png` is there already
    hint: `--resume` makes those that are missing, `--overwrite` all; or choose another `--out`
    ");
    assert!(sandbox.tree() == before);
    sandbox.train(&[&again[..], &["--overwrite"]].concat()).ok();
    assert_eq!(mask(&sandbox.path("out/rgb_mask.png")).0, (90, 50));

    // A snapshot is a safetensors file as well.
    for (command, rest) in [
        ("predict", ["--input=in", "--out=new"]),
        ("evaluate", ["--data=data", "--split=val"]),
    ] {
        let weights = ["--weights", "run/last/snapshot.safetensors"];
        let run = sandbox.train(&[&[command][..], &weights, &rest].concat());
        assert_eq!(run.code, Some(2));
        insta::allow_duplicates! { insta::assert_snapshot!(run.complaint(), @r"
        error: `run/last/snapshot.safetensors`: a snapshot to resume a run from, not a weights file
        hint: the last weights of the run are `run/last/weights.safetensors`
        ") }
    }
}

#[test]
fn a_tree_is_predicted_as_far_as_it_can_be_and_resumed() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--max-steps", "2", "--run-dir", "run"]);
    let page = sandbox.read("data/val/images/page-00000.png");
    for image in ["in/a.png", "in/deep/er/a.png", "in/deep/z.png"] {
        sandbox.write(image, &page);
    }
    sandbox.write("in/deep/b.png", &page[..200]);
    sandbox.write("in/._a.png", "");
    let predict = [
        "predict",
        "--weights",
        "run/best.safetensors",
        "--device",
        "cpu",
        "--input",
        "in",
        "--out",
        "in/out",
    ];
    let run = sandbox.train(&predict);
    assert_eq!(
        (run.code, &*run.stdout),
        (Some(1), "wrote 3 mask(s) to in/out\n")
    );
    assert!(
        run.stderr
            .contains("`in/deep/b.png` is truncated or corrupt"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("left out: 1 hidden"), "{}", run.stderr);
    insta::assert_snapshot!(run.complaint(), @r"
    error: 1 of 4 images could not be read or predicted, as said above
    hint: mend or remove them, and run the command again with `--resume`
    ");
    assert!(sandbox.path("in/out/deep/er/a_mask.png").is_file());
    // Its own masks are no images, and those that exist stay.
    sandbox.write("in/deep/b.png", &page);
    let before = sandbox.read("in/out/a_mask.png");
    let run = sandbox.train(&[&predict[..], &["--resume"]].concat()).ok();
    assert_eq!(run.stdout, "wrote 1 mask(s) to in/out\n");
    assert!(
        run.stderr.contains("3 mask(s) were there already"),
        "{}",
        run.stderr
    );
    assert_eq!(sandbox.read("in/out/a_mask.png"), before);
    // A missing path in a list is skipped.
    sandbox.write("in/list.txt", "a.png\nold/gone.png\nnone-*.png\n");
    let listed = [
        "--list",
        "in/list.txt",
        "--out",
        "listed",
        "--device",
        "cpu",
    ];
    let weights = ["predict", "--weights", "run/best.safetensors"];
    let run = sandbox.train(&[&weights[..], &listed].concat());
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    for missing in [
        "nothing is at `old/gone.png`",
        "nothing is at `in/none-*.png`",
    ] {
        assert!(run.stderr.contains(missing), "{}", run.stderr);
    }
    assert!(run.complaint().contains("2 of 3 images"), "{}", run.stderr);
    assert!(sandbox.path("listed/a_mask.png").is_file());
    // The threshold of the weights, wherever they are.
    sandbox.write("else/w.safetensors", sandbox.read("run/best.safetensors"));
    let best = &sandbox.json("run/summary.json")["validation"]["best_threshold"];
    let flags = [
        "predict",
        "--weights",
        "else/w.safetensors",
        "--device",
        "cpu",
        "--input",
        "in/**/z.png",
    ];
    let run = sandbox.train(&[&flags[..], &["--out", "z"]].concat()).ok();
    let said = format!("threshold: {best}, the best in the validation of the training");
    assert!(run.stderr.contains(&said), "{said}: {}", run.stderr);
    assert!(sandbox.path("z/deep/z_mask.png").is_file());
}

#[test]
fn unusable_inputs_are_named() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--max-steps", "1", "--run-dir", "run"]);
    sandbox.write(
        "broken/a.png",
        &sandbox.read("data/val/images/page-00000.png")[..200],
    );
    sandbox.write("twice/a.png", "");
    sandbox.write("twice/a.jpg", "");
    sandbox.write("none/a.txt", "");
    let before = sandbox.tree();
    let refused = |flags: &[&str]| {
        let weights = [
            "predict",
            "--weights",
            "run/best.safetensors",
            "--out",
            "out",
        ];
        let run = sandbox.train(&[&weights[..], flags].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stdout.is_empty(), "{run:?}");
        run.complaint().to_owned()
    };
    insta::assert_snapshot!(refused(&["--input", "none"]), @r"
    error: no image (PNG, JPEG, TIFF, BMP, WebP or GIF) in `none`
    hint: name images, a folder that holds some, or a pattern in quotes
    ");
    insta::assert_snapshot!(refused(&["--input", "nowhere"]), @r"
    error: cannot read `nowhere`: no such file or folder
    hint: check the path
    ");
    insta::assert_snapshot!(refused(&["--input", "twice"]), @r"
    error: `twice/a.jpg` and `twice/a.png` would both become `a_mask.png`
    hint: rename one of them, or predict them one after the other
    ");
    insta::assert_snapshot!(refused(&["--input", "data/val/images", "--threshold", "2"]), @r"
    error: invalid value '2' for '--threshold <P>': must be a number from 0 to 1
    hint: `--help` lists the flags
    ");
    assert!(sandbox.tree() == before);
    let broken = refused(&["--input", "broken"]);
    assert!(
        broken.starts_with("error: `broken/a.png` is truncated or corrupt"),
        "{broken}"
    );
    assert!(broken.contains("\nhint: "), "{broken}");
}

#[test]
fn a_data_set_is_predicted_without_its_masks_and_stays_as_it_is() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--max-steps", "1", "--run-dir", "run"]);
    let num = |folder: &str| std::fs::read_dir(sandbox.path(folder)).unwrap().count();
    let num_images = ["train", "val", "test"].map(|it| num(&format!("data/{it}/images")));
    let num_images: usize = num_images.iter().sum();
    let weights = [
        "predict",
        "--weights",
        "run/best.safetensors",
        "--device",
        "cpu",
        "--input",
        "data",
    ];
    let run = sandbox
        .train(&[&weights[..], &["--out", "data/out"]].concat())
        .ok();
    assert_eq!(
        run.stdout,
        format!("wrote {num_images} mask(s) to data/out\n")
    );
    let said = format!("left out: {num_images} masks of other images, by their names");
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    assert!(
        sandbox
            .path("data/out/val/images/page-00000_mask.png")
            .is_file()
    );

    let before = sandbox.tree();
    for out in [
        "data/val/masks",
        "data/val/images",
        "data/train/images/new",
        "data",
    ] {
        let run = sandbox.train(&[&weights[..], &["--out", out, "--overwrite"]].concat());
        let refused = format!("error: masks in `{out}` would be read as data of `");
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.complaint().starts_with(&refused), "{run:?}");
    }
    assert!(sandbox.tree() == before);
    // What was predicted is not trained on.
    let run = sandbox.fit(&["--data", "data", "--max-steps", "1", "--run-dir", "again"]);
    let read =
        |run: &str| sandbox.json(&format!("{run}/report.json"))["data"]["train_images"].clone();
    assert_eq!(read("again"), read("run"), "{run:?}");
}
