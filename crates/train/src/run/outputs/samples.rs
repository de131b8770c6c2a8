//! Pictures of predictions: image, mask and prediction side by side.

use std::path::{Path, PathBuf};

use data::encode::{self, ColorType};
use data::masks::IGNORE;
use data::{Batch, Source};

use crate::error::{Error, Result};
use engine::evaluation::Evaluator;
use engine::predictor::classes;

/// Pixels between the three panels.
const GAP: usize = 4;

/// Colours of classes 1.. in pictures; more classes start over.
const PALETTE: [[u8; 3]; 6] = [
    [255, 255, 255],
    [230, 80, 60],
    [60, 160, 230],
    [90, 190, 90],
    [240, 190, 60],
    [170, 110, 220],
];

/// The colour of pixels that do not count.
const IGNORED: [u8; 3] = [128; 3];

/// Writes pictures of the first `num` samples of `source` to `folder`.
///
/// # Errors
/// If data, a tensor operation or a file fails.
pub fn write(
    evaluator: Evaluator<'_>,
    source: &dyn Source,
    num: usize,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let (height, width) = source.size();
    let mut files = Vec::new();
    let _no_grad = tch::no_grad_guard();
    for index in 0..num.min(source.len()) {
        let sample = source.load(index)?;
        let mut batch = Batch::new(source.channels(), height, width);
        batch.push(&sample, index);
        let (images, _) = evaluator.upload.batch(&batch)?;
        let logits = evaluator.logits(&images, &evaluator.mode())?;
        let answer = Vec::<u8>::try_from(classes(&logits, 0.5)?.f_flatten(0, -1)?)?;
        let panels = [
            sample.rgb().into_owned(),
            colours(&sample.mask),
            colours(&answer),
        ];
        let name = source.name(index).replace('/', "_");
        let path = folder.join(format!("{:02}-{name}.png", index + 1));
        save_rgb(
            &path,
            &side_by_side(&panels, height, width),
            height,
            3 * width + 2 * GAP,
        )?;
        files.push(path);
    }
    Ok(files)
}

fn colours(classes: &[u8]) -> Vec<u8> {
    classes.iter().flat_map(|&class| colour(class)).collect()
}

/// The colour of a class in pictures; background is black.
pub(super) fn colour(class: u8) -> [u8; 3] {
    match class {
        0 => [0; 3],
        IGNORE => IGNORED,
        n => PALETTE[(usize::from(n) - 1) % PALETTE.len()],
    }
}

/// Three RGB pictures with a gray gap between them.
fn side_by_side(panels: &[Vec<u8>; 3], height: usize, width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(height * (3 * width + 2 * GAP) * 3);
    for row in 0..height {
        for (i, panel) in panels.iter().enumerate() {
            if i > 0 {
                out.extend([128; 3 * GAP]);
            }
            out.extend_from_slice(&panel[row * width * 3..(row + 1) * width * 3]);
        }
    }
    out
}

pub(super) fn save_rgb(path: &Path, pixels: &[u8], height: usize, width: usize) -> Result<()> {
    save_png(path, pixels, (height, width), ColorType::Rgb, None)
}

/// Writes a PNG of `size`, height and width, through a temporary file. `palette` has the colours of indices,
/// RGB.
///
/// # Errors
/// [`Error::Io`].
pub fn save_png(
    path: &Path,
    pixels: &[u8],
    size: (usize, usize),
    colour: ColorType,
    palette: Option<Vec<u8>>,
) -> Result<()> {
    let [height, width] = [size.0, size.1].map(|d| u32::try_from(d).unwrap_or(u32::MAX));
    let bytes = encode::png(colour, palette, (height, width), pixels);
    let bytes = bytes.map_err(|error| Error::io("write", path, error))?;
    crate::run::weights::write_atomically(path, &bytes)
}
