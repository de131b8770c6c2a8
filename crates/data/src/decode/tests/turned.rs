//! Orientation, compared with that of `image`.

use ::image::{DynamicImage, RgbImage};
use colortype::RGB8;

use super::*;

/// A block of EXIF data with one entry.
fn exif(orientation: u8) -> Vec<u8> {
    let header = b"II*\0\x08\0\0\0\x01\0";
    [
        &header[..],
        &[0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0],
        &[0; 4],
    ]
    .concat()
}

fn picture() -> RgbImage {
    RgbImage::from_fn(5, 3, |x, y| {
        ::image::Rgb([x, y, x * y].map(|it| u8::try_from(it * 20).unwrap()))
    })
}

fn in_png(orientation: u8) -> Vec<u8> {
    let mut info = png::Info::with_size(5, 3);
    info.color_type = ColorType::Rgb;
    info.bit_depth = BitDepth::Eight;
    info.exif_metadata = Some(exif(orientation).into());
    let mut bytes = Vec::new();
    let encoder = png::Encoder::with_info(&mut bytes, info).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&picture()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A PNG of 3x5 pixels (height x width) that is shown as 5x3.
pub(crate) fn turned_png() -> Vec<u8> {
    in_png(6)
}

pub(super) fn in_webp(orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(orientation));
    encoder
        .encode(&picture(), 5, 3, image_webp::ColorType::Rgb8)
        .unwrap();
    bytes
}

fn in_jpeg(orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture()
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
        .unwrap();
    let block = [b"Exif\0\0", &exif(orientation)[..]].concat();
    let size = u16::try_from(block.len() + 2).unwrap().to_be_bytes();
    bytes.splice(2..2, [&[0xFF, 0xE1], &size[..], &block].concat());
    bytes
}

fn in_tiff(orientation: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<RGB8>(5, 3).unwrap();
    let tags = image.encoder();
    tags.write_tag(tiff::tags::Tag::Orientation, u16::from(orientation))
        .unwrap();
    image.write_data(&picture()).unwrap();
    bytes.into_inner()
}

#[test]
fn every_orientation_is_applied_in_every_format() {
    for format in [in_png, in_webp, in_jpeg, in_tiff] {
        let upright = image(&file(&format(1)).path, &ImageRule::default()).unwrap();
        assert_eq!(upright.origin.orientation, Orientation::NoTransforms);
        let upright = RgbImage::from_raw(5, 3, upright.pixels).unwrap();
        for orientation in 1..=8 {
            let how = Orientation::from_exif(orientation).unwrap();
            let mut expected = DynamicImage::from(upright.clone());
            expected.apply_orientation(how);
            let found = image(&file(&format(orientation)).path, &ImageRule::default()).unwrap();
            let size = (expected.width() as usize, expected.height() as usize);
            assert_eq!((found.width, found.height), size, "{orientation}");
            assert_eq!(found.pixels, expected.as_bytes(), "{orientation}");
            assert_eq!(found.origin.orientation, how);
            assert_eq!(found.origin.raw_size, (3, 5));
            let size = super::size(&file(&format(orientation)).path).unwrap();
            assert_eq!(size, (found.height, found.width), "{orientation}");
        }
        // Values that mean nothing change nothing.
        for orientation in [0, 9, 255] {
            let found = image(&file(&format(orientation)).path, &ImageRule::default()).unwrap();
            assert_eq!(found.pixels, upright.as_raw()[..]);
        }
    }
}

#[test]
fn masks_can_be_turned_like_their_image() {
    let size = (1, 5, 1);
    let column = turned(vec![0, 1, 0, 0, 1], size, Orientation::Rotate90);
    assert_eq!(column, [0, 1, 0, 0, 1]);
    let column = turned(vec![0, 1, 0, 0, 1], size, Orientation::Rotate270);
    assert_eq!(column, [1, 0, 0, 1, 0]);
}
