//! Encodes pixels as PNG.

use std::io;

pub use png::ColorType;
use png::{BitDepth, Encoder};

/// A PNG of `pixels`, `[H, W, C]` with 8 bits each. `palette` has the colours of indices, RGB.
///
/// # Errors
/// If the sizes do not fit.
pub fn png(
    colour: ColorType,
    palette: Option<Vec<u8>>,
    (height, width): (u32, u32),
    pixels: &[u8],
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}
