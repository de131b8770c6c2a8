//! CVAT, PASCAL VOC and Cityscapes.

use super::*;

fn cvat(contents: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><job><labels>
    <label><name>leaf &amp; stem</name><color>#ff0000</color><type>any</type><attributes>
      <attribute><name>side</name></attribute></attributes></label>
    <label><name>box</name></label>
    <label><name>tip</name><type>points</type></label>
  </labels></job></meta>
  {contents}
</annotations>"#
    )
}

fn cvat_image(shapes: &str) -> String {
    cvat(&format!(
        r#"<image id="0" name="a.png" subset="Train" width="12" height="8">{shapes}</image>"#
    ))
}

#[test]
fn cvat_shapes_are_painted_by_z_order() {
    // pycocotools 2.0.11 for polygons and boxes, opencv-python-headless 5.0.0.93 for the ellipse:
    // cv2.ellipse(mask, (round(9.2), round(4.4)), (round(2.1), round(3.4)), 0, 0, 360, 1, -1)
    let shapes = r#"
        <polygon label="leaf &amp; stem" source="manual" occluded="0" points="0.00,0.00;4.00,0.00;0.00,4.00" z_order="1"/>
        <box label="box" occluded="0" xtl="1.5" ytl="1" xbr="6" ybr="4.5" z_order="0"><attribute name="side">left</attribute></box>
        <ellipse label="leaf &amp; stem" cx="9.2" cy="4.4" rx="2.1" ry="3.4" z_order="0"/>
        <mask label="leaf &amp; stem" rle="1, 2, 3, 1, 1, 1" left="0" top="5" width="3" height="3" z_order="0"/>
        <box label="box" xtl="4" ytl="5" xbr="8" ybr="7" rotation="30"/>
        <points label="tip" points="1,1;2,2" z_order="0"/>
        <polyline label="box" points="1,1;2,2" z_order="0"/>
        <polygon label="box" points="1,1;2,2" z_order="0"/>
        <skeleton label="box" z_order="0"/>
        <tag label="box"/>"#;
    let found = annotations(&[
        ("annotations.xml", &cvat_image(shapes)),
        ("images/Train/a.png", "8x12"),
    ]);
    assert_eq!(
        (found.format, &found.classes[..]),
        (Format::Cvat, &["leaf & stem".into(), "box".into()][..])
    );
    assert_eq!(
        (found.images[0].size, found.images[0].part),
        ((8, 12), Some(Part::Train))
    );
    assert_eq!(
        rows(&found.images[0], Uncertain::Ignore),
        [
            "111.........",
            "112222..111.",
            "1.2222.11111",
            "..2222.11111",
            "..2222.11111",
            ".11.22211111",
            ".....2221111",
            "1.1.....111."
        ]
    );
    assert_eq!(
        ignored(&found),
        [
            "1 point (first in `annotations.xml`)",
            "1 line (first in `annotations.xml`)",
            "1 label of a whole image (first in `annotations.xml`)",
            "1 shape without an area (first in `annotations.xml`)",
            "1 outline of fewer than three points (first in `annotations.xml`)",
        ]
    );
}

#[test]
fn cvat_mistakes_are_named() {
    let image = |shape: &str| refusal(&[("a.xml", &cvat_image(shape)), ("a.png", "8x12")]);
    for (shape, expected) in [
        (
            r#"<polygon label="b"/>"#,
            "a polygon of `a.png`: `points` is missing",
        ),
        (
            r#"<polygon points="0,0;1,1;2,0"/>"#,
            "a polygon of `a.png`: `label` is missing",
        ),
        (
            r#"<polygon label="b" points="0,0;1;2,0"/>"#,
            "a polygon of `a.png`: it has 1 coordinates, but each point needs two",
        ),
        (
            r#"<polygon label="b" points="0,0;1,z;2,0"/>"#,
            "a polygon of `a.png`: `z` is not a number",
        ),
        (
            r#"<polygon label="b" points="0,0;1,nan;2,0"/>"#,
            "a polygon of `a.png`: the coordinate NaN is not between -1000000 and 1000000",
        ),
        (
            r#"<polygon label="&b;" points="0,0;1,1;2,0"/>"#,
            "a polygon of `a.png`: `&b;` cannot be read",
        ),
        (
            r#"<mask label="b" rle="0,26" left="0" top="0" width="13" height="2"/>"#,
            "a mask of `a.png`: its mask is 2x13 (height x width), but it should be 8x12",
        ),
        (
            r#"<mask label="b" rle="1,2" left="0" top="0" width="2" height="2"/>"#,
            "a mask of `a.png`: its RLE covers 3 pixels, but the mask has 4",
        ),
        (
            r#"<mask label="b" rle="1,-2" left="0" top="0" width="2" height="2"/>"#,
            "a mask of `a.png`: `-2` is not a number",
        ),
        (
            r#"<box label="b" xtl="1" ytl="inf" xbr="2" ybr="2"/>"#,
            "a box of `a.png`: the coordinate inf is not between -1000000 and 1000000",
        ),
        (
            r#"<box label="b" xtl="1" ytl="1" xbr="2" ybr="2" rotation="x"/>"#,
            "a box of `a.png`: `x` is not a number",
        ),
    ] {
        assert_eq!(
            image(shape),
            format!("`DIR/a.xml` has a mistake in {expected}")
        );
    }
    let text = refusal(&[
        ("a.xml", &cvat(r#"<image name="a.png" width="4"/>"#)),
        ("a.png", "4x4"),
    ]);
    assert_eq!(
        text,
        "`DIR/a.xml` has a mistake in an image: `height` is missing"
    );
    assert_eq!(
        image(r#"<tag label="b"/>"#),
        "`DIR/a.xml` contains labels of whole images, no outlines"
    );
    let text = refusal(&[("a.xml", &cvat(r#"<track id="0" label="b"></track>"#))]);
    assert_eq!(
        text,
        "`DIR/a.xml` contains the tracks of a video, no outlines"
    );
}

#[test]
fn entities_are_not_expanded() {
    let text = cvat_image(r#"<polygon label="b" points="&m;"/>"#).replace(
        "<annotations>",
        r#"<!DOCTYPE a [<!ENTITY l "1,1;"><!ENTITY m "&l;&l;&l;">]><annotations>"#,
    );
    assert_eq!(
        refusal(&[("a.xml", &text), ("a.png", "8x12")]),
        "`DIR/a.xml` has a mistake in a polygon of `a.png`: `&m;` cannot be read"
    );
}

fn voc(objects: &str) -> String {
    format!(
        r"<annotation><folder>x</folder><filename>a.jpg</filename><path>/elsewhere/a.jpg</path>
        <size><width>6</width><height>4</height><depth>3</depth></size>{objects}</annotation>"
    )
}

#[test]
fn voc_polygons_are_read_and_boxes_refused() {
    let boxed = "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>2</ymax></bndbox>
        <part><name>head</name></part></object>";
    let polygons = format!(
        "{boxed}<object><name>cat</name><polygon><x1>0</x1><y1>0</y1><x2>3</x2><y2>0</y2><x3>3</x3>
        <y3>3</y3><x4>0</x4><y4>3</y4></polygon></object>
        <object><name>bird</name><deleted>0</deleted><polygon><username>me</username><pt><x>5</x><y>0</y></pt>
        <pt><x>6</x><y>0</y></pt><pt><x>6</x><y>4</y></pt><pt><x>5</x><y>4</y></pt></polygon></object>
        <object><name>bird</name><deleted>1</deleted><polygon/></object>
        <object><name>bird</name><polygon><pt><x>5</x><y>0</y></pt></polygon></object>"
    );
    let found = annotations(&[
        ("Annotations/a.xml", &voc(&polygons)),
        ("JPEGImages/a.jpg", "4x6"),
    ]);
    assert_eq!(
        (found.format, &found.classes[..]),
        (Format::Voc, &["bird".into(), "cat".into()][..])
    );
    assert_eq!(
        rows(&found.images[0], Uncertain::Paint),
        ["222..1", "222..1", "222..1", ".....1"]
    );
    assert_eq!(
        ignored(&found),
        [
            "1 box without an outline (first in `Annotations/a.xml`)",
            "1 outline of fewer than three points (first in `Annotations/a.xml`)",
            "1 deleted object or licence plate (first in `Annotations/a.xml`)",
        ]
    );
    let files = [
        ("Annotations/a.xml", &voc(boxed)[..]),
        ("JPEGImages/a.jpg", "4x6"),
    ];
    assert_eq!(
        refusal(&files),
        "`DIR/Annotations/a.xml` has boxes, no outlines (PASCAL VOC)"
    );
    let hint = read(folder(&files).path()).unwrap_err().hint();
    assert_eq!(
        hint,
        Some("segmentation needs polygons or masks: export those, or draw them")
    );
    let odd = voc("<object><polygon><x1>1</x1><y1>1</y1><x2>2</x2></polygon></object>");
    assert_eq!(
        refusal(&[("a.xml", &odd)]),
        "`DIR/a.xml` has a mistake in object 1: it has 3 coordinates, but each point needs two"
    );
    let damaged = voc("<object><polygon><x1>one</x1></polygon></object>");
    assert_eq!(
        refusal(&[("a.xml", &damaged)]),
        "`DIR/a.xml` has a mistake in object 1: `one` is not a number"
    );
}

#[test]
fn cityscapes_is_read_as_by_its_scripts() {
    let polygons = r#"{"imgHeight": 4, "imgWidth": 6, "objects": [
        {"label": "road", "polygon": [[0, 0], [5, 0], [5, 3], [0, 3]]},
        {"label": "cargroup", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]},
        {"label": "polegroup", "polygon": [[3, 0], [4, 0], [4, 0]]},
        {"label": "car", "deleted": 1, "polygon": [[0, 3], [1, 3], [1, 3]]},
        {"label": "license plate", "polygon": [[0, 3], [1, 3], [1, 3]]},
        {"label": "ego vehicle", "deleted": false, "polygon": [[0, 3], [9, 3], [9, 3]]}]}"#;
    let found = annotations(&[
        ("gtFine/val/ulm/ulm_000001_gtFine_polygons.json", polygons),
        ("leftImg8bit/train/ulm/ulm_000001_leftImg8bit.png", "4x6"),
        ("leftImg8bit/val/ulm/ulm_000001_leftImg8bit.png", "4x6"),
    ]);
    assert_eq!(found.classes, ["car", "polegroup", "road"]);
    let image = &found.images[0];
    assert!(image.file.ends_with("val/ulm/ulm_000001_leftImg8bit.png"));
    assert_eq!(image.part, Some(Part::Val));
    assert_eq!(
        rows(image, Uncertain::Ignore),
        ["##3223", "##3333", "333333", "######"]
    );
    assert_eq!(
        rows(image, Uncertain::Paint),
        ["113223", "113333", "333333", "......"]
    );
    assert_eq!(found.ignored[0].count, 2);
    assert!(
        found.ignored[0]
            .to_string()
            .starts_with("2 deleted objects or licence plates (first in")
    );
    let both = refusal(&[
        ("gtCoarse/val/a_gtCoarse_polygons.json", polygons),
        ("gtFine/val/a_gtFine_polygons.json", polygons),
        ("leftImg8bit/val/a_leftImg8bit.png", "4x6"),
    ]);
    assert_eq!(
        both,
        "`DIR/gtFine/val/a_gtFine_polygons.json` annotates `leftImg8bit/val/a_leftImg8bit.png`, \
         which is annotated in `DIR/gtCoarse/val/a_gtCoarse_polygons.json` as well"
    );
}
