//! Reads annotations beside an image, and paints their masks. The first byte chooses the name of the
//! file, from which its format is guessed.

#![no_main]

use std::fs;

use data::annotations::{self, Uncertain, rasterise};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 5] = [
    "a.json",
    "a_polygons.json",
    "a.xml",
    "a.txt",
    "data.yaml",
];
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
    let name = NAMES[usize::from(choice) % NAMES.len()];
    // The two files of YOLO need each other.
    if name == "data.yaml" {
        write("a.txt", b"0 0 0 0.5 0 0.5 0.5 0 0.5\n");
    } else if name == "a.txt" {
        write("data.yaml", b"train: .\nval: .\nnames: {0: x, 1: y}\n");
    }
    write(name, contents);
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
