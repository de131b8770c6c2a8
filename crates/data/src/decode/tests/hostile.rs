//! Damaged files, and files that claim more than they hold.

use ::image::codecs::jpeg::JpegEncoder;
use colortype::{CMYK8, Gray8, Gray16};
use tiff::tags::Tag;

use super::*;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const COMPRESSION: u16 = 259;
const OFFSETS: u16 = 273;
const ROWS_OF_STRIP: u16 = 278;
const BYTES_OF_STRIP: u16 = 279;

/// Every format, by other programs and by our own encoders.
fn whole_files() -> Vec<(&'static str, Vec<u8>)> {
    let own = [("jpeg", jpeg(64, 64)), ("png", gray(&[3; 500]))];
    reference::all().chain(own).collect()
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let file = file(b"");
    for (name, whole) in whole_files() {
        // Here `tifffile` left values at the end to which nothing points.
        let unused = if name == "tiff-pages" { 16 } else { 0 };
        let used = whole.len() - unused;
        let start = 0..used.min(64);
        for length in start.chain((64..used).step_by(13)).chain(used - 16..used) {
            fs::write(&file.path, &whole[..length]).unwrap();
            let error = raster(&file.path).unwrap_err();
            let (text, hint) = file.refusal(&error);
            assert!(
                text.starts_with("`file.png` is truncated or corrupt: "),
                "{name}, {length}: {text}"
            );
            assert_eq!(hint, "open it in an image viewer; copy or export it again");
        }
    }
}

#[test]
fn an_altered_file_is_read_or_refused() {
    let file = file(b"");
    for (name, whole) in whole_files() {
        for at in (0..whole.len()).step_by(5) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xFF;
            fs::write(&file.path, &bytes).unwrap();
            if let Ok(raster) = raster(&file.path) {
                let (height, width) = (raster.height, raster.width);
                assert!(height.max(width) <= MAX_SIDE as usize, "{name}, {at}");
                let samples = match &raster.samples {
                    Samples::U8(it) => it.len(),
                    Samples::U16(it) => it.len(),
                    Samples::U32(it) => it.len(),
                    Samples::F32(it) => it.len(),
                };
                assert_eq!(samples, height * width * raster.channels, "{name}, {at}");
                if let Ok(found) = size(&file.path) {
                    assert_eq!(found, (height, width), "{name}, {at}");
                }
            }
        }
    }
}

#[test]
fn a_size_needs_only_headers() {
    let whole = jpeg(64, 48);
    let cut = file(&whole[..whole.len() - 8]);
    assert_eq!(size(&cut.path).unwrap(), (48, 64));
    for (bytes, expected) in [
        (&b"GIF89a"[..], "`file.png` is truncated or corrupt: "),
        (&whole[..30], "`file.png` is truncated or corrupt: "),
        (b"no image at all", "`file.png` is not a PNG, JPEG, "),
    ] {
        let file = file(bytes);
        let (text, _) = file.refusal(&size(&file.path).unwrap_err());
        assert!(text.starts_with(expected), "{text}");
    }
    let error = size(cut.dir.path()).unwrap_err();
    assert!(matches!(error, DataError::Read { .. }), "{error}");
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
        "`file.png` is truncated or corrupt: it ends within its first bytes"
    );
    assert_eq!(
        image_refusal(b"\0\0\0\x18ftypheic\0\0\0\0").0,
        "`file.png` is not a PNG, JPEG, TIFF, BMP, WebP or GIF file"
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
    let mut bytes = tiff::<Gray16>(1, 1, &[7]);
    for (tag, value) in [(WIDTH, 1), (HEIGHT, 200_000), (ROWS_OF_STRIP, 200_000)] {
        set_tag(&mut bytes, tag, value);
    }
    assert_eq!(image_refusal(&bytes).0, expected);
    let mut bytes = reference::bytes_of("webp-frames");
    bytes[24..27].fill(0x7F);
    assert_eq!(image_refusal(&bytes).0, expected);
    let mut bytes = reference::bytes_of("gif-palette");
    bytes[6..8].fill(0x7F);
    assert_eq!(image_refusal(&bytes).0, expected);
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

    let mut bytes = tiff::<Gray16>(1, 1, &[7]);
    for (tag, value) in [(WIDTH, 16_384), (HEIGHT, 16_384), (ROWS_OF_STRIP, 16_384)] {
        set_tag(&mut bytes, tag, value);
    }
    assert_eq!(image_refusal(&bytes).0, expected);
    let mut bytes = turned::in_webp(6);
    let exif = bytes.windows(4).position(|it| it == b"EXIF").unwrap();
    bytes[exif + 4..exif + 8].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    let expected_of_exif = "`file.png` is truncated or corrupt: Memory limit exceeded";
    assert_eq!(image_refusal(&bytes).0, expected_of_exif);
    for (name, sizes) in [("bmp-rgb", &[18, 22][..]), ("gif-palette", &[6, 8])] {
        let mut bytes = reference::bytes_of(name);
        for &at in sizes {
            bytes[at..at + 2].copy_from_slice(&16_384_u16.to_le_bytes());
        }
        if name == "gif-palette" {
            let frame = bytes
                .windows(5)
                .position(|it| it == b"\x2C\0\0\0\0")
                .unwrap();
            bytes[frame + 5..frame + 9].copy_from_slice(&[0, 0x40, 0, 0x40]);
        }
        assert_eq!(image_refusal(&bytes).0, expected, "{name}");
    }

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
    let picture = ::image::GrayImage::new(4096, 1024);
    let mut whole = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut whole, 1);
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

#[test]
fn what_is_not_read_is_named() {
    let refused = |bytes: &[u8]| {
        let (text, hint) = image_refusal(bytes);
        assert_eq!(
            hint,
            "save it as gray or RGB, in a PNG or an uncompressed TIFF"
        );
        text.replace("`file.png` cannot be read: ", "")
    };
    let cmyk = tiff::<CMYK8>(1, 1, &[1, 2, 3, 4]);
    assert_eq!(refused(&cmyk), "it has CMYK colours");
    let mut bytes = tiff::<Gray8>(1, 1, &[7]);
    set_tag(&mut bytes, COMPRESSION, 50_000);
    assert_eq!(refused(&bytes), "it is compressed by ZSTD");
    let tagged = |tag, value: u32| {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        let mut image = encoder.new_image::<Gray8>(1, 1).unwrap();
        image.encoder().write_tag(tag, value).unwrap();
        image.write_data(&[7]).unwrap();
        bytes.into_inner()
    };
    let backwards = tagged(Tag::FillOrder, 2);
    assert_eq!(refused(&backwards), "it stores its bits backwards");
    let preview = tagged(Tag::NewSubfileType, 1);
    assert_eq!(
        refused(&preview),
        "it has a preview as its first page, as camera raw has"
    );

    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, 2, 2, &[0; 6]).unwrap();
    let frame = gif::Frame::from_indexed_pixels(1, 1, [1], None);
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    assert_eq!(refused(&bytes), "its first frame does not cover it");
}

#[test]
fn a_tiff_that_points_outside_itself_is_refused() {
    let whole = tiff::<Gray16>(3, 2, &[7; 6]);
    let refused = |alter: &dyn Fn(&mut [u8])| {
        let mut bytes = whole.clone();
        alter(&mut bytes);
        let (text, _) = image_refusal(&bytes);
        text.replace("`file.png` is truncated or corrupt: ", "")
    };
    let missing = "it lacks a part of its pixels";
    assert_eq!(refused(&|bytes| set_tag(bytes, OFFSETS, 100_000)), missing);
    // A sparse file has no bytes for what is empty.
    assert_eq!(refused(&|bytes| set_tag(bytes, BYTES_OF_STRIP, 0)), missing);
    let directory = u32::from_le_bytes(whole[4..8].try_into().unwrap()) as usize;
    let entries = usize::from(whole[directory]);
    let next = directory + 2 + 12 * entries;
    assert_eq!(
        refused(&|bytes| bytes.copy_within(4..8, next)),
        "its directories overlap"
    );
    let outside = "it ends before its last value";
    assert_eq!(refused(&|bytes| bytes[next + 2] = 1), outside);
    assert_eq!(refused(&|bytes| bytes[7] = 1), outside);
    // An entry with 2^24 values more.
    assert_eq!(refused(&|bytes| bytes[directory + 2 + 7] = 1), outside);
}
