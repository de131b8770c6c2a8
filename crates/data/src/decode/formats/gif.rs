//! GIF: the indices of its first frame.

use std::io::{Read, Seek};

use gif::{DecodeOptions, DecodingError, MemoryLimit};
use image::metadata::Orientation;

use super::{MOST_OF_LZW, Refusal, Stored, array, check_claim, check_size};
use crate::decode::raster::{Raster, Samples};

impl From<DecodingError> for Refusal {
    fn from(error: DecodingError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// The size of the screen.
pub(super) fn size(mut file: impl Read + Seek) -> Result<Stored, Refusal> {
    file.seek_relative(6)?;
    let mut side = || array(&mut file).map(|side| u16::from_le_bytes(side).into());
    Ok(((side()?, side()?), Orientation::NoTransforms))
}

pub(super) fn read(bytes: &[u8]) -> Result<Raster, Refusal> {
    let mut options = DecodeOptions::new();
    // The limit would be for frames that the decoder allocates; here it fills our own memory.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes)?;
    let (width, height) = (decoder.width(), decoder.height());
    let size = check_size(width.into(), height.into(), 1)?;
    let frame = decoder
        .next_frame_info()?
        .ok_or_else(|| Refusal::corrupt("it has no frame"))?;
    if (frame.left, frame.top, frame.width, frame.height) != (0, 0, width, height) {
        let what = "its first frame does not cover it".to_owned();
        return Err(Refusal::Unsupported(what));
    }
    check_claim(bytes, size as u64, MOST_OF_LZW)?;
    let transparent = frame.transparent.map(usize::from);
    let colours = decoder.palette()?.as_chunks::<3>().0.iter().enumerate();
    let opacity = |index| {
        if Some(index) == transparent {
            0
        } else {
            u8::MAX
        }
    };
    let palette = colours
        .map(|(i, &[r, g, b])| [r, g, b, opacity(i)])
        .collect();
    let mut samples = vec![0; size];
    decoder.read_into_buffer(&mut samples)?;
    let mut raster = Raster::plain(Samples::U8(samples), 1, (height.into(), width.into()));
    raster.palette = Some(palette);
    // A file that ends before its end marker is an error here.
    while decoder.next_frame_info()?.is_some() {
        raster.origin.pages += 1;
    }
    Ok(raster)
}
