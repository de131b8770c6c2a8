//! Pictures of predictions: image, mask and prediction side by side.

use std::path::{Path, PathBuf};

use data::encode::{self, ColorType};
use data::masks::IGNORE;
use data::{Batch, Sample, Source};

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

/// Colours of errors, which people with any colour vision tell apart.
const MISSED: [u8; 3] = [213, 94, 0];
const FALSE_ALARM: [u8; 3] = [0, 114, 178];
const CONFUSED: [u8; 3] = [180, 60, 160];

/// The colour of pixels that do not count.
const IGNORED: [u8; 3] = [128; 3];

/// Writes pictures of the first `num` images of `source` to `folder`.
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
    for image in 0..num.min(source.num_images()) {
        let index = shown(source, image)?;
        let (sample, answer) = answered(evaluator, source, index)?;
        let panels = [
            sample.rgb().into_owned(),
            colours(source, &sample.mask),
            colours(source, &answer),
        ];
        let name = source.name(index).replace('/', "_");
        let path = folder.join(format!("{:02}-{name}.png", image + 1));
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

/// The sample that stands for an image in pictures: of several windows the one with the most foreground.
///
/// # Errors
/// As [`Source::load`].
pub fn shown(source: &dyn Source, image: usize) -> Result<usize> {
    let samples = source.samples_of(image);
    let (mut shown, mut most) = (samples.start, 0);
    if samples.len() == 1 {
        return Ok(shown);
    }
    for index in samples {
        let mask = source.load(index)?.mask;
        let foreground = mask.iter().filter(|class| !matches!(**class, 0 | IGNORE));
        let foreground = foreground.count();
        if foreground > most {
            (shown, most) = (index, foreground);
        }
    }
    Ok(shown)
}

/// A sample, and the class of each of its pixels as predicted.
pub(super) fn answered(
    evaluator: Evaluator<'_>,
    source: &dyn Source,
    index: usize,
) -> Result<(Sample, Vec<u8>)> {
    let _no_grad = tch::no_grad_guard();
    let (height, width) = source.size();
    let sample = source.load(index)?;
    let mut batch = Batch::new(source.channels(), height, width);
    batch.push(&sample, index);
    let (images, _) = evaluator.upload.batch(&batch)?;
    let logits = evaluator.logits(&images, &evaluator.mode())?;
    let answer = Vec::<u8>::try_from(classes(&logits, 0.5)?.f_flatten(0, -1)?)?;
    Ok((sample, answer))
}

/// Writes the sample at `index` as four pictures, whose names begin with `stem`: the image, its mask, the prediction, and
/// where they differ: missed pixels in orange, false alarms in blue, one class for another in magenta. Returns their
/// paths, and whether some pixels of the mask do not count.
///
/// # Errors
/// If data, a tensor operation or a file fails.
pub fn write_apart(
    evaluator: Evaluator<'_>,
    source: &dyn Source,
    index: usize,
    stem: &Path,
) -> Result<([PathBuf; 4], bool)> {
    let (height, width) = source.size();
    let (sample, answer) = answered(evaluator, source, index)?;
    let image = sample.rgb();
    let errors = errors(&image, &sample.mask, &answer);
    let pictures = [
        ("image", image.into_owned()),
        ("truth", colours(source, &sample.mask)),
        ("answer", colours(source, &answer)),
        ("errors", errors),
    ];
    let path = |what: &str| {
        let mut name = stem.as_os_str().to_owned();
        name.push(format!("-{what}.png"));
        PathBuf::from(name)
    };
    for (what, pixels) in &pictures {
        save_rgb(&path(what), pixels, height, width)?;
    }
    let has_ignored = sample.mask.contains(&IGNORE);
    Ok((pictures.map(|(what, _)| path(what)), has_ignored))
}

/// The image in pale gray, with what is wrong in colour.
fn errors(image: &[u8], mask: &[u8], answer: &[u8]) -> Vec<u8> {
    let (pixels, _) = image.as_chunks::<3>();
    let of = |((pixel, &truth), &answer): ((&[u8; 3], &u8), &u8)| match (truth, answer) {
        (truth, answer) if truth == answer || truth == IGNORE => {
            let sum: u16 = pixel.iter().map(|&it| u16::from(it)).sum();
            // A third is the mean, and half of that range is added to white's half.
            [u8::try_from(sum / 6).unwrap_or(u8::MAX) + 128; 3]
        }
        (_, 0) => MISSED,
        (0, _) => FALSE_ALARM,
        _ => CONFUSED,
    };
    pixels.iter().zip(mask).zip(answer).flat_map(of).collect()
}

/// The classes of pixels in the colours of the masks of `source`, if these have any.
pub(super) fn colours(source: &dyn Source, classes: &[u8]) -> Vec<u8> {
    let of_class: Vec<[u8; 3]> = (0..=u8::MAX).map(|it| colour_in(source, it)).collect();
    let pixels = classes
        .iter()
        .flat_map(|&class| of_class[usize::from(class)]);
    pixels.collect()
}

/// The colour of a class, or of [`IGNORE`], in pictures of `source`.
pub fn colour_in(source: &dyn Source, class: u8) -> [u8; 3] {
    source.colour_of(class).unwrap_or_else(|| colour(class))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let image = [30; 15];
        let picture = errors(&image, &[1, 1, 0, 2, IGNORE], &[1, 0, 1, 1, 1]);
        let gray = [143; 3];
        let expected = [gray, MISSED, FALSE_ALARM, CONFUSED, gray];
        assert_eq!(picture, expected.concat());
        assert_eq!(errors(&[255; 3], &[0], &[0]), [255; 3]);
    }
}
