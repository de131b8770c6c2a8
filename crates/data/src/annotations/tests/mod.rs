//! Folders of each format as tools write them, and what can be wrong with them.

mod coco;
mod fuzz;
mod images;
mod labelme;
mod limits;
mod xml;
mod yolo;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
pub(crate) use fuzz::GOOD;

/// A folder with these files. Images have their size as contents: height x width.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match contents
            .split_once('x')
            .map(|(height, width)| (height.parse(), width.parse()))
        {
            Some((Ok(height), Ok(width))) => {
                image::GrayImage::new(width, height)
                    .save_with_format(&path, image::ImageFormat::Png)
                    .unwrap();
            }
            _ => fs::write(&path, contents).unwrap(),
        }
    }
    dir
}

fn annotations(files: &[(&str, &str)]) -> Annotations {
    read(folder(files).path()).unwrap().unwrap()
}

/// The message with `DIR` for the folder.
fn refusal(files: &[(&str, &str)]) -> String {
    let dir = folder(files);
    let error = read(dir.path()).unwrap_err();
    error
        .to_string()
        .replace(&dir.path().display().to_string(), "DIR")
}

/// The rows of the mask of an image as text, with `.` for background and `#` for ignored pixels.
fn rows(image: &AnnotatedImage, uncertain: Uncertain) -> Vec<String> {
    let letter = |&value: &u8| match value {
        0 => '.',
        IGNORE => '#',
        class => char::from(b'0' + class),
    };
    let mask = rasterise(image, uncertain);
    mask.chunks(image.size.1)
        .map(|row| row.iter().map(letter).collect())
        .collect()
}

fn ignored(annotations: &Annotations) -> Vec<String> {
    annotations
        .ignored
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The end of a path.
fn name(image: &AnnotatedImage) -> &str {
    image
        .file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap()
}

#[test]
fn a_folder_without_annotations_has_none() {
    for files in [
        &[][..],
        &[("images/a.png", "2x2"), ("masks/a.png", "2x2")],
        &[
            ("package.json", r#"{"name": "x", "images": []}"#),
            ("list.json", "[1]"),
            ("b.json", "{"),
        ],
        &[
            ("config.yaml", "names: [a]\ntrain: images"),
            ("a.png", "1x1"),
        ],
        &[
            ("a.xml", "<svg/>"),
            ("b.xml", "<"),
            ("notes.txt", "0 0 0 1 1"),
        ],
        &[(".hidden/a.json", r#"{"shapes": [], "imagePath": "a.png"}"#)],
    ] {
        assert_eq!(read(folder(files).path()).unwrap(), None, "{files:?}");
    }
    let error = read(Path::new("/no/such")).unwrap_err();
    assert_eq!(error.to_string(), "`/no/such` cannot be read");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<std::io::Error>(), "{source}");
}

#[test]
fn two_formats_are_refused() {
    let text = refusal(&[
        ("a.json", r#"{"shapes": [], "imagePath": "a.png"}"#),
        ("b.xml", "<annotations/>"),
    ]);
    assert_eq!(
        text,
        "`DIR/b.xml` has the format CVAT, but `DIR/a.json` has the format LabelMe"
    );
}

#[test]
fn a_damaged_file_is_refused_with_its_format() {
    let good = ("a.json", r#"{"shapes": [], "imagePath": "a.png"}"#);
    for (damaged, format) in [
        (r#"{"images": [{"id": 1, "#, "COCO"),
        (r#"{"version": "5", "imagePath": "a.png", "sha"#, "LabelMe"),
        (r#"{"imgHeight": 4, "imgWidth": N"#, "Cityscapes"),
    ] {
        let text = refusal(&[("b.json", damaged)]);
        assert!(
            text.starts_with(&format!("`DIR/b.json` is not a valid {format} file: ")),
            "{text}"
        );
    }
    // Beside good files, any damaged one may be an annotation.
    let text = refusal(&[good, ("a.png", "1x1"), ("b.json", "")]);
    assert!(
        text.starts_with("`DIR/b.json` is not a valid LabelMe file: "),
        "{text}"
    );
    for (name, file) in [
        ("a.xml", "<annotation><object>"),
        ("a.xml", "<annotations><image/"),
    ] {
        assert!(
            refusal(&[(name, file)]).contains("is not a valid"),
            "{file}"
        );
    }
}
