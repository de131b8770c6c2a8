//! Folders as people and tools have them: each trains with nothing but `--data`.

use std::path::Path;

use image::{GrayImage, Luma};

use super::{Sandbox, small};

/// Images with their masks, with `#` for the number of an image.
const LAYOUTS: &str = "
    train/images/#.png train/masks/#_mask.png | val/images/#.png val/masks/#_mask.png
    imgs/#.jpg masks/#_mask.png
    image/#.png label/#.png
    train/images/#.png train/labels/#.png | valid/images/#.png valid/labels/#.png
    images/train/#.png masks/train/#.png | images/Val/#.png masks/Val/#.png
    images/#.PNG labels/#_seg.png
    #.jpg #_mask.png
    images/one/#.png masks/one/#.png | images/two/#.png masks/two/#.png
    imagesTr/case_#_0000.png labelsTr/case_#.png
    #/images/#.png #/masks/a.png #/masks/b.png
    train/#_jpg.rf.0a.jpg train/#_jpg.rf.0a_mask.png | valid/#_jpg.rf.0b.jpg valid/#_jpg.rf.0b_mask.png
    JPEGImages/#.jpg SegmentationClass/#.png
";
const SIDE: u32 = 32;

/// A picture whose pixels are `value` of their column.
fn save(path: &Path, value: impl Fn(u32) -> u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = GrayImage::from_fn(SIDE, SIDE, |x, _| Luma([value(x)]));
    picture.save(path).unwrap();
}

/// Writes four images of each part to `data`.
fn write(sandbox: &Sandbox, parts: &str) {
    for (part, first) in parts.split(" | ").zip((0_u32..).step_by(4)) {
        for nth in first..first + 4 {
            let names = part.replace('#', &nth.to_string());
            let mut paths = names.split(' ').map(|name| sandbox.path("data").join(name));
            save(&paths.next().unwrap(), |x| {
                u8::try_from((x * 7 + nth * 3) % 256).unwrap()
            });
            for (path, stripe) in paths.zip(1..) {
                save(&path, |x| u8::from(x / 8 == stripe) * 255);
            }
        }
    }
}

#[test]
fn each_layout_trains_with_nothing_but_its_folder() {
    for parts in LAYOUTS.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let sandbox = Sandbox::empty();
        write(&sandbox, parts);
        if parts.starts_with("JPEGImages") {
            let list = |part| format!("data/ImageSets/Segmentation/{part}.txt");
            sandbox.write(&list("train"), "0\n1\n2\n");
            sandbox.write(&list("val"), "3\n");
        }
        let flags = ["--data", "data", "--max-steps", "1", "--run-dir", "run"];
        let run = sandbox.train(&small(&flags));
        assert_eq!(run.code, Some(0), "{parts}: {}", run.stderr);
        let said = |words| run.stderr.contains(words);
        assert!(
            said("masks: binary, foreground 255"),
            "{parts}: {}",
            run.stderr
        );
        assert!(!said("left out"), "{parts}: {}", run.stderr);
    }
}

#[test]
fn annotations_need_one_command_which_the_refusal_names() {
    let sandbox = Sandbox::empty();
    for name in ["a", "b"] {
        save(&sandbox.path(&format!("data/{name}.png")), |x| {
            u8::try_from(x).unwrap()
        });
        let annotation = r#"{"imagePath": "NAME.png", "imageWidth": 32, "imageHeight": 32, "shapes": [
            {"label": "cell", "points": [[1, 1], [20, 1], [9, 20]], "shape_type": "polygon"}]}"#;
        let annotation = annotation.replace("NAME", name);
        sandbox.write(&format!("data/{name}.json"), annotation);
    }
    let run = sandbox.train(&small(&["--data", "data"]));
    assert_eq!(run.code, Some(2));
    let complaint = run.complaint();
    assert!(complaint.contains("train import data --out"), "{complaint}");
    sandbox.train(&["import", "data", "--out", "new"]).ok();
    // The table of its classes is read.
    let run = sandbox.train(&["inspect", "new", "--json"]);
    assert!(
        run.stdout.contains("`cell`"),
        "{}{}",
        run.stdout,
        run.stderr
    );
}
