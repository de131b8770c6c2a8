//! Reads annotations beside an image, and paints their masks. The first byte chooses the name of the
//! file, from which its format is guessed; in one case the others are the run-length encoded mask of a file.

#![no_main]

use std::fs;

use data::annotations::{self, Uncertain, rasterise};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const NAMES: [&str; 6] = [
    "a.json",
    "a_polygons.json",
    "a.xml",
    "a.txt",
    "data.yaml",
    RLE,
];
const RLE: &str = "rle";
/// An image of 4x6.
const IMAGE: &[u8] = include_bytes!("../seeds/image_file/gray.png");
/// Larger masks take long.
const MAX_PIXELS: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, contents)) = bytes.split_first() else {
        return;
    };
    let root = fuzz::folder().join("annotations");
    fs::create_dir_all(&root).expect("a folder can be made");
    let write = |name: &str, contents: &[u8]| {
        fs::write(root.join(name), contents).expect("a file can be written");
    };
    write("a.png", IMAGE);
    let name = fuzz::format(&NAMES).unwrap_or(NAMES[usize::from(choice) % NAMES.len()]);
    // The two files of YOLO need each other.
    if name == "data.yaml" {
        write("a.txt", b"0 0 0 0.5 0 0.5 0.5 0 0.5\n");
    } else if name == "a.txt" {
        write("data.yaml", b"train: .\nval: .\nnames: {0: x, 1: y}\n");
    }
    if name == RLE {
        write("a.json", rle(contents).to_string().as_bytes());
    } else {
        write(name, contents);
    }
    match annotations::read(&root) {
        Ok(found) => {
            for image in found.iter().flat_map(|found| &found.images) {
                if image.size.0.saturating_mul(image.size.1) <= MAX_PIXELS {
                    let mask = rasterise(image, Uncertain::Ignore);
                    assert_eq!(mask.len(), image.size.0 * image.size.1);
                }
            }
        }
        Err(error) => drop((error.to_string(), error.hint())),
    }
    fs::remove_dir_all(&root).expect("it was made here");
});

/// COCO's JSON with a run-length encoded mask: its text, or lengths of runs of which the last one fills the image.
fn rle(bytes: &[u8]) -> Value {
    let Some(([is_text, height, width], runs)) = bytes.split_first_chunk() else {
        return Value::Null;
    };
    let (height, width) = (u32::from(*height), u32::from(*width));
    let counts = if is_text % 2 == 1 {
        json!(String::from_utf8_lossy(runs))
    } else {
        let mut left = height * width;
        let mut counts: Vec<u32> = Vec::new();
        for run in runs {
            let run = u32::from(*run).min(left);
            left -= run;
            counts.push(run);
        }
        counts.push(left);
        json!(counts)
    };
    json!({
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "annotations": [{
            "image_id": 1, "category_id": 1, "iscrowd": 1,
            "segmentation": {"size": [height, width], "counts": counts},
        }],
        "categories": [{"id": 1, "name": "x"}],
    })
}
