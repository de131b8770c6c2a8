//! `cases.txt` has outlines and their masks by the tools of each format. `tools/annotation_cases.py`
//! made it and names the versions.

use std::collections::BTreeMap;
use std::{env, fs};

use super::*;
use crate::annotations::formats::rle;
use crate::annotations::{Ellipse, Order, Runs};

/// Ellipses are no bit-exact copy of `OpenCV`'s, which are polygons: the share of their pixels that
/// may differ. 0.5 % differ if radii are 3 to 100.
const ELLIPSE_TOLERANCE: f64 = 0.02;

fn image(size: (usize, usize), outline: Outline) -> AnnotatedImage {
    let shape = Shape {
        label: Label::Class(0),
        outline,
        is_crowd: false,
    };
    AnnotatedImage {
        file: "image.png".into(),
        size,
        shapes: vec![shape],
        part: None,
    }
}

/// A line of the file: the rule, the outline in an image, and the expected mask.
fn case(line: &str) -> (&str, AnnotatedImage, Vec<u8>) {
    let fields: Vec<&str> = line.split(' ').collect();
    let size: (usize, usize) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
    let numbers: Vec<f64> = fields[3]
        .split(',')
        .map(|number| number.parse().unwrap())
        .collect();
    let polygon = |rule| Outline::Polygons {
        rings: vec![numbers.as_chunks::<2>().0.to_vec()],
        rule,
    };
    let outline = match (fields[0], &numbers[..]) {
        ("coco", _) => polygon(Rule::Coco),
        ("pillow", _) => polygon(Rule::Pillow),
        ("opencv", _) => polygon(Rule::OpenCv),
        ("circle", &[left, top, right, bottom]) => Outline::Circle {
            bounds: [left, top, right, bottom],
        },
        ("ellipse", &[x, y, rx, ry, degrees]) => Outline::Ellipse(Ellipse {
            centre: [x, y],
            radii: [rx, ry],
            degrees,
        }),
        other => panic!("{other:?}"),
    };
    let mask = Outline::Runs(Runs {
        left: 0,
        top: 0,
        width: size.1 as u64,
        height: size.0 as u64,
        order: Order::Columns,
        counts: rle::decode(fields[4]).unwrap(),
    });
    (
        fields[0],
        image(size, outline),
        rasterise(&image(size, mask), Uncertain::Paint),
    )
}

#[test]
fn masks_equal_those_of_the_tools() {
    // A longer file: `annotation_cases.py 4000 7`, for example.
    let cases = match env::var_os("SNUG_TEST_ANNOTATION_CASES") {
        Some(path) => fs::read_to_string(path).unwrap(),
        None => include_str!("cases.txt").to_owned(),
    };
    // By rule: cases, pixels that differ, pixels of the expected masks.
    let mut sums: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for line in cases.lines() {
        let (rule, image, expected) = case(line);
        let found = rasterise(&image, Uncertain::Paint);
        let wrong = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(wrong == 0 || rule == "ellipse", "{wrong} pixels: {line}");
        let sum = sums.entry(rule).or_default();
        *sum = [
            sum[0] + 1,
            sum[1] + wrong,
            sum[2] + expected.iter().filter(|&&v| v > 0).count(),
        ];
    }
    println!("cases, wrong pixels, pixels: {sums:?}");
    assert!(
        sums.len() == 5 && sums.values().all(|sum| sum[0] >= 40 && sum[2] > 500),
        "{sums:?}"
    );
    let [_, wrong, all] = sums["ellipse"];
    assert!((wrong as f64) < ELLIPSE_TOLERANCE * all as f64, "{sums:?}");
}

#[test]
fn a_mask_is_cut_at_the_edge_of_the_image() {
    let runs = Runs {
        left: -1,
        top: 1,
        width: 3,
        height: 2,
        order: Order::Rows,
        counts: vec![1, 5],
    };
    let mask = rasterise(&image((2, 3), Outline::Runs(runs)), Uncertain::Paint);
    assert_eq!(mask, [0, 0, 0, 1, 1, 0]);
}

#[test]
fn later_shapes_cover_earlier_ones() {
    let runs = |counts: &[u32]| {
        let counts = counts.to_vec();
        Outline::Runs(Runs {
            left: 0,
            top: 0,
            width: 4,
            height: 1,
            order: Order::Rows,
            counts,
        })
    };
    let mut annotated = image((1, 4), runs(&[0, 3, 1]));
    let mut add = |label, outline, is_crowd| {
        annotated.shapes.push(Shape {
            label,
            outline,
            is_crowd,
        });
    };
    add(Label::Class(253), runs(&[1, 1, 2]), true);
    add(Label::Background, runs(&[2, 1, 1]), false);
    add(Label::Void, runs(&[3, 1]), false);
    assert_eq!(rasterise(&annotated, Uncertain::Paint), [1, 254, 0, 0]);
    assert_eq!(
        rasterise(&annotated, Uncertain::Ignore),
        [1, IGNORE, 0, IGNORE]
    );
}
