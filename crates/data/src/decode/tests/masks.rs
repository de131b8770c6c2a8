//! Masks as classes.

use colortype::{Gray8, Gray16, Gray32Float, RGB16, RGBA8};

use super::*;
use crate::masks::IGNORE;

#[test]
fn binary_masks_come_in_many_forms() {
    assert_eq!(mask_of(&gray(&[0, 1, 1, 0]), 1), [0, 1, 1, 0]);
    assert_eq!(mask_of(&gray(&[0, 255, 0]), 1), [0, 1, 0]);
    assert_eq!(
        (mask_of(&gray(&[0, 0]), 1), mask_of(&gray(&[255, 255]), 1)),
        (vec![0; 2], vec![1; 2])
    );
    let bits = png_of(ColorType::Grayscale, BitDepth::One, 3, &[], &[0b1010_0000]);
    assert_eq!(mask_of(&bits, 1), [1, 0, 1]);
    let nibbles = png_of(ColorType::Grayscale, BitDepth::Four, 3, &[], &[0x0F, 0xF0]);
    assert_eq!(mask_of(&nibbles, 1), [0, 1, 1]);
    let deep = png_of(
        ColorType::Grayscale,
        BitDepth::Sixteen,
        2,
        &[],
        &[0xFF, 0xFF, 0, 0],
    );
    assert_eq!(mask_of(&deep, 1), [1, 0]);
    let deep_ones = png_of(
        ColorType::Grayscale,
        BitDepth::Sixteen,
        2,
        &[],
        &[0, 1, 0, 0],
    );
    assert_eq!(mask_of(&deep_ones, 1), [1, 0]);
    // A smooth edge is split at half of white, like Pillow's `convert("L") > 127`.
    let edge = [0, 0, 0, 0, 0, 64, 127, 128, 255, 255, 255, 255];
    assert_eq!(
        mask_of(&gray(&edge), 1),
        edge.map(|value| u8::from(value > 127))
    );
    let rgb = png_of(
        ColorType::Rgb,
        BitDepth::Eight,
        2,
        &[],
        &[255, 255, 255, 0, 0, 0],
    );
    assert_eq!(mask_of(&rgb, 1), [1, 0]);
    let rgba = png_of(
        ColorType::Rgba,
        BitDepth::Eight,
        2,
        &[],
        &[0, 0, 0, 255, 255, 255, 255, 9],
    );
    assert_eq!(mask_of(&rgba, 1), [0, 1]);
}

#[test]
fn palettes_keep_their_indices() {
    let indexed = |palette: &[u8], row| png_of(ColorType::Indexed, BitDepth::Two, 4, palette, row);
    // Colours as in PASCAL VOC; the indices are 0, 1, 2, 1.
    let voc = indexed(&[0, 0, 0, 128, 0, 0, 0, 128, 0], &[0b0001_1001]);
    assert_eq!(mask_of(&voc, 3), [0, 1, 2, 1]);
    let two = indexed(&[0, 0, 0, 128, 0, 0], &[0b0001_0001]);
    assert_eq!(mask_of(&two, 1), [0, 1, 0, 1]);
    // With white first, the gray levels count and not their indices.
    let inverted = indexed(&[255, 255, 255, 0, 0, 0], &[0b0001_0001]);
    assert_eq!(mask_of(&inverted, 1), [1, 0, 1, 0]);
    assert_eq!(mask_of(&inverted, 2), [1, 0, 1, 0]);
}

#[test]
fn classes_are_the_values_themselves() {
    assert_eq!(mask_of(&gray(&[0, 1, 2, 3]), 4), [0, 1, 2, 3]);
    let bits = png_of(ColorType::Grayscale, BitDepth::One, 2, &[], &[0b0100_0000]);
    assert_eq!(mask_of(&bits, 2), [0, 1]);
    let deep = png_of(
        ColorType::Grayscale,
        BitDepth::Sixteen,
        2,
        &[],
        &[0, 2, 0, 0],
    );
    assert_eq!(mask_of(&deep, 3), [2, 0]);
    let rgb = png_of(ColorType::Rgb, BitDepth::Eight, 2, &[], &[2, 2, 2, 0, 0, 0]);
    assert_eq!(mask_of(&rgb, 3), [2, 0]);
}

#[test]
fn lossy_masks_are_read_only_if_black_and_white() {
    let circle = |at: f32| u8::from(at < 0.0) * 255;
    let mut lossy = Vec::new();
    let Samples::U8(values) = raster(&file(&self::circle(circle)).path).unwrap().samples else {
        panic!("of 8 bits");
    };
    let picture = ::image::GrayImage::from_raw(32, 32, values).unwrap();
    picture
        .write_to(&mut Cursor::new(&mut lossy), ImageFormat::Jpeg)
        .unwrap();
    let exact = mask_of(&self::circle(circle), 1);
    let found = mask_of(&lossy, 1);
    let differ = found.iter().zip(&exact).filter(|(a, b)| a != b).count();
    assert!(differ <= 3, "{differ} of {}", exact.len());
    for (bytes, classes) in [
        (jpeg(8, 8), 1),
        (reference::bytes_of("webp-lossy"), 1),
        (lossy, 2),
    ] {
        let (text, hint) = mask_refusal(&bytes, classes);
        assert!(
            text.contains("mask `file.png` is not in a lossless format"),
            "{text}"
        );
        assert_eq!(
            hint,
            "save masks as PNG: JPEG and lossy WebP change the values along every edge"
        );
    }
}

#[test]
fn masks_come_in_every_lossless_format() {
    let binary = tiff::<Gray8>(3, 1, &[0, 255, 255]);
    assert_eq!(mask_of(&binary, 1), [0, 1, 1]);
    // `tifffile.imwrite` of the booleans 1, 0, ...: viewers show 0 as white.
    let booleans = reference::bytes_of("tiff-bit");
    let Samples::U8(stored) = raster(&file(&booleans).path).unwrap().samples else {
        panic!("bits are bytes");
    };
    assert_eq!(mask_of(&booleans, 1), stored);
    assert_eq!(
        mask_of(&tiff::<Gray32Float>(3, 1, &[0.0, 1.0, 2.0]), 3),
        [0, 1, 2]
    );
    for name in ["png-palette", "bmp-palette", "gif-palette"] {
        let bytes = reference::bytes_of(name);
        let Samples::U8(indices) = raster(&file(&bytes).path).unwrap().samples else {
            panic!("{name}");
        };
        assert_eq!(mask_of(&bytes, 4), indices, "{name}");
    }
    let mut webp = Vec::new();
    image_webp::WebPEncoder::new(&mut webp)
        .encode(&[0, 2, 1], 3, 1, image_webp::ColorType::L8)
        .unwrap();
    assert_eq!(mask_of(&webp, 3), [0, 2, 1]);
}

#[test]
fn of_two_values_the_higher_is_the_foreground() {
    let deep = |values: &[u16]| {
        let width = u32::try_from(values.len()).unwrap();
        tiff::<Gray16>(width, 1, values)
    };
    // 0 and 255 in 16 bits, and of 12 bits in 16.
    assert_eq!(mask_of(&deep(&[0, 255, 0]), 1), [0, 1, 0]);
    assert_eq!(mask_of(&deep(&[4095, 0, 0]), 1), [1, 0, 0]);
    assert_eq!(mask_of(&gray(&[0, 38, 38]), 1), [0, 1, 1]);
    // Files of one value among them.
    assert_eq!(mask_of(&deep(&[255, 255]), 1), [1, 1]);
    assert_eq!(mask_of(&deep(&[0, 0]), 1), [0, 0]);
    assert_eq!(mask_of(&gray(&[128; 4]), 1), [1; 4]);
}

/// A mask of 32x32 that shows `value` of the distance from a circle of radius 10, in pixels.
fn circle(value: impl Fn(f32) -> u8) -> Vec<u8> {
    let mut values = Vec::new();
    for at in 0..32 * 32 {
        let [x, y] = [at % 32, at / 32].map(|it| f32::from(u16::try_from(it).unwrap()) - 15.5);
        values.push(value(x.hypot(y) - 10.0));
    }
    tiff::<Gray8>(32, 32, &values)
}

#[test]
fn smooth_edges_are_told_from_labels() {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255"
    )]
    let smooth = |away: f32, width: f32| (255.0 * (0.5 - away / width).clamp(0.0, 1.0)) as u8;
    let expected: usize = mask_of(&circle(|away| u8::from(away < 0.0)), 1)
        .iter()
        .map(|&it| usize::from(it))
        .sum();
    assert_eq!(expected, 316);
    for width in [1.0, 1.5, 3.0] {
        let found = mask_of(&circle(|away| smooth(away, width)), 1);
        let lit: usize = found.iter().map(|&it| usize::from(it)).sum();
        assert!(lit.abs_diff(expected) <= 12, "{width}: {lit}");
    }
    let refused = |value: fn(f32) -> u8| mask_refusal(&circle(value), 1).0;
    // A trimap, an object inside an outline of void, and a map of five labels.
    let trimap = refused(|away| {
        if away.abs() < 2.0 {
            128
        } else {
            u8::from(away < 0.0) * 255
        }
    });
    assert!(trimap.contains("hold 3 different values"), "{trimap}");
    let void = circle(|away| {
        if away.abs() < 1.5 {
            255
        } else {
            u8::from(away < 0.0)
        }
    });
    let void = mask_of(&void, 1);
    for class in [0, 1, IGNORE] {
        assert!(void.contains(&class), "{class}");
    }
    let labels = refused(|away| match away.abs() {
        ..2.0 => 0,
        2.0..4.0 => 63,
        4.0..6.0 => 127,
        6.0..8.0 => 191,
        _ => 255,
    });
    assert!(labels.contains("hold 5 different values"), "{labels}");
}

#[test]
fn gray_palettes_are_brightness() {
    // As programs write them that store grays in the order in which they occur.
    let palette = [255, 255, 255, 128, 128, 128, 0, 0, 0];
    let row = [0, 0, 0, 1, 2, 2, 2, 2];
    let bytes = png_of(ColorType::Indexed, BitDepth::Eight, 8, &palette, &row);
    let binary = png_of(ColorType::Indexed, BitDepth::Eight, 3, &palette, &row[3..6]);
    assert_eq!(mask_of(&binary, 1), [1, 0, 0]);
    assert_eq!(mask_of(&bytes, 3), [2, 2, 2, 1, 0, 0, 0, 0]);
}

#[test]
fn a_mask_can_be_its_alpha() {
    let flat = tiff::<RGBA8>(3, 1, &[9, 8, 7, 0, 9, 8, 7, 255, 9, 8, 7, 255]);
    assert_eq!(mask_of(&flat, 1), [0, 1, 1]);
    assert_eq!(labels(&file(&flat).path).unwrap().kind, LabelKind::Alpha);
    // Here colour says something, and alpha is dropped.
    let both = tiff::<RGBA8>(2, 1, &[0, 0, 0, 255, 255, 255, 255, 0]);
    assert_eq!(mask_of(&both, 1), [0, 1]);
    let mut transparent = Vec::new();
    let mut encoder = gif::Encoder::new(&mut transparent, 3, 1, &[5; 6]).unwrap();
    let mut frame = gif::Frame::from_indexed_pixels(3, 1, [0, 1, 0], None);
    frame.transparent = Some(0);
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    assert_eq!(mask_of(&transparent, 1), [0, 1, 0]);
}

#[test]
fn labels_say_where_they_come_from() {
    let labels_of = |bytes: &[u8]| labels(&file(bytes).path).unwrap();
    let found = labels_of(&tiff::<Gray16>(2, 1, &[300, 2]));
    assert_eq!(
        (found.values, found.kind, found.highest),
        (vec![300, 2], LabelKind::Gray, 65535)
    );
    let found = labels_of(&reference::bytes_of("bmp-palette"));
    assert!(matches!(found.kind, LabelKind::Palette(colours) if colours[1] == [60, 50, 40, 255]));
    let found = labels_of(&png_of(
        ColorType::Rgb,
        BitDepth::Eight,
        2,
        &[],
        &[1, 2, 3, 4, 4, 4],
    ));
    assert_eq!(
        (found.values, found.kind),
        (vec![0x01_02_03, 0x04_04_04], LabelKind::Colour)
    );
    // Colours of 16 bits, with values of 16 bits and of 8.
    for (high, low) in [(0x8000, 0x40FF), (0x80, 0x40)] {
        let found = labels_of(&tiff::<RGB16>(1, 1, &[high, 0, low]));
        assert_eq!(found.values, [0x80_00_40]);
    }
}

#[test]
fn a_mask_of_fractions_or_bands_is_refused() {
    let (text, hint) = mask_refusal(&tiff::<Gray32Float>(2, 1, &[0.0, 0.25]), 1);
    assert_eq!(
        text,
        "mask `file.png`: expected whole numbers from 0, found 0.25"
    );
    assert_eq!(
        hint,
        "save classes as integers; threshold a probability map first"
    );
    for bad in [-1.0, f32::NAN, f32::INFINITY, 1e9] {
        let text = mask_refusal(&tiff::<Gray32Float>(1, 1, &[bad]), 3).0;
        assert!(text.contains("expected whole numbers from 0"), "{text}");
    }
    let text = mask_refusal(&reference::bytes_of("tiff-bands"), 1).0;
    assert!(text.starts_with("`file.png` has 6 channels"), "{text}");
}
