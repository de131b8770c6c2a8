//! Images as bytes.

use colortype::{Gray16, Gray32Float, RGB32Float, RGBA8, RGBA16};

use super::*;

#[test]
fn every_kind_of_png_becomes_rgb() {
    assert_eq!(
        image_of(&gray(&[0, 7, 255])),
        [0, 0, 0, 7, 7, 7, 255, 255, 255]
    );
    let alpha = png_of(ColorType::Rgba, BitDepth::Eight, 1, &[], &[1, 2, 3, 0]);
    assert_eq!(image_of(&alpha), [255; 3]);
    let gray_alpha = png_of(ColorType::GrayscaleAlpha, BitDepth::Eight, 1, &[], &[9, 0]);
    assert_eq!(image_of(&gray_alpha), [255; 3]);
    let palette = png_of(
        ColorType::Indexed,
        BitDepth::Four,
        2,
        &[1, 2, 3, 4, 5, 6],
        &[0x10],
    );
    assert_eq!(image_of(&palette), [4, 5, 6, 1, 2, 3]);
    let bit = png_of(ColorType::Grayscale, BitDepth::One, 2, &[], &[0b0100_0000]);
    assert_eq!(image_of(&bit), [0, 0, 0, 255, 255, 255]);
    // The higher 8 of 16 bits, not the nearest 8-bit value: 0x12FF becomes 0x12.
    let deep = png_of(
        ColorType::Rgb,
        BitDepth::Sixteen,
        1,
        &[],
        &[0x12, 0xFF, 0, 0xFF, 0xFF, 0],
    );
    assert_eq!(image_of(&deep), [0x12, 0, 0xFF]);
    let deep_gray = png_of(
        ColorType::Grayscale,
        BitDepth::Sixteen,
        1,
        &[],
        &[0x80, 0xFF],
    );
    assert_eq!(image_of(&deep_gray), [0x80; 3]);
}

#[test]
fn a_jpeg_is_read_whatever_its_name() {
    let file = file(&jpeg(24, 16));
    let decoded = image(&file.path, &ImageRule::default()).unwrap();
    assert_eq!(
        (decoded.height, decoded.width, decoded.pixels.len()),
        (16, 24, 16 * 24 * 3)
    );
}

fn with(bytes: &[u8], low: f32, high: f32) -> Decoded {
    read_as(bytes, 3, &[(low, high)])
}

fn read_as(bytes: &[u8], channels: usize, ranges: &[(f32, f32)]) -> Decoded {
    let ranges = ranges.iter().map(|&(low, high)| Range { low, high });
    let ranges = ranges.collect();
    image(&file(bytes).path, &ImageRule { channels, ranges }).unwrap()
}

fn range_of(bytes: &[u8]) -> Option<ValueRange> {
    value_range(&raster(&file(bytes).path).unwrap())
}

#[test]
fn white_shows_through_what_is_transparent() {
    // As Pillow: `white.paste(image, mask=image.getchannel("A"))`.
    let half = tiff::<RGBA8>(2, 1, &[10, 20, 30, 128, 10, 20, 30, 255]);
    let decoded = image(&file(&half).path, &ImageRule::default()).unwrap();
    assert_eq!(decoded.pixels, [132, 137, 142, 10, 20, 30]);
    let deep = tiff::<RGBA16>(1, 1, &[10 << 8, 20 << 8, 30 << 8, 0x80FF]);
    assert_eq!(image_of(&deep), [132, 137, 142]);
    // A range is for colours: opacity has its own.
    assert_eq!(with(&deep, 0.0, 65535.0 / 2.0).pixels, [137, 147, 157]);
    // Here colours are multiplied by their opacity already.
    let name = "tiff-rgba8-multiplied";
    let raster = raster(&file(&reference::bytes_of(name)).path).unwrap();
    let Samples::U8(samples) = raster.samples else {
        panic!("{name}");
    };
    let pixels = samples.chunks_exact(4);
    let expected: Vec<u8> = pixels
        .flat_map(|it| [it[0], it[1], it[2]].map(|colour| colour + (255 - it[3])))
        .collect();
    assert_eq!(image_of(&reference::bytes_of(name)), expected);
    for (bytes, is_transparent) in [
        (&half, true),
        (&tiff::<RGBA8>(1, 1, &[10, 20, 30, 255]), false),
    ] {
        let raster = super::raster(&file(bytes).path).unwrap();
        assert_eq!(raster.is_transparent(), is_transparent);
    }
}

#[test]
fn wide_values_become_bytes_by_the_range_of_the_set() {
    // 12 bits in 16.
    let deep = tiff::<Gray16>(4, 1, &[0, 100, 2048, 4095]);
    let pixels = |decoded: Decoded| {
        decoded
            .pixels
            .iter()
            .step_by(3)
            .copied()
            .collect::<Vec<_>>()
    };
    assert_eq!(image_of(&deep)[9..], [15; 3]);
    assert_eq!(pixels(with(&deep, 0.0, 4095.0)), [0, 6, 128, 255]);
    assert_eq!(pixels(with(&deep, 100.0, 2048.0)), [0, 0, 255, 255]);
    assert_eq!(pixels(with(&deep, 100.0, 100.0)), [0, 0, 255, 255]);
    let (low, high) = (0.0, 4095.0);
    let expected = ValueRange {
        colours: vec![Some(Range { low, high })],
        alpha: None,
        highest: Some(65535),
    };
    assert_eq!(range_of(&deep), Some(expected));
    // Files of 8 bits need no range, and ignore it.
    let narrow = gray(&[0, 100, 255]);
    assert_eq!(range_of(&narrow), None);
    assert_eq!(pixels(with(&narrow, 0.0, 100.0)), [0, 100, 255]);
    // Opacity is measured apart.
    let found = range_of(&tiff::<RGBA16>(1, 1, &[5, 7, 6, 65535])).unwrap();
    let (low, high) = (5.0, 7.0);
    assert_eq!(found.of_all(), Some(Range { low, high }));
    assert_eq!(found.alpha.map(|it| it.low), Some(65535.0));
}

#[test]
fn floats_that_are_not_finite_are_black_and_counted() {
    let samples = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -2.0, 0.0, 2.0];
    let bytes = tiff::<Gray32Float>(6, 1, &samples);
    let decoded = with(&bytes, -2.0, 2.0);
    let gray: Vec<u8> = decoded.pixels.iter().step_by(3).copied().collect();
    assert_eq!(gray, [0, 0, 0, 0, 128, 255]);
    assert_eq!(raster(&file(&bytes).path).unwrap().num_non_finite(), 3);
    let range = range_of(&bytes).unwrap();
    let (low, high) = (-2.0, 2.0);
    assert_eq!(
        (range.of_all(), range.highest),
        (Some(Range { low, high }), None)
    );
    assert_eq!(range_of(&tiff::<Gray32Float>(1, 1, &[f32::NAN])), None);

    let (text, hint) = image_refusal(&bytes);
    assert_eq!(
        text,
        "`file.png` has the value -2: without a range, values must be between 0 and 1"
    );
    assert_eq!(
        hint,
        "save it with 8 or 16 bits, or with values from 0 to 1"
    );
    let unit = tiff::<RGB32Float>(1, 1, &[0.0, 0.5, 1.0]);
    assert_eq!(image_of(&unit), [0, 128, 255]);
}

#[test]
fn channels_that_are_neither_gray_nor_rgb_are_read_as_stored() {
    for (name, channels) in [("tiff-bands", 6), ("tiff-rgb8-infrared", 4)] {
        let bytes = reference::bytes_of(name);
        let raster = raster(&file(&bytes).path).unwrap();
        assert_eq!(raster.form().natural(), channels, "{name}");
        let high = |at: usize| match &raster.samples {
            Samples::U8(samples) => samples[at],
            Samples::U16(samples) => samples[at].to_be_bytes()[0],
            _ => panic!("{name}"),
        };
        let pixels = read_as(&bytes, channels, &[]).pixels;
        assert_eq!(pixels.len(), 3 * 5 * channels, "{name}");
        assert!((0..pixels.len()).all(|at| pixels[at] == high(at)), "{name}");
        let (text, _) = image_refusal(&bytes);
        assert_eq!(
            text,
            format!("`file.png` has {channels} channels, but the network expects 3")
        );
    }
}

#[test]
fn alpha_is_a_channel_where_a_channel_more_is_asked_for() {
    let half = tiff::<RGBA8>(1, 1, &[10, 20, 30, 128]);
    assert_eq!(read_as(&half, 4, &[]).pixels, [10, 20, 30, 128]);
    let gray_alpha = png_of(ColorType::GrayscaleAlpha, BitDepth::Eight, 1, &[], &[9, 0]);
    assert_eq!(read_as(&gray_alpha, 2, &[]).pixels, [9, 0]);
    // Gray alone, on white.
    assert_eq!(read_as(&gray_alpha, 1, &[]).pixels, [255]);
    assert_eq!(read_as(&gray(&[7, 8]), 1, &[]).pixels, [7, 8]);
    let palette = png_of(ColorType::Indexed, BitDepth::Eight, 1, &[1, 2, 3], &[0]);
    let rule = ImageRule {
        channels: 1,
        ..ImageRule::default()
    };
    let refused = image(&file(&palette).path, &rule).unwrap_err().to_string();
    assert!(
        refused.ends_with("has three channels (RGB), but the network expects 1"),
        "{refused}"
    );
}

#[test]
fn each_of_several_channels_has_its_range() {
    let deep = tiff::<RGBA16>(2, 1, &[0, 0, 100, 5, 10, 1000, 200, 5]);
    let ranges = [(0.0, 10.0), (0.0, 1000.0), (0.0, 400.0), (5.0, 5.0)];
    assert_eq!(
        read_as(&deep, 4, &ranges).pixels,
        [0, 0, 64, 0, 255, 255, 128, 0]
    );
}

#[test]
fn rules_of_earlier_files_have_one_range_or_none() {
    let read = |text: &str| serde_json::from_str::<ImageRule>(text).unwrap();
    assert_eq!(read(r#"{"range":null}"#), ImageRule::default());
    let (low, high) = (0.0, 9.0);
    let ranges = vec![Range { low, high }];
    let channels = 3;
    assert_eq!(
        read(r#"{"range":{"low":0.0,"high":9.0}}"#),
        ImageRule { channels, ranges }
    );
    let several = ImageRule {
        channels: 2,
        ranges: vec![Range { low, high }; 2],
    };
    let text = serde_json::to_string(&several).unwrap();
    assert_eq!(read(&text), several);
    assert!(
        several.is_sound()
            && !ImageRule {
                channels: 4,
                ..several
            }
            .is_sound()
    );
}
