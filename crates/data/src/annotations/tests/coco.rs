use super::*;

/// A file with these images, annotations and the categories 7 `cat` and 3 `dog`.
fn file(images: &str, annotations: &str) -> String {
    format!(
        r#"{{"info": {{"year": 2026}}, "images": [{images}], "annotations": [{annotations}],
        "categories": [{{"id": 7, "name": "cat"}}, {{"id": 3, "name": "dog", "supercategory": "x"}}]}}"#
    )
}

const IMAGE: &str = r#"{"id": 10, "file_name": "a.png", "height": 4, "width": 6}"#;

fn one(annotations: &str) -> String {
    file(IMAGE, annotations)
}

#[test]
fn polygons_and_masks_are_painted_in_the_order_of_the_file() {
    // The same annotations by pycocotools 2.0.11:
    // coco = COCO("a.json")
    // for ann in coco.anns.values(): print(coco.annToMask(ann))
    let text = one(
        r#"{"id": 1, "image_id": 10, "category_id": 7, "iscrowd": 0, "bbox": [0, 0, 3, 3],
            "segmentation": [[0, 0, 3, 0, 3, 3, 0, 3], [4.5, 0, 6, 0, 6, 2.5, 4.5, 2.5]]},
        {"id": 2, "image_id": 10, "category_id": 3, "iscrowd": 0,
            "segmentation": {"size": [4, 6], "counts": [9, 2, 2, 2, 9]}},
        {"id": 3, "image_id": 10, "category_id": 3, "iscrowd": 1,
            "segmentation": {"size": [4, 6], "counts": "=1303"}}"#,
    );
    let found = annotations(&[("x/instances_val2017.json", &text), ("images/a.png", "4x6")]);
    assert_eq!(
        (found.format, &found.classes[..]),
        (Format::Coco, &["dog".into(), "cat".into()][..])
    );
    assert_eq!(ignored(&found), [""; 0]);
    let [image] = &found.images[..] else {
        panic!("{found:?}")
    };
    assert!(image.file.ends_with("images/a.png"));
    assert_eq!((image.size, image.part), ((4, 6), Some(Part::Val)));
    assert_eq!(
        rows(image, Uncertain::Paint),
        ["222..2", "221112", "2211.2", "......"]
    );
    assert_eq!(
        rows(image, Uncertain::Ignore),
        ["222..2", "221##2", "2211.2", "......"]
    );
}

#[test]
fn what_has_no_outline_is_counted() {
    let text = file(
        &format!(r#"{IMAGE}, {{"id": 11, "file_name": "gone.png", "height": 4, "width": 6}}"#),
        r#"{"image_id": 10, "category_id": 7, "segmentation": [], "bbox": [0, 0, 2, 2]},
        {"image_id": 10, "category_id": 7, "segmentation": [[1, 1, 3, 3]]},
        {"image_id": 10, "category_id": 7, "segmentation": [[0, 0, 6, 0, 6, 4], [1, 1]]},
        {"image_id": 11, "category_id": 7, "segmentation": [[0, 0, 6, 0, 6, 4]]},
        {"image_id": 99, "category_id": 7, "segmentation": [[0, 0, 6, 0, 6, 4]]}"#,
    );
    let found = annotations(&[("a.json", &text), ("a.png", "4x6")]);
    assert_eq!((found.images.len(), found.images[0].shapes.len()), (1, 1));
    assert_eq!(
        ignored(&found),
        [
            "1 box without an outline (first in `a.json`)",
            "1 outline of fewer than three points (first in `a.json`)",
            "1 annotation of an unlisted image (first in `a.json`)",
            "1 image that is missing (first in `a.json`)",
        ]
    );
    let boxes = one(r#"{"image_id": 10, "category_id": 7, "bbox": [0, 0, 2, 2]}"#);
    assert_eq!(
        refusal(&[("a.json", &boxes), ("a.png", "4x6")]),
        "`DIR/a.json` has boxes, no outlines (COCO)"
    );
}

#[test]
fn captions_and_keypoints_are_left_out() {
    let outlines =
        one(r#"{"image_id": 10, "category_id": 7, "segmentation": [[0, 0, 6, 0, 6, 4]]}"#);
    let captions = format!(
        r#"{{"images": [{IMAGE}], "annotations": [{{"image_id": 10, "id": 1, "caption": "A cat."}}]}}"#
    );
    let keypoints = format!(
        r#"{{"images": [{IMAGE}], "annotations": [{{"image_id": 10, "category_id": 1,
        "segmentation": [[0, 0, 6, 0, 6, 4]]}}],
        "categories": [{{"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}}]}}"#
    );
    let found = annotations(&[
        ("annotations/captions_val.json", &captions),
        ("annotations/instances_val.json", &outlines),
        ("annotations/person_keypoints_val.json", &keypoints),
        ("val/a.png", "4x6"),
    ]);
    assert_eq!(found.classes, ["dog", "cat"]);
    assert_eq!(
        ignored(&found),
        ["2 files of captions or keypoints (first in `annotations/captions_val.json`)"]
    );
    let text = refusal(&[("captions.json", &captions), ("a.png", "4x6")]);
    assert_eq!(text, "`DIR/captions.json` contains captions, no outlines");
}

#[test]
fn mistakes_are_named() {
    let category = r#""image_id": 10, "category_id": 7"#;
    for (annotation, expected) in [
        (
            r#""image_id": 10, "category_id": 5, "segmentation": [[0, 0, 6, 0, 6, 4]]"#.to_owned(),
            "the class `5` is not defined",
        ),
        (
            format!(r#"{category}, "segmentation": {{"size": [4, 6], "counts": [9, 2, 2]}}"#),
            "its RLE covers 13 pixels, but the mask has 24",
        ),
        (
            format!(r#"{category}, "segmentation": {{"size": [6, 4], "counts": [24]}}"#),
            "its mask is 6x4 (height x width), but it should be 4x6",
        ),
        (
            format!(r#"{category}, "segmentation": {{"size": [4, 6], "counts": "b0 4"}}"#),
            "its mask is damaged: its text has a character that is not of an RLE",
        ),
        (
            format!(r#"{category}, "segmentation": [[0, 0, 6, 0, 6]]"#),
            "it has 5 coordinates, but each point needs two",
        ),
        (
            format!(r#"{category}, "segmentation": [[0, 0, 6, 0, 6, 4e9]]"#),
            "the coordinate 4000000000 is not between -1000000 and 1000000",
        ),
    ] {
        let text = refusal(&[
            ("a.json", &one(&format!("{{{annotation}}}"))),
            ("a.png", "4x6"),
        ]);
        assert_eq!(
            text,
            format!("`DIR/a.json` has a mistake in annotation 1 of the file: {expected}")
        );
    }
    for values in ["NaN", "1e999", "\"1\"", "[1]", "null"] {
        let annotation = format!(r#"{{{category}, "segmentation": [[0, 0, 6, 0, 6, {values}]]}}"#);
        let text = refusal(&[("a.json", &one(&annotation)), ("a.png", "4x6")]);
        assert!(
            text.starts_with("`DIR/a.json` is not a valid COCO file: "),
            "{values}: {text}"
        );
    }
}

#[test]
fn ids_may_be_texts_but_not_repeat() {
    let text = r#"{"images": [{"id": "a", "file_name": "a.png", "height": 2.0, "width": 2}],
        "annotations": [{"image_id": "a", "category_id": "x", "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}],
        "categories": [{"id": "x", "name": "cat"}, {"id": 2, "name": "_background_"}]}"#;
    let found = annotations(&[("a.json", text), ("a.png", "2x2")]);
    assert_eq!(found.classes, ["cat"]);
    assert_eq!(rows(&found.images[0], Uncertain::Paint), ["11", "11"]);
    for (part, entry) in [("images", "image a"), ("categories", "category x")] {
        let list = &text[text.find(&format!("\"{part}\": [")).unwrap() + part.len() + 5..];
        let first = &list[..=list.find('}').unwrap()];
        let twice = text.replacen(first, &format!("{first}, {first}"), 1);
        assert_eq!(
            refusal(&[("a.json", &twice), ("a.png", "2x2")]),
            format!("`DIR/a.json` has a mistake in {entry}: another one has the same id")
        );
    }
}
