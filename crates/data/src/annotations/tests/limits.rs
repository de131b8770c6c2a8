//! Files that claim more than they should.

use std::fmt::Write as _;

use super::*;

fn coco(size: &str, segmentation: &str) -> String {
    format!(
        r#"{{"images": [{{"id": 1, "file_name": "a.png", {size}}}], "annotations": [{{"image_id": 1,
        "category_id": 1, "segmentation": {segmentation}}}], "categories": [{{"id": 1, "name": "x"}}]}}"#
    )
}

#[test]
fn sizes_are_limited() {
    for (size, shown) in [
        (r#""height": 16385, "width": 1"#, "16385x1"),
        (
            r#""height": 1, "width": 18446744073709551615"#,
            "1x18446744073709551615",
        ),
        (r#""height": 0, "width": 1"#, "0x1"),
        (r#""height": -4, "width": 1"#, "0x1"),
        (r#""height": 2.5, "width": 1e300"#, "0x18446744073709551615"),
    ] {
        let text = refusal(&[
            ("a.json", &coco(size, "[[0, 0, 1, 0, 1, 1]]")),
            ("a.png", "1x1"),
        ]);
        let expected = format!(
            "`DIR/a.json` says that `a.png` is {shown} (height x width), but Snug accepts 1x1 to 16384x16384"
        );
        assert_eq!(text, expected);
    }
    // The size of a mask is compared before its area is computed.
    let huge = r#"{"size": [18446744073709551615, 18446744073709551615], "counts": [1]}"#;
    let text = refusal(&[
        ("a.json", &coco(r#""height": 1, "width": 1"#, huge)),
        ("a.png", "1x1"),
    ]);
    assert!(
        text.contains("its mask is 18446744073709551615x18446744073709551615"),
        "{text}"
    );
    let size = r#""height": 18446744073709551615, "width": 18446744073709551615"#;
    let text = refusal(&[("a.json", &coco(size, huge)), ("a.png", "1x1")]);
    assert!(text.contains("its RLE covers 1 pixels"), "{text}");
}

#[test]
fn a_corner_far_outside_costs_nothing() {
    let ring = "[[-1e6, -1e6, 1e6, -999999.5, 1e6, 1e6, -1e6, 1e6]]";
    let found = annotations(&[
        ("a.json", &coco(r#""height": 3, "width": 5"#, ring)),
        ("a.png", "1x1"),
    ]);
    assert_eq!(rows(&found.images[0], Uncertain::Paint), ["11111"; 3]);
    for rule in [Rule::Coco, Rule::Pillow, Rule::OpenCv] {
        let rings = vec![vec![[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]]];
        let mut image = found.images[0].clone();
        image.shapes[0].outline = Outline::Polygons { rings, rule };
        assert_eq!(rows(&image, Uncertain::Paint), ["11111"; 3], "{rule:?}");
    }
}

#[test]
fn outlines_that_take_hours_are_refused() {
    // A zigzag over the largest image: 3 MB that visit 2.6e10 columns.
    let zigzag = vec!["0,0,16384,9"; 800_000].join(",");
    let size = r#""height": 16384, "width": 16384"#;
    let text = refusal(&[
        ("a.json", &coco(size, &format!("[[{zigzag}]]"))),
        ("a.png", "1x1"),
    ]);
    assert_eq!(
        text,
        "`DIR/a.json` has outlines of `a.png` that are too long or too many to be painted"
    );
    // The same number of points in a small image is only large.
    let small = coco(r#""height": 8, "width": 9"#, &format!("[[{zigzag},0,8]]"));
    let found = annotations(&[("a.json", &small), ("a.png", "8x9")]);
    assert_eq!(rasterise(&found.images[0], Uncertain::Paint).len(), 72);
    let squares = vec!["[0,0,16384,0,16384,16384,0,16384]"; 65].join(",");
    let text = refusal(&[
        ("a.json", &coco(size, &format!("[{squares}]"))),
        ("a.png", "1x1"),
    ]);
    assert!(text.contains("too long or too many"), "{text}");
}

#[test]
fn deeply_nested_files_are_harmless() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let good = coco(r#""height": 1, "width": 1"#, "[[0, 0, 1, 0, 1, 1]]");
    let unknown = good.replacen('{', &format!(r#"{{"info": {deep}, "#), 1);
    assert_eq!(
        annotations(&[("a.json", &unknown), ("a.png", "1x1")])
            .images
            .len(),
        1
    );
    let text = refusal(&[
        ("a.json", &coco(r#""height": 1, "width": 1"#, &deep)),
        ("a.png", "1x1"),
    ]);
    assert!(
        text.starts_with("`DIR/a.json` is not a valid COCO file: "),
        "{text}"
    );
    let elements = format!("<annotations>{}", "<a>".repeat(300_000));
    assert!(refusal(&[("a.xml", &elements)]).starts_with("`DIR/a.xml` is not a valid CVAT file: "));
    let yaml = format!("train: images\nnames: {}", "[".repeat(100_000));
    let text = refusal(&[("a.yaml", &yaml), ("labels/a.txt", "0 0 0 1 0 1 1")]);
    assert!(
        text.starts_with("`DIR/a.yaml` is not a valid YOLO file: "),
        "{text}"
    );
}

#[test]
fn aliases_in_yaml_do_not_multiply() {
    let mut yaml = "train: images\na0: &a0 [x, x]\n".to_owned();
    for i in 1..40 {
        writeln!(yaml, "a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}]", i - 1).unwrap();
    }
    yaml += "names: *a39\n";
    let text = refusal(&[("a.yaml", &yaml), ("labels/a.txt", "0 0 0 1 0 1 1")]);
    assert!(
        text.starts_with("`DIR/a.yaml` is not a valid YOLO file: "),
        "{text}"
    );
}

#[test]
fn classes_are_limited() {
    let files = |count: usize| {
        let names: Vec<_> = (0..count).map(|i| format!("c{i}")).collect();
        format!("train: images\nnames: [{}]\n", names.join(", "))
    };
    let label = ("labels/a.txt", "0 0 0 1 0 1 1");
    let found = annotations(&[("a.yaml", &files(254)), label, ("images/a.png", "2x2")]);
    assert_eq!(found.classes.len(), 254);
    let text = refusal(&[("a.yaml", &files(255)), label, ("images/a.png", "2x2")]);
    assert_eq!(
        text,
        "`DIR/a.yaml` has 255 classes, but a mask can hold at most 254"
    );
}

#[test]
fn many_attributes_and_vertices_take_linear_time() {
    // Quadratic time would be minutes here.
    let attributes: Vec<_> = (0..200_000).map(|i| format!("a{i}='1'")).collect();
    let attributes = attributes.join(" ");
    let points = vec!["1,1;2,2;3,1"; 300_000].join(";");
    let text = format!(
        "<annotations><image name='a.png' width='4' height='4' {attributes}><polygon label='a' points='{points}'/></image></annotations>"
    );
    let found = annotations(&[("a.xml", &text), ("a.png", "4x4")]);
    assert_eq!(rasterise(&found.images[0], Uncertain::Paint).len(), 16);
}
