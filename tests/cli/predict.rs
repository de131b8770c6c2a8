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
    hint: choose another `--out`, or pass `--overwrite`
    ");
    assert!(sandbox.tree() == before);
    sandbox.train(&[&again[..], &["--overwrite"]].concat()).ok();
    assert_eq!(mask(&sandbox.path("out/rgb_mask.png")).0, (90, 50));
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
    error: `none` holds no image (PNG, JPEG, TIFF, BMP, WebP or GIF)
    hint: name an image, or the folder that holds the images
    ");
    insta::assert_snapshot!(refused(&["--input", "nowhere"]), @r"
    error: cannot read `nowhere`: entity not found
    hint: check the path
    ");
    insta::assert_snapshot!(refused(&["--input", "twice"]), @r"
    error: `twice/a.jpg` and `twice/a.png` would both become `out/a_mask.png`
    hint: rename one of them
    ");
    insta::assert_snapshot!(refused(&["--input", "data/val/images", "--threshold", "2"]), @r"
    error: `--threshold 2` is not a probability
    hint: choose a value from 0 to 1
    ");
    assert!(sandbox.tree() == before);
    let broken = refused(&["--input", "broken"]);
    assert!(
        broken.starts_with("error: `broken/a.png` is truncated or corrupt"),
        "{broken}"
    );
    assert!(broken.contains("\nhint: "), "{broken}");
}
