use std::path::PathBuf;

use png::{BitDepth, ColorType};
use tempfile::TempDir;

use super::*;

/// A folder for one file, deleted with it.
struct File {
    dir: TempDir,
    path: PathBuf,
}

fn file(bytes: &[u8]) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.png");
    fs::write(&path, bytes).unwrap();
    File { dir, path }
}

impl File {
    /// The message without the folder, and the hint.
    fn refusal(&self, error: &DataError) -> (String, String) {
        let text = error
            .to_string()
            .replace(&format!("{}/", self.dir.path().display()), "");
        (text, error.hint().unwrap_or_default())
    }
}

/// A PNG that is one pixel high and `width` pixels wide, from a packed row.
fn png_of(colour: ColorType, depth: BitDepth, width: u32, palette: &[u8], row: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, 1);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if !palette.is_empty() {
        encoder.set_palette(palette.to_vec());
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(row).unwrap();
    writer.finish().unwrap();
    bytes
}

fn gray(values: &[u8]) -> Vec<u8> {
    let width = u32::try_from(values.len()).unwrap();
    png_of(ColorType::Grayscale, BitDepth::Eight, width, &[], values)
}

fn image_of(bytes: &[u8]) -> Vec<u8> {
    image(&file(bytes).path).unwrap().pixels
}

fn mask_of(bytes: &[u8], classes: usize) -> Vec<u8> {
    mask(&file(bytes).path, classes).unwrap().pixels
}

fn mask_refusal(bytes: &[u8], classes: usize) -> (String, String) {
    let file = file(bytes);
    file.refusal(&mask(&file.path, classes).unwrap_err())
}

fn image_refusal(bytes: &[u8]) -> (String, String) {
    let file = file(bytes);
    file.refusal(&image(&file.path).unwrap_err())
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x, y, x ^ y].map(|v| u8::try_from(v * 7 % 256).unwrap()))
    });
    let mut bytes = Vec::new();
    picture
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
        .unwrap();
    bytes
}

#[test]
fn every_kind_of_png_becomes_rgb() {
    assert_eq!(
        image_of(&gray(&[0, 7, 255])),
        [0, 0, 0, 7, 7, 7, 255, 255, 255]
    );
    let alpha = png_of(ColorType::Rgba, BitDepth::Eight, 1, &[], &[1, 2, 3, 0]);
    assert_eq!(image_of(&alpha), [1, 2, 3]);
    let gray_alpha = png_of(ColorType::GrayscaleAlpha, BitDepth::Eight, 1, &[], &[9, 0]);
    assert_eq!(image_of(&gray_alpha), [9, 9, 9]);
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
    let decoded = image(&file.path).unwrap();
    assert_eq!(
        (decoded.height, decoded.width, decoded.pixels.len()),
        (16, 24, 16 * 24 * 3)
    );
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let hint = "open it in an image viewer; copy or export it again";
    for whole in [jpeg(64, 64), gray(&[3; 500])] {
        for length in [0, 1, 10, whole.len() / 2, whole.len() - 30, whole.len() - 2] {
            let (text, found) = image_refusal(&whole[..length]);
            assert!(
                text.starts_with("`file.png` is truncated or corrupt: "),
                "{length}: {text}"
            );
            assert_eq!(found, hint);
        }
    }
    let whole = gray(&[1; 500]);
    for length in [0, 1, 10, whole.len() / 2, whole.len() - 2] {
        let (text, found) = mask_refusal(&whole[..length], 1);
        assert!(
            text.starts_with("`file.png` is truncated or corrupt: "),
            "{length}: {text}"
        );
        assert_eq!(found, hint);
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let mut bytes = gray(&[1; 500]);
    let middle = bytes.len() - 20;
    bytes[middle] ^= 0xFF;
    assert!(
        image_refusal(&bytes)
            .0
            .starts_with("`file.png` is truncated or corrupt: ")
    );
    assert!(
        mask_refusal(&bytes, 1)
            .0
            .starts_with("`file.png` is truncated or corrupt: ")
    );
    assert_eq!(
        image_refusal(b"GIF89a").0,
        "`file.png` is truncated or corrupt: it is neither a PNG nor a JPEG file"
    );
}

#[test]
fn a_file_that_claims_any_size_takes_no_memory() {
    // The header of a real file with another width.
    let mut header = gray(&[0]);
    header[16..20].copy_from_slice(&200_000_u32.to_be_bytes());
    let sum = crc(&header[12..29]);
    header[29..33].copy_from_slice(&sum.to_be_bytes());
    let expected =
        "`file.png` has more pixels than Snug accepts (at most 16384x16384, 1 GiB decoded)";
    assert_eq!(image_refusal(&header).0, expected);
    assert_eq!(
        mask_refusal(&header, 1),
        (expected.to_owned(), "cut it into tiles".to_owned())
    );
}

#[test]
fn a_file_that_claims_more_than_its_bytes_can_hold_takes_no_memory() {
    let expected =
        "`file.png` is truncated or corrupt: it has too few bytes for its size in pixels";
    let mut header = gray(&[0]);
    header[16..24].copy_from_slice(&[[0, 0, 0x40, 0]; 2].concat());
    let sum = crc(&header[12..29]);
    header[29..33].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(image_refusal(&header).0, expected);
    assert_eq!(mask_refusal(&header, 1).0, expected);

    let mut bytes = jpeg(8, 8);
    let frame = bytes.windows(2).position(|it| it == [0xFF, 0xC0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0x40, 0, 0x40, 0]);
    assert_eq!(image_refusal(&bytes).0, expected);

    // Even the most compressible image is accepted.
    let row = vec![0; 16_384];
    let mut whole = Vec::new();
    let mut encoder = png::Encoder::new(&mut whole, 16_384, 1024);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&row.repeat(1024)).unwrap();
    writer.finish().unwrap();
    assert_eq!(mask_of(&whole, 1).len(), 1 << 24);
    let picture = image::GrayImage::new(4096, 1024);
    let mut whole = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut whole, 1);
    picture.write_with_encoder(encoder).unwrap();
    assert_eq!(image_of(&whole).len(), 3 << 22);
}

#[test]
fn a_jpeg_whose_decoder_panics_is_refused() {
    // Found by the fuzz target `image_folder` and reduced: a component that is sampled 0 times, and
    // a scan of another one.
    let (text, hint) = image_refusal(include_bytes!("panics.jpg"));
    assert_eq!(
        text,
        "`file.png` is truncated or corrupt: its decoder panicked"
    );
    assert_eq!(hint, "open it in an image viewer; copy or export it again");
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |s, _| {
            (s >> 1) ^ (0xEDB8_8320 * (s & 1))
        })
    })
}

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
    assert_eq!(
        mask_of(&gray(&[0, 127, 128, 255, 255, 255]), 1),
        [0, 0, 1, 1, 1, 1]
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
    // With white first, a binary mask uses the colour, and classes use the index.
    let inverted = indexed(&[255, 255, 255, 0, 0, 0], &[0b0001_0001]);
    assert_eq!(mask_of(&inverted, 1), [1, 0, 1, 0]);
    assert_eq!(mask_of(&inverted, 2), [0, 1, 0, 1]);
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
fn unexpected_values_are_named_with_advice() {
    let refused = |values: &[u8], classes| mask_refusal(&gray(values), classes);
    let (text, hint) = refused(&[0, 38, 75], 1);
    assert_eq!(
        text,
        "mask `file.png`: expected 0 and 255 (or 0 and 1), found 0, 38, 75"
    );
    assert_eq!(
        hint,
        "if each value is a class, renumber them 0 to 2 and pass `--classes 3`"
    );

    let (text, hint) = refused(&[0, 1, 2], 1);
    assert_eq!(
        text,
        "mask `file.png`: expected 0 and 255 (or 0 and 1), found 0, 1, 2"
    );
    assert_eq!(hint, "if these are class indices, pass `--classes 3`");

    let (text, hint) = refused(&[0, 1, 2, 3], 3);
    assert_eq!(
        text,
        "mask `file.png`: expected class indices 0 to 2 (`--classes 3`), found 0, 1, 2, 3"
    );
    assert_eq!(hint, "if these are class indices, pass `--classes 4`");

    let (text, hint) = refused(&[0, 255], 2);
    assert!(text.ends_with("found 0, 255"), "{text}");
    assert_eq!(
        hint,
        "a mask of 0 and 255 has one class: pass `--classes 1`"
    );

    let (_, hint) = refused(&[0, 1, 2, 255], 3);
    assert!(hint.starts_with("255 is often an ignore label"), "{hint}");

    let many: Vec<u8> = (0..200).collect();
    let (text, hint) = refused(&many, 1);
    assert!(
        text.ends_with("found 0, 1, 2, 3, 4, 5, 6, 7, ... (200 different values, up to 199)"),
        "{text}"
    );
    assert!(hint.starts_with("this looks like a photograph"), "{hint}");
}

#[test]
fn colours_are_not_classes() {
    let rgb = png_of(
        ColorType::Rgb,
        BitDepth::Eight,
        3,
        &[],
        &[0, 0, 0, 128, 0, 0, 0, 128, 0],
    );
    let (text, hint) = mask_refusal(&rgb, 3);
    assert_eq!(
        text,
        "mask `file.png`: expected class indices 0 to 2 (`--classes 3`) in one channel, \
         found colours (128, 0, 0), (0, 128, 0)"
    );
    assert!(hint.contains("gray level or a palette index"), "{hint}");
    assert!(
        mask_refusal(&rgb, 1)
            .0
            .contains("found colours (128, 0, 0)")
    );
}

#[test]
fn a_jpeg_named_png_is_refused_as_a_mask() {
    let (text, hint) = mask_refusal(&jpeg(8, 8), 1);
    assert_eq!(text, "mask `file.png` is not a PNG file");
    assert_eq!(
        hint,
        "save masks as PNG: JPEG changes the values along every edge"
    );
}
