use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::decode::{Orientation, Origin};

const SIDE: u32 = 32;

fn labels(kind: LabelKind, white: u32, value: impl Fn(u32, u32) -> u32) -> Labels {
    let pixels = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x)));
    Labels {
        values: pixels.map(|(y, x)| value(y, x)).collect(),
        kind,
        highest: white,
        lossy: false,
        opacity: None,
        height: SIDE as usize,
        width: SIDE as usize,
        origin: Origin {
            pages: 1,
            orientation: Orientation::NoTransforms,
            raw_size: (SIDE as usize, SIDE as usize),
            white_is_zero: false,
        },
    }
}

fn numbers(white: u32, value: impl Fn(u32, u32) -> u32) -> Labels {
    labels(LabelKind::Gray, white, value)
}

fn gray(value: impl Fn(u32, u32) -> u32) -> Labels {
    numbers(255, value)
}

/// Vertical stripes of these values, as wide as the mask allows.
fn stripes(values: &[u32]) -> Labels {
    gray(|_, x| values[x as usize * values.len() / SIDE as usize])
}

fn tally(masks: &[Labels]) -> Tally {
    let mut all = Tally::default();
    for (index, mask) in masks.iter().enumerate() {
        all.merge(Tally::of(Path::new(&format!("{index}.png")), mask));
    }
    all
}

fn decided(masks: &[Labels]) -> MaskRule {
    tally(masks).decide(&Request::default()).unwrap()
}

fn asked(masks: &[Labels], num: usize) -> Result<MaskRule, Undecided> {
    tally(masks).decide(&Request {
        num_classes: Some(num),
        ..Request::default()
    })
}

fn share(rule: &MaskRule, mask: &Labels, class: u8) -> f64 {
    let classes = rule.classes(mask).unwrap();
    let num: u32 = classes.iter().map(|&it| u32::from(it == class)).sum();
    f64::from(num) / classes.len() as f64
}

#[test]
fn any_two_values_are_binary() {
    for (low, high, white) in [
        (0, 1, 255),
        (0, 255, 255),
        (0, 65_535, 65_535),
        (0, 255, 65_535),
        (0, 200, 255),
        (7, 9, 255),
        (1, 2, 255),
    ] {
        let mask = numbers(white, |_, x| if x < 8 { high } else { low });
        let rule = decided(std::slice::from_ref(&mask));
        assert_eq!(
            (rule.kind, rule.num_classes),
            (MaskKind::TwoValues(low, high), 1)
        );
        assert!((share(&rule, &mask, 1) - 0.25).abs() < 1e-9);
        assert_eq!(asked(&[mask], 1).unwrap(), rule);
    }
}

/// One file with 0 and 255 in 16 bits among files with 0 and 65535.
#[test]
fn all_files_decide_together() {
    let deep = |high| numbers(65_535, move |_, x| if x < 8 { high } else { 0 });
    let refused = tally(&[deep(65_535), deep(255), deep(65_535)])
        .decide(&Request::default())
        .unwrap_err();
    assert_eq!(
        refused.values[1],
        "255: 8.33 % of the pixels, in 1 file(s), such as `1.png`"
    );
    assert_eq!(
        refused.advice,
        "if they are one foreground, give it one value; if each is a class, pass `--classes 3`; or say \
         in a `classes.toml` in this folder which are classes and which to ignore: `[classes]`, \
         `values = [0, 65535]`, `ignore = [255]`"
    );
    // A mask that lacks some classes has the numbers of the others.
    let rule = decided(&[
        stripes(&[0, 1]),
        stripes(&[0, 2]),
        stripes(&[0, 1, 2, 3, 4]),
    ]);
    assert_eq!((rule.kind, rule.num_classes), (MaskKind::Indices, 5));
}

/// A disc with smooth edges.
fn disc(white: u32) -> Labels {
    numbers(white, |y, x| {
        let distance = (f64::from(y) - 15.7).hypot(f64::from(x) - 15.2);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to white"
        )]
        let value = ((10.5 - distance).clamp(0.0, 1.0) * f64::from(white)).round() as u32;
        value
    })
}

#[test]
fn smooth_edges_are_split_at_half() {
    for white in [255, 65_535] {
        let rule = decided(&[disc(white)]);
        assert_eq!((rule.kind, rule.num_classes), (MaskKind::Smooth, 1));
        let area = std::f64::consts::PI * 10.0 * 10.0 / 1024.0;
        assert!((share(&rule, &disc(white), 1) - area).abs() < 0.01);
    }
    // What JPEG leaves around an edge.
    let jpeg = gray(|y, x| match x {
        0..=11 => u32::from((x + y) % 3 == 0) * (u32::from(x > 7) * (3 + x % 5)),
        _ => 255 - u32::from((x * y) % 4 == 0 && x < 17) * (2 + x % 6),
    });
    assert_eq!(decided(&[jpeg]).kind, MaskKind::Smooth);
}

#[test]
fn a_label_map_is_no_smooth_edge() {
    for values in [&[0, 63, 127, 191, 255][..], &[0, 128, 255], &[0, 100, 200]] {
        let refused = tally(&[stripes(values)])
            .decide(&Request::default())
            .unwrap_err();
        assert_eq!(refused.values.len(), values.len());
        assert!(
            refused.to_string().contains("whose meaning is not clear"),
            "{refused}"
        );
    }
    // A trimap whose band is thin.
    let trimap = gray(|_, x| match x {
        0..=14 => 0,
        15..=17 => 128,
        _ => 255,
    });
    assert!(tally(&[trimap]).decide(&Request::default()).is_err());
}

#[test]
fn void_is_ignored() {
    let rule = decided(&[stripes(&[0, 1, 255])]);
    assert_eq!(
        (rule.kind, rule.num_classes),
        (MaskKind::TwoValues(0, 1), 1)
    );
    assert_eq!(rule.ignored(), [Value::Number(255)]);
    assert!((share(&rule, &stripes(&[0, 1, 255, 255]), IGNORE) - 0.5).abs() < 1e-9);
    let rule = decided(&[stripes(&[0, 1, 2, 255]), stripes(&[0, 2])]);
    assert_eq!((rule.num_classes, rule.ignored().len()), (3, 1));
    // 0 and 1 in some files, 0 and 255 in others, are two ways to write one class.
    assert!(
        tally(&[stripes(&[0, 1]), stripes(&[0, 255])])
            .decide(&Request::default())
            .is_err()
    );
}

#[test]
fn values_can_be_named_and_ignored() {
    let number = |values: &[u32]| Some(values.iter().map(|&it| Value::Number(it)).collect());
    let trimap = tally(&[stripes(&[0, 128, 255])]);
    let decide = |tally: &Tally, values, ignore| {
        tally.decide(&Request {
            values,
            ignore,
            ..Request::default()
        })
    };
    // Listing the remaining values changes nothing.
    for values in [None, number(&[0, 255])] {
        let rule = decide(&trimap, values, number(&[128])).unwrap();
        assert_eq!(
            (rule.kind, rule.num_classes),
            (MaskKind::TwoValues(0, 255), 1)
        );
        let classes = rule.classes(&stripes(&[0, 128, 255])).unwrap();
        assert_eq!((classes[0], classes[16], classes[31]), (0, IGNORE, 1));
    }
    // The order of values is that of classes, and one that no mask holds is a class as well.
    let rule = decide(&trimap, number(&[255, 7, 0]), number(&[128])).unwrap();
    assert_eq!(rule.num_classes, 3);
    assert_eq!(rule.classes(&stripes(&[0, 255])).unwrap()[0], 2);
    let refused = decide(&trimap, number(&[0, 255]), None).unwrap_err();
    assert_eq!(refused.values.len(), 1);
    assert!(refused.values[0].starts_with("128: "), "{refused}");
    // Objects, of which one number stands for what is not known.
    let cells = tally(&[cells(40, |nth| 100 + nth)]);
    let rule = decide(&cells, None, number(&[101])).unwrap();
    assert_eq!((rule.kind, rule.num_classes), (MaskKind::Instances, 1));
    assert_eq!(rule.shares(&cells).ignored, 9);
    assert!(decide(&tally(&[disc(255)]), None, number(&[128])).is_err());
    let jpeg = Labels {
        lossy: true,
        ..stripes(&[0, 255])
    };
    assert!(decide(&tally(&[jpeg]), None, number(&[255])).is_err());
    let all = decide(&tally(&[stripes(&[255])]), None, number(&[255])).unwrap_err();
    assert_eq!(all.reason, "every pixel of the masks is ignored");
}

#[test]
fn colours_name_what_palettes_and_grays_show() {
    let (red, white) = (Value::Colour(0x00FF_0000), Value::Colour(0x00FF_FFFF));
    let request = |values: &[Value], ignore: &[Value]| Request {
        values: Some(values.to_vec()),
        ignore: Some(ignore.to_vec()),
        ..Request::default()
    };
    let black = Value::Colour(0);
    let palette = LabelKind::Palette(vec![[255; 4], [0, 0, 0, 255], [255, 0, 0, 255]]);
    let indexed = labels(palette, 255, |_, x| x % 3);
    let rule = tally(std::slice::from_ref(&indexed));
    let rule = rule.decide(&request(&[black, red], &[white])).unwrap();
    assert_eq!(rule.classes(&indexed).unwrap()[..3], [IGNORE, 0, 1]);
    let gray = stripes(&[0, 255]);
    let rule = tally(std::slice::from_ref(&gray));
    let rule = rule.decide(&request(&[white, black], &[red])).unwrap();
    assert_eq!(rule.classes(&gray).unwrap()[0], 1);
    // Two ways to write one value.
    let white_number = Value::Number(255);
    let gray = tally(&[gray]);
    for (values, ignore) in [
        (&[black, white, white_number][..], &[][..]),
        (&[black, white_number], &[white]),
    ] {
        let refused = gray.decide(&request(values, ignore)).unwrap_err();
        assert!(refused.reason.contains("is listed as a class"), "{refused}");
    }
    // Gray levels name colours as well.
    let colours = labels(LabelKind::Colour, 255, |_, x| {
        [0, 0x00FF_0000][x as usize % 2]
    });
    let rule = tally(std::slice::from_ref(&colours));
    let rule = rule
        .decide(&request(&[red, Value::Number(0)], &[]))
        .unwrap();
    assert_eq!(rule.classes(&colours).unwrap()[..2], [1, 0]);
}

#[test]
fn names_are_held_against_the_classes() {
    let named = |names: &[&str]| {
        tally(&[stripes(&[0, 1, 2])]).decide(&Request {
            names: Some(names.iter().map(|&it| it.to_owned()).collect()),
            ..Request::default()
        })
    };
    assert_eq!(named(&["sky", "tree", "car"]).unwrap().name_of(2), "`car`");
    let refused = named(&["tree", "car"]).unwrap_err();
    assert!(
        refused
            .reason
            .starts_with("2 classes have names, and the masks have 3")
    );
}

#[test]
fn gaps_are_written_down() {
    let rule = decided(&[stripes(&[0, 7, 8, 11])]);
    assert_eq!((rule.kind, rule.num_classes), (MaskKind::Numbers, 4));
    assert_eq!(rule.classes(&stripes(&[0, 7, 8, 11])).unwrap()[31], 3);
    assert_eq!(rule.classes(&stripes(&[0, 9])), Err("9".to_owned()));
    // With their number given, higher ones as well.
    assert_eq!(
        asked(&[stripes(&[0, 100, 200])], 3).unwrap().kind,
        MaskKind::Numbers
    );
}

/// Cells on a grid, numbered by `number`.
fn cells(num: u32, number: impl Fn(u32) -> u32) -> Labels {
    numbers(65_535, |y, x| {
        let (is_gap, nth) = (y % 4 == 0 || x % 4 == 0, y / 4 * 8 + x / 4);
        if is_gap || nth >= num { 0 } else { number(nth) }
    })
}

#[test]
fn numbered_objects_are_foreground() {
    let many = cells(64, |nth| 1 + 300 * nth);
    let rule = decided(std::slice::from_ref(&many));
    assert_eq!((rule.kind, rule.num_classes), (MaskKind::Instances, 1));
    assert!((share(&rule, &many, 1) - 9.0 / 16.0).abs() < 1e-9);
    let photograph = gray(|y, x| (x * 37 + y * 59 + x * y * 11) % 256);
    assert!(tally(&[photograph]).decide(&Request::default()).is_err());
    // Each file counts its cells, or one has more than classes usually are: that is for the user.
    for few in [
        vec![cells(3, |nth| nth + 1), cells(9, |nth| nth + 1)],
        vec![cells(30, |nth| nth + 1)],
    ] {
        let refused = tally(&few).decide(&Request::default()).unwrap_err();
        assert!(refused.advice.contains("`--classes 1`"), "{refused:?}");
        assert_eq!(asked(&few, 1).unwrap().kind, MaskKind::Instances);
        let highest = few.iter().flat_map(|it| &it.values).max().unwrap();
        let rule = asked(&few, *highest as usize + 1).unwrap();
        assert_eq!(rule.kind, MaskKind::Indices);
    }
    // Files with one class each do not count objects.
    let classes: Vec<_> = (1..6).map(|class| stripes(&[0, class])).collect();
    assert_eq!(decided(&classes).kind, MaskKind::Indices);
}

/// Every file counts, and not the most of them.
#[test]
fn one_file_of_another_kind_is_noticed() {
    let refused = |masks: &[Labels]| tally(masks).decide(&Request::default()).is_err();
    let is_smooth = |masks: &[Labels]| decided(masks).kind == MaskKind::Smooth;
    let zero_one = stripes(&[0, 1]);
    assert!(is_smooth(&[
        disc(255),
        disc(255),
        stripes(&[0, 255]),
        stripes(&[255])
    ]));
    assert!(refused(&[
        disc(255),
        disc(255),
        disc(255),
        zero_one.clone()
    ]));
    assert!(refused(&[
        disc(65_535),
        numbers(65_535, |_, x| u32::from(x < 8) * 255)
    ]));
    assert!(refused(&[disc(65_535), disc(255)]));
    let jpeg = Labels {
        lossy: true,
        ..stripes(&[0, 255])
    };
    assert!(is_smooth(&[jpeg.clone(), stripes(&[0, 255])]));
    assert!(refused(&[jpeg, zero_one]));
    // Few grays on edges are smooth beside masks that have more, and labels alone.
    let band = gray(|_, x| match x {
        0..=14 => 0,
        15 => 128,
        _ => 255,
    });
    assert!(is_smooth(&[disc(255), band.clone()]));
    assert!(refused(&[band]));
    // Objects of few pixels with a void around them.
    let void = gray(|y, x| match (y % 8, x % 8) {
        (2..=4, 2..=4) => 1 + x / 8,
        (1..=5, 1..=5) => 255,
        _ => 0,
    });
    let rule = decided(&[void]);
    assert_eq!((rule.num_classes, rule.ignored().len()), (5, 1));
}

#[test]
fn palettes_must_agree() {
    let indexed = |palette: &[[u8; 4]], values: &[u32]| {
        let values = values.to_vec();
        labels(LabelKind::Palette(palette.to_vec()), 255, move |_, x| {
            values[x as usize * values.len() / SIDE as usize]
        })
    };
    let [black, red, green] = [[0, 0, 0, 255], [255, 0, 0, 255], [0, 255, 0, 255]];
    let one = indexed(&[black, red, green], &[0, 1, 2]);
    let same = indexed(&[black, red], &[0, 1]);
    assert_eq!(decided(&[one.clone(), same]).num_classes, 3);
    let other = indexed(&[black, green, red], &[0, 2]);
    let refused = tally(&[one, other])
        .decide(&Request::default())
        .unwrap_err();
    assert_eq!(
        refused.reason,
        "the palettes of masks `0.png` and `1.png` differ"
    );
}

#[test]
fn flat_files_follow_those_that_are_their_alpha() {
    let alpha = labels(LabelKind::Alpha, 255, |_, x| u32::from(x < 8) * 255);
    let flat = |colour: u32, opacity: u32| Labels {
        opacity: Some(opacity),
        ..gray(move |_, _| colour)
    };
    // Black paint: nothing, and all of it.
    let masks = [alpha, flat(0, 0), flat(0, 255)];
    let rule = decided(&masks);
    let shares = masks.each_ref().map(|mask| share(&rule, mask, 1));
    let expected = [0.25, 0.0, 1.0];
    assert!(
        shares
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-9)
    );
    // Without such a file, the colour is the mask.
    let rule = decided(&[flat(0, 255), flat(255, 255)]);
    assert!((share(&rule, &flat(255, 255), 1) - 1.0).abs() < 1e-9);
}

#[test]
fn a_rule_knows_masks_of_its_own_kind() {
    let knows = |rule: &MaskRule, masks: &[Labels]| rule.knows(&tally(masks));
    let smooth = decided(&[disc(255)]);
    assert!(knows(&smooth, &[disc(255), stripes(&[0, 255])]));
    assert!(!knows(&smooth, &[stripes(&[0, 1])]) && !knows(&smooth, &[disc(65_535)]));
    let classes = asked(&[stripes(&[0, 100, 200])], 3).unwrap();
    assert!(knows(&classes, &[stripes(&[0, 200])]));
    assert!(!knows(&classes, &[stripes(&[0, 50, 100])]));
    let unknown = classes.unknown(&tally(&[stripes(&[0, 50, 100])]));
    assert_eq!(unknown.values.len(), 1);
    assert!(unknown.values[0].starts_with("50: "), "{unknown:?}");
    let picture = gray(|y, x| y * 3000 + x);
    let mut large = picture.clone();
    large.values = (0..70_000).collect();
    (large.height, large.width) = (70, 1000);
    assert!(!knows(&classes, &[large]));
}

#[test]
fn colours_are_vocs_two_or_given() {
    let colours = |values: &[u32]| {
        let values = values.to_vec();
        labels(LabelKind::Colour, 255, move |_, x| {
            values[x as usize * values.len() / SIDE as usize]
        })
    };
    let two = decided(&[colours(&[0, 0x00FF_0000, 0])]);
    assert_eq!((two.kind, two.num_classes), (MaskKind::Colours, 1));
    let voc = decided(&[colours(&[0, 0x0080_0000, 0x00C0_8080, 0x00E0_E0C0])]);
    assert_eq!((voc.num_classes, voc.names[15].as_str()), (16, "person"));
    assert_eq!(voc.classes(&colours(&[0x00E0_E0C0])).unwrap()[0], IGNORE);
    assert_eq!(
        (voc.colour_of(1), voc.colour_of(21)),
        (Some([128, 0, 0]), None)
    );
    // On a picture, this would be black.
    assert_eq!(decided(&[colours(&[0, 0x0001_0000])]).colour_of(1), None);
    // The void counts for nothing, however often it is named, and a run resumes with its number.
    let values = [0, 0x0080_0000, 0x00C0_8080, 0x00E0_E0C0];
    for values in [&values[..], &[0, 0x00C0_8080, 0x00E0_E0C0]] {
        let first = decided(&[colours(values)]);
        let again = tally(&[colours(values)]).decide(&Request {
            num_classes: Some(first.num_classes),
            ignore: Some(first.ignored()),
            ..Request::default()
        });
        assert_eq!(again.as_ref(), Ok(&first));
    }
    let own = colours(&[0x0010_2030, 0x0040_5060, 0x0070_8090]);
    let refused = tally(std::slice::from_ref(&own))
        .decide(&Request::default())
        .unwrap_err();
    let lines = "`values = [\"#102030\", \"#708090\"]`, `ignore = [\"#405060\"]`";
    assert!(
        refused
            .advice
            .starts_with("if each is a class, pass `--classes 3`; or")
    );
    assert!(refused.advice.ends_with(lines), "{}", refused.advice);
    let rule = asked(std::slice::from_ref(&own), 3).unwrap();
    assert!((share(&rule, &own, 2) - 10.0 / 32.0).abs() < 0.02);
    // Black and white are colours where others are.
    let mixed = [
        stripes(&[0]),
        stripes(&[0, 255]),
        colours(&[0, 0x0080_0000]),
    ];
    let rule = asked(&mixed, 3).unwrap();
    assert!((share(&rule, &mixed[1], 2) - 0.5).abs() < 1e-9);
    let deep = numbers(65_535, |_, _| 300);
    assert!(
        tally(&[colours(&[0, 0xFF]), deep])
            .decide(&Request::default())
            .is_err()
    );
}

#[test]
fn what_was_asked_for_is_held_against_the_masks() {
    let again = stripes(&[0, 1, 2, 3, 4, 1, 2]);
    let refused = asked(&[again], 1).unwrap_err();
    assert_eq!(refused.advice, "pass `--classes 5`, or leave it out");
    assert!(asked(&[stripes(&[0, 1, 2, 3, 4])], 2).is_err());
    assert_eq!(asked(&[stripes(&[0, 1])], 2).unwrap().num_classes, 2);
    assert_eq!(asked(&[stripes(&[0])], 3).unwrap().num_classes, 3);
    assert_eq!(decided(&[stripes(&[0])]).kind, MaskKind::Constant(0));
    assert_eq!(decided(&[stripes(&[255])]).kind, MaskKind::Constant(255));
}

proptest! {
    /// The order of the files changes nothing, and every value that was counted has a class.
    #[test]
    fn the_order_of_files_does_not_matter(
        masks in prop::collection::vec(prop::collection::vec(0_u32..6, 1..5), 1..6),
    ) {
        let masks: Vec<_> = masks.iter().map(|values| stripes(values)).collect();
        let mut reversed = Tally::default();
        for (index, mask) in masks.iter().enumerate().rev() {
            reversed.merge(Tally::of(Path::new(&format!("{index}.png")), mask));
        }
        let rule = tally(&masks).decide(&Request::default());
        prop_assert_eq!(&rule, &reversed.decide(&Request::default()));
        if let Ok(rule) = rule {
            // Different values are different classes, unless all but one are one foreground.
            let mut values: Vec<_> = masks.iter().flat_map(|mask| &mask.values).collect();
            values.sort_unstable();
            values.dedup();
            let mut found = BTreeMap::new();
            for mask in &masks {
                let classes = rule.classes(mask).unwrap();
                found.extend(mask.values.iter().zip(classes));
            }
            let classes: std::collections::BTreeSet<_> = found.values().collect();
            prop_assert!(rule.kind == MaskKind::Instances || classes.len() == values.len());
        }
    }
}
