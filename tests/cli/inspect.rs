//! Folders as people have them: what `inspect` says about each, and what comes of it.

use std::path::Path;

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::Value;

use super::{Run, Sandbox, small};

const SIDE: u32 = 32;

/// Writes `count` images to `data/images`, and what `mask` makes of them to `data/masks`.
fn write(sandbox: &Sandbox, count: u32, mask: impl Fn(u32) -> DynamicImage) {
    for nth in 0..count {
        let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let [x, y] = [x * 7 + nth, y * 5].map(|it| u8::try_from(it % 256).unwrap());
            Rgb([x, y, x ^ y])
        });
        save(
            &sandbox.path(&format!("data/images/{nth}.png")),
            &image.into(),
        );
        save(&sandbox.path(&format!("data/masks/{nth}.png")), &mask(nth));
    }
}

fn save(path: &Path, image: &DynamicImage) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

fn gray(value: impl Fn(u32, u32) -> u8) -> DynamicImage {
    GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([value(x, y)])).into()
}

fn deep(value: impl Fn(u32, u32) -> u16) -> DynamicImage {
    ImageBuffer::from_fn(SIDE, SIDE, |x, y| Luma([value(x, y)])).into()
}

fn inspect(sandbox: &Sandbox, flags: &[&str]) -> Run {
    sandbox.train(&[&["inspect", "data"], flags].concat())
}

fn report(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&inspect(sandbox, &["--json"]).ok().stdout).unwrap()
}

/// The share of foreground in the part for training.
fn foreground(report: &Value) -> f64 {
    report["parts"][0]["foreground"].as_f64().unwrap()
}

#[test]
fn a_folder_is_described_in_a_few_lines() {
    let sandbox = Sandbox::empty();
    write(&sandbox, 10, |_| gray(|x, _| if x < 8 { 200 } else { 0 }));
    std::fs::write(sandbox.path("data/images/._0.png"), "hidden").unwrap();
    save(&sandbox.path("data/images/alone.png"), &gray(|_, _| 1));
    let photo = inspect(&sandbox, &["--sheet", "sheet.jpg"]);
    assert!(
        photo.complaint().contains("must end in `.png`"),
        "{photo:?}"
    );
    let run = inspect(&sandbox, &["--sheet", "sheet.png"]).ok();
    insta::assert_snapshot!(run.stdout, @r"
    layout: images in `images`, masks in `masks`, masks named as their images
    attention: 1 of 11 images for training have no mask and are left out (above a third is an error): alone.png
    no `val` folder: 1 of the 10 images in `data` are used for validation (seed 0)
    masks: binary, foreground 200
    train: 9 images of 32x32, foreground 25.0 %
    val: 1 image of 32x32, foreground 25.0 %
    training: at 512x512 (their sides multiplied by 16.0), 9 images per step, 1 step per epoch, learning rate 0.0001; `--img-size 64x64` is about the size of the largest, and takes less memory and time; with few images, `--lr 0.001` learns faster
    ");
    assert!(
        run.stderr
            .contains("drew 9 images, those whose masks fit worst first: sheet.png"),
        "{}",
        run.stderr
    );
    assert_eq!(
        image::image_dimensions(sandbox.path("sheet.png")).unwrap(),
        (4 * 260 - 4, 3 * 260 - 4)
    );
}

#[test]
fn values_are_read_at_their_own_scale() {
    for high in [1, 255, 4095, 65_535] {
        let sandbox = Sandbox::empty();
        write(&sandbox, 5, |_| deep(|x, _| if x < 8 { high } else { 0 }));
        assert!(
            (foreground(&report(&sandbox)) - 0.25).abs() < 1e-9,
            "{high}"
        );
    }
    // One such file among others is noticed.
    let sandbox = Sandbox::empty();
    write(&sandbox, 5, |nth| {
        let high = if nth == 3 { 255 } else { 65_535 };
        deep(move |x, _| if x < 8 { high } else { 0 })
    });
    let run = inspect(&sandbox, &[]);
    assert_eq!(run.code, Some(2));
    insta::assert_snapshot!(run.complaint(), @r"
    error: `data`: the masks hold 3 different values, whose meaning is not clear
      0: 75.00 % of the pixels, in 5 file(s)
      255: 5.00 % of the pixels, in 1 file(s), such as `data/masks/3.png`
      65535: 20.00 % of the pixels, in 4 file(s), such as `data/masks/0.png`
    hint: if they are one foreground, give it one value; if each is a class, pass `--classes 3`; or say in a `classes.toml` in this folder which are classes and which to ignore: `[classes]`, `values = [0, 65535]`, `ignore = [255]`
    ");
}

#[test]
fn a_label_map_is_no_smooth_edge() {
    for values in [&[0, 63, 127, 191, 255][..], &[0, 128, 255]] {
        let sandbox = Sandbox::empty();
        write(&sandbox, 5, |_| {
            gray(|x, _| values[x as usize * values.len() / 32])
        });
        let run = inspect(&sandbox, &[]);
        assert_eq!(run.code, Some(2), "{values:?}");
        let advice = format!("`--classes {}`", values.len());
        assert!(run.complaint().contains(&advice), "{}", run.complaint());
        let classes = values.len().to_string();
        let run = inspect(&sandbox, &["--json", "--classes", &classes]).ok();
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(report["classes"].as_array().unwrap().len(), values.len());
    }
}

/// Three stripes of these values in ten masks.
fn striped(values: [u8; 3]) -> Sandbox {
    let sandbox = Sandbox::empty();
    write(&sandbox, 10, |nth| {
        gray(move |x, _| values[((x + nth) % SIDE) as usize * 3 / SIDE as usize])
    });
    sandbox
}

const TWO_STEPS: [&str; 6] = ["--img-size", "32x32", "--data", "data", "--max-steps", "2"];

#[test]
fn what_is_ignored_counts_neither_in_training_nor_in_scores() {
    let sandbox = striped([0, 1, 255]);
    let run = inspect(&sandbox, &[]).ok();
    insta::assert_snapshot!(run.stdout, @r"
    layout: images in `images`, masks in `masks`, masks named as their images
    no `val` folder: 1 of the 10 images in `data` are used for validation (seed 0)
    masks: binary, foreground 1
    ignored: 31.2 % of the pixels, with the value 255
    train: 9 images of 32x32, foreground 50.0 %
    val: 1 image of 32x32, foreground 50.0 %
    training: at 512x512 (their sides multiplied by 16.0), 9 images per step, 1 step per epoch, learning rate 0.0001; `--img-size 64x64` is about the size of the largest, and takes less memory and time; with few images, `--lr 0.001` learns faster
    ");
    let fit = |flags: &[&str]| {
        let flags = [&TWO_STEPS, flags].concat();
        sandbox.train(&small(&flags)).ok()
    };
    fit(&["--run-dir", "run"]);
    let config = String::from_utf8(sandbox.read("run/config.toml")).unwrap();
    assert!(config.contains("ignore = [255]"), "{config}");
    let evaluate = "evaluate --weights run/best.safetensors --data data --json --device cpu";
    let run = sandbox.train(&evaluate.split(' ').collect::<Vec<_>>()).ok();
    let scores: Value = serde_json::from_str(&run.stdout).unwrap();
    let validation = &sandbox.json("run/summary.json")["validation"];
    assert_eq!(scores["iou"], validation["best_iou"]);
    // A snapshot knows what is ignored, and what the user said.
    fit(&["--resume", "run", "--max-steps", "3"]);
    fit(&["--run-dir", "other", "--ignore", "#ffffff,200"]);
    fit(&[
        "--resume",
        "other",
        "--max-steps",
        "3",
        "--ignore",
        "#ffffff,200",
    ]);
    // Masks of another kind of void, for weights that know none.
    let sandbox = striped([0, 1, 2]);
    let flags = [&TWO_STEPS[..], &["--run-dir", "run"]].concat();
    sandbox.train(&small(&flags)).ok();
    write(&sandbox, 10, |_| {
        gray(|x, _| [0, 2, 255][x as usize * 3 / SIDE as usize])
    });
    let evaluate: Vec<_> = evaluate.split(' ').collect();
    let run = sandbox.train(&evaluate);
    assert_eq!(run.code, Some(2));
    assert!(
        run.complaint().contains("leave these out with `--ignore`"),
        "{}",
        run.complaint()
    );
    let run = sandbox
        .train(&[&evaluate[..], &["--ignore", "255"]].concat())
        .ok();
    assert!(
        run.stderr.contains("ignored: 31.2 % of the pixels"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_table_of_classes_settles_what_values_mean() {
    let table = "[classes]\nnames = [\"ground\", \"cell\"]\nvalues = [0, 255]\nignore = 128\n";
    let sandbox = striped([0, 128, 255]);
    std::fs::write(sandbox.path("my.toml"), table).unwrap();
    let run = inspect(&sandbox, &["--config", "my.toml", "--json"]).ok();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["classes"][1]["name"], "`cell`");
    assert_eq!(report["ignore"], serde_json::json!([128]));
    let flags = ["--class-values", "0,128,255", "--class-names", "a,b,c"];
    let run = inspect(&sandbox, &flags).ok();
    assert!(
        run.stdout.contains("3 classes: `a` 34.4 %, `b`"),
        "{}",
        run.stdout
    );
    // In the folder, it needs no flag.
    std::fs::write(sandbox.path("data/classes.toml"), table).unwrap();
    let run = sandbox
        .train(&small(&[&TWO_STEPS, &["--run-dir", "run"][..]].concat()))
        .ok();
    let listed = "masks: binary, foreground 255, as `data/classes.toml` lists them";
    assert!(run.stderr.contains(listed), "{}", run.stderr);
    // Values that it lacks, a line that is wrong, and classes that have changed since.
    for (table, complaint) in [
        (
            "batch = 2\n[classes]\nvalues = [0, 255]\n",
            "has the key `batch` as well",
        ),
        (
            "[classes]\nvalues = [0, 255]\n",
            "  128: 34.38 % of the pixels, in 10 file(s)",
        ),
        (
            "[classes]\nnames = [\"cell\"]\n",
            "`data/classes.toml` line 2: `class_names` must be",
        ),
    ] {
        std::fs::write(sandbox.path("data/classes.toml"), table).unwrap();
        let run = inspect(&sandbox, &[]);
        assert_eq!(run.code, Some(2));
        assert!(run.complaint().contains(complaint), "{}", run.complaint());
    }
    let other = "[classes]\nvalues = [255, 0]\nignore = [128]\n";
    std::fs::write(sandbox.path("data/classes.toml"), other).unwrap();
    let run = sandbox.train(&["fit", "--resume", "run", "--device", "cpu"]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.complaint().contains("have other classes"),
        "{}",
        run.complaint()
    );
}

#[test]
fn a_mask_can_be_its_alpha_and_images_lie_on_white() {
    let sandbox = Sandbox::empty();
    write(&sandbox, 5, |_| {
        RgbaImage::from_fn(SIDE, SIDE, |x, _| {
            Rgba([0, 0, 0, if x < 8 { 255 } else { 0 }])
        })
        .into()
    });
    let line_art = RgbaImage::from_fn(SIDE, SIDE, |x, _| Rgba([0, 0, 0, u8::from(x < 4) * 255]));
    save(&sandbox.path("data/images/1.png"), &line_art.into());
    let report = report(&sandbox);
    assert!((foreground(&report) - 0.25).abs() < 1e-9);
    assert_eq!(report["images"]["transparent"], 1);
}

#[test]
fn what_a_resize_loses_is_said() {
    let sandbox = Sandbox::empty();
    write(&sandbox, 5, |nth| {
        gray(move |x, _| u8::from(x == 5 + nth) * 255)
    });
    let said = |size| {
        let run = inspect(&sandbox, &["--img-size", size]).ok();
        run.stderr
            .contains("100 % of what is not background is thinner than a pixel at 16x16")
    };
    assert!(said("16x16") && !said("32x32"));
}

#[test]
fn nothing_to_learn_is_said_loudly() {
    for (value, class) in [(0, "background"), (255, "foreground")] {
        let sandbox = Sandbox::empty();
        write(&sandbox, 5, |_| gray(|_, _| value));
        let run = inspect(&sandbox, &[]).ok();
        let warning = format!("every pixel for training is {class}");
        assert!(run.stderr.contains(&warning), "{}", run.stderr);
        let fit = small(&[&TWO_STEPS, &["--run-dir", "run"][..]].concat());
        let run = sandbox.train(&fit);
        assert_eq!(run.code, Some(2));
        assert!(
            run.complaint().contains("`--force` trains all the same"),
            "{}",
            run.complaint()
        );
        assert!(!sandbox.path("run").exists());
        sandbox.train(&[&fit[..], &["--force"]].concat()).ok();
    }
}

#[test]
fn masks_say_how_many_classes_there_are_and_weights_remember() {
    let sandbox = Sandbox::empty();
    write(&sandbox, 10, |nth| {
        gray(move |x, _| [0, 5, 9][((x + nth) % 32) as usize * 3 / 32])
    });
    // Of 12 bits.
    for nth in 0..10 {
        let image = deep(|x, y| u16::try_from(x * 100 + y * 20).unwrap());
        save(&sandbox.path(&format!("data/images/{nth}.png")), &image);
    }
    let flags = [
        "--img-size",
        "32x32",
        "--data",
        "data",
        "--max-steps",
        "2",
        "--run-dir",
        "run",
    ];
    let run = sandbox.train(&small(&flags)).ok();
    assert!(
        run.stderr
            .contains("class numbers in their order, 3 classes"),
        "{}",
        run.stderr
    );
    let config = String::from_utf8(sandbox.read("run/config.toml")).unwrap();
    assert!(config.contains("classes = 3"), "{config}");
    // Alone in another folder, they know the size, the range and the numbers of the classes.
    std::fs::create_dir(sandbox.path("alone")).unwrap();
    std::fs::rename(
        sandbox.path("run/best.safetensors"),
        sandbox.path("alone/w.safetensors"),
    )
    .unwrap();
    let evaluate = [
        "evaluate",
        "--weights",
        "alone/w.safetensors",
        "--data",
        "data",
        "--json",
    ];
    let run = sandbox
        .train(&[&evaluate, &["--device", "cpu"][..]].concat())
        .ok();
    let scores: Value = serde_json::from_str(&run.stdout).unwrap();
    let validation = &sandbox.json("run/summary.json")["validation"];
    assert_eq!(scores["iou"], validation["best_iou"]);
    assert!(run.stderr.contains("kept in the weights"), "{}", run.stderr);
    assert!(
        run.stderr.contains("0 to 3720 become 0 to 255"),
        "{}",
        run.stderr
    );
}

#[test]
fn weights_know_the_channels_of_their_images() {
    for channels in ["1", "4"] {
        let sandbox = Sandbox::empty();
        write(&sandbox, 8, |_| gray(|x, _| u8::from(x < 12) * 255));
        for nth in 0..8 {
            let path = sandbox.path(&format!("data/images/{nth}.png"));
            let shade = move |x: u32, y: u32| u8::try_from((x * 7 + y * 5 + nth) % 256).unwrap();
            // What tells is in the alpha alone.
            let pixel = |x, y| Rgba([shade(x, y), 9, 9, if x < 12 { 250 } else { 5 }]);
            let image = if channels == "1" {
                gray(shade)
            } else {
                RgbaImage::from_fn(SIDE, SIDE, pixel).into()
            };
            save(&path, &image);
        }
        let asked = ["--data", "data", "--in-channels", channels];
        let steps = ["--max-steps", "2", "--run-dir", "run"];
        let run = sandbox.train(&small(&[&asked[..], &steps].concat())).ok();
        let noun = if channels == "1" {
            "channel"
        } else {
            "channels"
        };
        let note = format!("images: {channels} {noun}\n");
        assert!(run.stderr.contains(&note), "{}", run.stderr);
        let config = String::from_utf8(sandbox.read("run/config.toml")).unwrap();
        assert!(
            config.contains(&format!("in_channels = {channels}\n")),
            "{config}"
        );
        // They need no flag any more, and are resumed as they were.
        let weights = ["--weights", "run/best.safetensors", "--device", "cpu"];
        let evaluate = ["evaluate", "--data", "data", "--json"];
        let scores = sandbox
            .train(&[&evaluate[..], &weights].concat())
            .ok()
            .stdout;
        let scores: Value = serde_json::from_str(&scores).unwrap();
        let best = &sandbox.json("run/summary.json")["validation"]["best_iou"];
        assert_eq!(&scores["iou"], best);
        let predict = ["predict", "--out", "out", "--input"];
        let predict = [&predict[..], &["data/images/0.png"], &weights].concat();
        assert_eq!(
            sandbox.train(&predict).ok().stdout,
            "wrote 1 mask(s) to out\n"
        );
        let more = [
            "fit",
            "--resume",
            "run",
            "--max-steps",
            "3",
            "--device",
            "cpu",
        ];
        sandbox.train(&more).ok();
        // An image of other channels is refused by name.
        save(
            &sandbox.path("other.png"),
            &RgbImage::new(SIDE, SIDE).into(),
        );
        let predict = ["predict", "--out", "out", "--input", "other.png"];
        let run = sandbox.train(&[&predict[..], &weights].concat());
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        let complaint = format!("has three channels (RGB), but the network expects {channels}");
        assert!(run.complaint().contains(&complaint), "{}", run.stderr);
        save(
            &sandbox.path("data/images/7.png"),
            &RgbImage::new(SIDE, SIDE).into(),
        );
        let fit = small(&asked);
        for command in [&fit, &[&evaluate[..], &weights].concat()] {
            let run = sandbox.train(command);
            assert_eq!(run.code, Some(2), "{}", run.stderr);
            let complaint = "7.png` has 3, not ";
            assert!(run.complaint().contains(complaint), "{}", run.stderr);
        }
    }
    let run = Sandbox::empty().train(&small(&["--in-channels", "5"]));
    assert_eq!(run.code, Some(2));
    insta::assert_snapshot!(run.complaint(), @r"
    error: the built-in pages have 3 channels, not 5
    hint: name your own data with `--data DIR`
    ");
}
