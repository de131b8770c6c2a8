//! stub
use super::DataError;
/// Shortest side of a page in pixels.
pub const MIN_SIDE: u32 = 16;
/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// RGB, `[H, W, 3]`.
    pub image: Vec<u8>,
    /// 1 in balloons, else 0, `[H, W]`.
    pub mask: Vec<u8>,
}
/// stub
pub fn page(_seed: u64, _index: u64, height: u32, width: u32) -> Page {
    let n = (height * width) as usize;
    Page {
        image: vec![0; n * 3],
        mask: vec![0; n],
    }
}
pub(super) fn check_size(height: u32, width: u32) -> Result<(), DataError> {
    if height < MIN_SIDE || width < MIN_SIDE {
        return Err(DataError::Size {
            height: height as usize,
            width: width as usize,
            why: "x",
        });
    }
    Ok(())
}
