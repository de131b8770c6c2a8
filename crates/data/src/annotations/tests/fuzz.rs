//! Damaged files end in an error or in masks, never in a panic.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// A good file of each format.
pub(crate) const GOOD: [(&str, &str); 7] = [
    (
        "a.json",
        r#"{"images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 6}], "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [[0.5, 0, 6, 0, 6, 4]], "iscrowd": 0},
        {"image_id": 1, "category_id": 2, "segmentation": {"size": [4, 6], "counts": "92207"}}],
        "categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]}"#,
    ),
    (
        "a.json",
        r#"{"shapes": [{"label": "x", "shape_type": "polygon", "points": [[1, 1], [5, 1], [5, 3.5]]},
        {"label": "y", "shape_type": "circle", "points": [[2, 2], [3, 3]]},
        {"label": "m", "shape_type": "mask", "points": [[1, 0], [3, 2]], "mask":
        "iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAAAAABzQ+pjAAAAFElEQVR4nGNkZGBgYGRgYGBgYAQAACsABcrAsIMAAAAASUVORK5CYII="}],
        "imagePath": "a.png", "imageHeight": 4, "imageWidth": 6}"#,
    ),
    (
        "a_polygons.json",
        r#"{"imgHeight": 4, "imgWidth": 6, "objects": [{"label": "road", "polygon": [[0, 0], [5, 0], [5, 3]]},
        {"label": "cargroup", "deleted": 0, "polygon": [[0, 0], [1, 0], [1, 1]]}]}"#,
    ),
    (
        "a.xml",
        r#"<annotations><image name="a.png" width="6" height="4"><polygon label="x" points="0,0;4,0;0,4" z_order="1"/>
        <ellipse label="y" cx="2" cy="2" rx="2.1" ry="1.4" rotation="20"/><box label="x" xtl="1" ytl="1" xbr="3" ybr="2"/>
        <mask label="x" rle="1, 2, 1" left="0" top="1" width="2" height="2"/></image></annotations>"#,
    ),
    (
        "a.xml",
        "<annotation><filename>a.png</filename><size><width>6</width><height>4</height></size><object><name>x</name>
        <polygon><x1>0</x1><y1>0</y1><x2>3</x2><y2>0</y2><x3>3</x3><y3>3</y3></polygon></object></annotation>",
    ),
    ("a.txt", "0 0 0 0.5 0 0.5 0.5 0 0.5\n1 0.5 0.5 1 0.5 1.0 1\n"),
    ("data.yaml", "train: .\nval: .\nnames: {0: x, 1: y}\n"),
];

/// Reads and paints; images that grew are left out, because their masks take long.
fn survive(name: &str, contents: &[u8]) {
    let dir = folder(&[("a.png", "4x6"), GOOD[5], GOOD[6]]);
    if name != "a.txt" && name != "data.yaml" {
        fs::remove_file(dir.path().join("a.txt")).unwrap();
    }
    fs::write(dir.path().join(name), contents).unwrap();
    match read(dir.path()) {
        Ok(found) => {
            for image in found.iter().flat_map(|found| &found.images) {
                if image.size.0 * image.size.1 < 1 << 20 {
                    let mask = rasterise(image, Uncertain::Ignore);
                    assert_eq!(mask.len(), image.size.0 * image.size.1);
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[test]
fn the_good_files_are_good() {
    for (name, contents) in GOOD {
        let dir = folder(&[
            ("a.png", "4x6"),
            (name, contents),
            if name == "data.yaml" {
                GOOD[5]
            } else {
                GOOD[6]
            },
        ]);
        let found = read(dir.path()).unwrap().unwrap();
        assert!(
            rasterise(&found.images[0], Uncertain::Ignore)
                .iter()
                .any(|&value| value > 0),
            "{name}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_bytes(file in 0..GOOD.len(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survive(GOOD[file].0, &bytes);
    }

    #[test]
    fn changed_bytes(
        file in 0..GOOD.len(),
        changes in prop::collection::vec((any::<Index>(), prop::sample::select(&b"0123456789-.eE,;:[]{}\"<>/&nx \n\xFF"[..])), 1..6),
    ) {
        let mut bytes = GOOD[file].1.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        survive(GOOD[file].0, &bytes);
    }

    #[test]
    fn moved_parts(file in 0..GOOD.len(), from in any::<Index>(), to in any::<Index>(), at in any::<Index>()) {
        let bytes = GOOD[file].1.as_bytes();
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let part = &bytes[from.min(to)..from.max(to)];
        let at = at.index(bytes.len());
        survive(GOOD[file].0, &[&bytes[..at], part, &bytes[at..]].concat());
        survive(GOOD[file].0, &[&bytes[..from.min(to)], &bytes[from.max(to)..]].concat());
    }
}
