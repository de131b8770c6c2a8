use super::*;

const MASK: &str = "iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAAAAABzQ+pjAAAAFElEQVR4nGNkZGBgYGRgYGBgYAQAACsABcrAsIMAAAAASUVORK5CYII=";

fn file(image: &str, shapes: &str) -> String {
    format!(
        r#"{{"version": "6.3.1", "flags": {{}}, "shapes": [{shapes}], "imagePath": "{image}",
        "imageData": null, "imageHeight": 9, "imageWidth": 12}}"#
    )
}

#[test]
fn shapes_are_painted_as_by_labelme() {
    // labelme 6.3.1 with Pillow 13.0.0:
    // shapes_to_label((9, 12), shapes, {"_background_": 0, "box": 1, "disc": 2, "leaf": 3, "__ignore__": -1})
    let shapes = format!(
        r#"{{"label": "leaf", "shape_type": "polygon", "points": [[0.9, 0.9], [5, 1], [1.5, 5]], "mask": ""}},
        {{"label": "box", "shape_type": "rectangle", "points": [[9.5, 3.2], [7, 1]], "group_id": null}},
        {{"label": "disc", "shape_type": "circle", "points": [[3, 6], [4.5, 7.5]]}},
        {{"label": "_background_", "shape_type": "rectangle", "points": [[3, 6], [3, 6]]}},
        {{"label": "__ignore__", "shape_type": null, "points": [[8, 7], [11, 7], [11, 9], [8, 9]]}},
        {{"label": "leaf", "shape_type": "mask", "points": [[9, 0], [11, 2]], "mask": "{MASK}"}},
        {{"label": "box", "shape_type": "oriented_rectangle", "points": [[6, 5], [7, 4], [9, 6], [8, 7]]}},
        {{"label": "tip", "shape_type": "point", "points": [[1, 1]]}},
        {{"label": "edge", "shape_type": "linestrip", "points": [[1, 1], [2, 2], [5, 1]]}},
        {{"label": "edge", "shape_type": "line", "points": [[1, 1], [2, 2]]}},
        {{"label": "leaf", "shape_type": "polygon", "points": [[1, 1], [2, 2]]}},
        {{"label": "leaf", "shape_type": "cuboid", "points": [[1, 1], [2, 2]]}}"#
    );
    let found = annotations(&[
        ("test/a.json", &file("a.png", &shapes)),
        ("test/a.png", "9x12"),
    ]);
    assert_eq!(
        (found.format, &found.classes[..]),
        (
            Format::LabelMe,
            &["box".into(), "disc".into(), "leaf".into()][..]
        )
    );
    assert_eq!(found.images[0].part, Some(Part::Test));
    assert_eq!(
        rows(&found.images[0], Uncertain::Ignore),
        [
            "3........333",
            "333333.113..",
            "33333..111.3",
            ".322...111..",
            ".2222..1....",
            "222222111...",
            "222.22.111..",
            ".2222...1###",
            "..22....####"
        ]
    );
    assert_eq!(
        ignored(&found),
        [
            "1 point (first in `test/a.json`)",
            "2 lines (first in `test/a.json`)",
            "1 shape without an area (first in `test/a.json`)",
            "1 outline of fewer than three points (first in `test/a.json`)",
        ]
    );
}

#[test]
fn the_image_is_found_where_the_file_says_or_beside_it() {
    let leaf = r#"{"label": "leaf", "shape_type": "polygon", "points": [[1, 1], [5, 1], [5, 5]]}"#;
    for (json, path, image) in [
        ("labels/a.json", "../images/a.png", "images/a.png"),
        (r"labels/a.json", r"..\\images\\a.png", "images/a.png"),
        ("labels/a.json", "./a.png", "deep/images/a.png"),
        ("labels/new.json", "old.png", "labels/new.PNG"),
        ("a.json", "a.json", "a.jpg"),
        (
            "labels/a.json",
            "\u{e4}/\u{540d} 1.png",
            "\u{e4}/\u{540d} 1.png",
        ),
    ] {
        let found = annotations(&[(json, &file(path, leaf)), (image, "9x12")]);
        assert!(found.images[0].file.ends_with(image), "{path}: {found:?}");
    }
    let missing = refusal(&[("a.json", &file("b.png", leaf)), ("c.png", "9x12")]);
    assert_eq!(
        missing,
        "`DIR/a.json` annotates 1 image(s) that are not in the folder, such as `b.png`"
    );
}

#[test]
fn a_size_that_is_missing_is_that_of_the_image() {
    let text = file("a.png", "")
        .replace("9,", "null,")
        .replace(r#","imageWidth": 12"#, "");
    let found = annotations(&[("a.json", &text), ("a.png", "5x7")]);
    assert_eq!(
        (found.images[0].size, found.images[0].shapes.len()),
        ((5, 7), 0)
    );
    let text = refusal(&[("a.json", &text), ("a.png", "no image")]);
    assert_eq!(
        text,
        "`DIR/a.json` annotates an image whose size cannot be read"
    );
}

#[test]
fn a_damaged_mask_is_refused() {
    for (mask, points, expected) in [
        ("", "[[9, 0], [11, 2]]", "its mask is damaged: "),
        ("?", "[[9, 0], [11, 2]]", "its mask is damaged: "),
        (&MASK[..60], "[[9, 0], [11, 2]]", "its mask is damaged: "),
        (
            MASK,
            "[[9, 0], [12, 2]]",
            "its mask is 3x3 (height x width), but it should be 3x4",
        ),
        (
            MASK,
            "[[9, 0], [7, -1]]",
            "its mask is 3x3 (height x width), but it should be 0x0",
        ),
    ] {
        let shape = format!(
            r#"{{"label": "a", "shape_type": "mask", "points": {points}, "mask": "{mask}"}}"#
        );
        let text = refusal(&[("a.json", &file("a.png", &shape)), ("a.png", "9x12")]);
        assert!(
            text.starts_with(&format!(
                "`DIR/a.json` has a mistake in shape 1: {expected}"
            )),
            "{text}"
        );
    }
}
