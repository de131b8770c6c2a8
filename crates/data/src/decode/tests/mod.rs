mod hostile;
mod images;
mod masks;
mod reference;
mod turned;

use std::io::Cursor;
use std::path::PathBuf;

use ::image::ImageFormat;
use png::{BitDepth, ColorType};
use tempfile::TempDir;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype;

use super::*;
use crate::masks::{Request, Tally};
pub(crate) use turned::turned_png;

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
    image(&file(bytes).path, &ImageRule::default())
        .unwrap()
        .pixels
}

/// The classes of a mask that is all there is.
fn decided(path: &Path, classes: usize) -> Result<Vec<u8>, DataError> {
    let labels = labels(path)?;
    let request = Request {
        num_classes: Some(classes),
        ..Request::default()
    };
    let rule = Tally::of(path, &labels).decide(&request);
    let rule = rule.map_err(|undecided| DataError::Undecided {
        path: path.to_owned(),
        undecided: undecided.into(),
    })?;
    Ok(rule.classes(&labels).unwrap())
}

fn mask_of(bytes: &[u8], classes: usize) -> Vec<u8> {
    decided(&file(bytes).path, classes).unwrap()
}

fn mask_refusal(bytes: &[u8], classes: usize) -> (String, String) {
    let file = file(bytes);
    file.refusal(&decided(&file.path, classes).unwrap_err())
}

fn image_refusal(bytes: &[u8]) -> (String, String) {
    let file = file(bytes);
    file.refusal(&image(&file.path, &ImageRule::default()).unwrap_err())
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = ::image::RgbImage::from_fn(width, height, |x, y| {
        ::image::Rgb([x, y, x ^ y].map(|v| u8::try_from(v * 7 % 256).unwrap()))
    });
    let mut bytes = Vec::new();
    picture
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
        .unwrap();
    bytes
}

/// A TIFF without compression.
fn tiff<C: colortype::ColorType>(width: u32, height: u32, samples: &[C::Inner]) -> Vec<u8>
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    encoder.write_image::<C>(width, height, samples).unwrap();
    bytes.into_inner()
}

/// Replaces the value of a tag in the first directory of a TIFF that is little-endian and not big.
fn set_tag(bytes: &mut [u8], tag: u16, value: u32) {
    let at = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let entries = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let mut entries = (0..usize::from(entries)).map(|i| at + 2 + 12 * i);
    let entry = entries
        .find(|&it| bytes[it..it + 2] == tag.to_le_bytes())
        .unwrap();
    bytes[entry + 8..entry + 12].copy_from_slice(&value.to_le_bytes());
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |s, _| {
            (s >> 1) ^ (0xEDB8_8320 * (s & 1))
        })
    })
}
