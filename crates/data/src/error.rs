//! What can be wrong with the data, each with the file it is wrong in.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why data could not be found, read or written. Sizes are (height, width).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The folder does not exist or is a file.
    #[error("folder `{}` does not exist", path.display())]
    FolderMissing {
        /// The folder that was looked for.
        path: PathBuf,
    },
    /// The folder exists, but holds neither layout that is read.
    #[error("`{}` has neither `train/images` nor `images` in it{}", path.display(), listing(found))]
    UnknownLayout {
        /// The folder that was given.
        path: PathBuf,
        /// What stands in it instead, some names.
        found: Vec<String>,
    },
    /// A folder for images has no PNG or JPEG file in it.
    #[error("no images (PNG or JPEG) in `{}`{}", path.display(), listing(found))]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// What stands in it instead, some names.
        found: Vec<String>,
    },
    /// Too few images to set some apart for validation.
    #[error("{images} image in `{}` is too few to split off a validation set", path.display())]
    TooFewToSplit {
        /// The folder of the images.
        path: PathBuf,
        /// How many there are.
        images: usize,
    },
    /// A share for validation that is no percentage strictly inside 0 to 100.
    #[error("validation share of {val_percent} % is not above 0 and below 100")]
    ValPercent {
        /// What was asked for.
        val_percent: f64,
    },
    /// Images that have no mask beside them.
    #[error("{count} image(s) in `{}` have no mask in `{}`: {}{}",
        images.display(), masks.display(), names.join(", "), if *count > names.len() { ", ..." } else { "" })]
    MasksMissing {
        /// The folder of the images.
        images: PathBuf,
        /// The folder in which the masks were looked for.
        masks: PathBuf,
        /// Up to five file names.
        names: Vec<String>,
        /// How many there are in all.
        count: usize,
    },
    /// Two images of one name, such as `a.png` and `a.jpg`, for one mask.
    #[error("two images are named `{stem}`: `{}` and `{}`", first.display(), second.display())]
    DuplicateStem {
        /// The name without its extension.
        stem: String,
        /// One of the files.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The mask is not a PNG file, by its name or by its first bytes.
    #[error("mask `{}` is not a PNG file", path.display())]
    MaskNotPng {
        /// The mask.
        path: PathBuf,
    },
    /// The mask is of another size than its image.
    #[error("mask `{}` is {}x{} (height x width), its image `{}` is {}x{}",
        mask.display(), mask_size.0, mask_size.1, image.display(), image_size.0, image_size.1)]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// The image it belongs to.
        image: PathBuf,
        /// Size of the mask in pixels.
        mask_size: (usize, usize),
        /// Size of the image in pixels.
        image_size: (usize, usize),
    },
    /// The mask holds values that are no class.
    #[error("mask `{}`: expected {}, found {}{}", mask.display(), expected(*classes), numbers(found),
        if *distinct > found.len() { format!(", ... ({distinct} different values, up to {max})") } else { String::new() })]
    MaskValues {
        /// The mask.
        mask: PathBuf,
        /// Up to eight of the values in it, ascending.
        found: Vec<u16>,
        /// How many different values there are.
        distinct: usize,
        /// The highest of them.
        max: u16,
        /// How many classes were asked for.
        classes: usize,
    },
    /// The mask is coloured, where a gray level or an index says the class.
    #[error("mask `{}`: expected {} in one channel, found colours {}", mask.display(), expected(*classes), colours(found))]
    MaskColours {
        /// The mask.
        mask: PathBuf,
        /// Up to eight of its colours, RGB at the file's own bit depth.
        found: Vec<[u16; 3]>,
        /// How many classes were asked for.
        classes: usize,
    },
    /// The file is there, but cannot be decoded.
    #[error("`{}` is truncated or corrupt: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The image is larger than any that is read.
    #[error("`{}` has more pixels than Snug reads (at most {limit}x{limit}, 1 GiB decoded)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Highest number of pixels along a side.
        limit: u32,
    },
    /// The file or folder cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file or folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder to write to has something in it.
    #[error("folder `{}` is not empty", path.display())]
    OutputNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// An image or page of a size that cannot be made.
    #[error("{height}x{width} (height x width) is not a size of an image here: {why}")]
    Size {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Batches of no samples were asked for.
    #[error("a batch of 0 samples holds nothing")]
    EmptyBatch,
    /// A worker thread could not be started.
    #[error("cannot start a worker thread for the data")]
    Spawn(#[source] io::Error),
    /// A worker thread panicked, which is a fault of the program.
    #[error("a data worker panicked at sample `{name}`: {message}")]
    WorkerPanicked {
        /// Name of the sample it was loading.
        name: String,
        /// What the panic said.
        message: String,
    },
    /// Several samples are bad; found by [`verify`](fn@super::verify).
    #[error("{count} samples cannot be used:{}", lines(shown, *count))]
    Several {
        /// How many.
        count: usize,
        /// The first of them, up to eight, in the order of the samples.
        shown: Vec<Self>,
    },
}

impl DataError {
    /// What the reader could do about it, in one line, where there is advice.
    pub fn hint(&self) -> Option<String> {
        let layout = "expected `{train,val,test}/images/STEM.png` with `{train,val,test}/masks/STEM_mask.png`, \
                      or `images/` (or `imgs/`) beside `masks/`";
        Some(match self {
            Self::FolderMissing { .. } | Self::UnknownLayout { .. } => layout.to_owned(),
            Self::NoImages { .. } => "images are files ending in .png, .jpg or .jpeg".to_owned(),
            Self::TooFewToSplit { .. } => {
                "add images, or a `val` folder beside `train`".to_owned()
            }
            Self::ValPercent { .. } => "10 or 20 are usual".to_owned(),
            Self::MasksMissing { .. } => {
                "the mask of `STEM.png` or `STEM.jpg` is `STEM_mask.png` or `STEM.png` in the folder of masks".to_owned()
            }
            Self::DuplicateStem { .. } => "remove or rename one of them".to_owned(),
            Self::MaskNotPng { .. } => {
                "save masks as PNG: JPEG changes the values along every edge".to_owned()
            }
            Self::MaskSize { .. } => "a mask has one pixel for each pixel of its image".to_owned(),
            Self::MaskValues { found, distinct, max, classes, .. } => {
                values_hint(found, *distinct, *max, *classes)
            }
            Self::MaskColours { .. } => {
                "save the class of each pixel as a gray level or a palette index, not as a colour".to_owned()
            }
            Self::Corrupt { .. } => "open it in an image viewer; copy or export it again".to_owned(),
            Self::TooLarge { .. } => "cut it into tiles".to_owned(),
            Self::OutputNotEmpty { .. } => "name a new folder: nothing is overwritten".to_owned(),
            Self::Several { shown, .. } => return shown.first().and_then(Self::hint),
            _ => return None,
        })
    }
}

fn values_hint(found: &[u16], distinct: usize, max: u16, classes: usize) -> String {
    let complete = distinct == found.len();
    if complete && found.iter().all(|&v| v == 0 || v == 255) {
        return "a mask of 0 and 255 has one class: `--classes 1`".to_owned();
    }
    let without_255 = found
        .iter()
        .filter(|&&v| v != 255)
        .max()
        .copied()
        .unwrap_or(0);
    if complete && classes > 1 && max == 255 && usize::from(without_255) < classes {
        return "255 is often an ignore label, which is not supported: give those pixels a class"
            .to_owned();
    }
    if max < 64 && usize::from(max) + 1 == distinct {
        return format!("if these are class indices: `--classes {distinct}`");
    }
    if distinct <= 64 {
        return format!(
            "if each value is a class, renumber them 0 to {} and pass `--classes {distinct}`",
            distinct - 1
        );
    }
    "this looks like a photograph or a probability map: threshold it first".to_owned()
}

fn expected(classes: usize) -> String {
    if classes <= 1 {
        "0 and 255 (or 0 and 1)".to_owned()
    } else {
        format!("class indices 0 to {} (`--classes {classes}`)", classes - 1)
    }
}

fn numbers(values: &[u16]) -> String {
    values
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn colours(values: &[[u16; 3]]) -> String {
    let text: Vec<_> = values
        .iter()
        .map(|[r, g, b]| format!("({r}, {g}, {b})"))
        .collect();
    text.join(", ")
}

fn listing(found: &[String]) -> String {
    if found.is_empty() {
        " (it is empty)".to_owned()
    } else {
        format!(" (found {})", found.join(", "))
    }
}

fn lines(shown: &[DataError], count: usize) -> String {
    let mut text = String::new();
    for error in shown {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {error}");
    }
    if count > shown.len() {
        let _ = write!(text, "\n  ... and {} more", count - shown.len());
    }
    text
}
