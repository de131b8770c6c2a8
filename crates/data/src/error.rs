//! Everything that can be wrong with the data, with the file at fault.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::annotations::AnnotationError;
use super::decode::MAX_CHANNELS;
use super::folder::LayoutProblem;
use super::masks::Undecided;

/// Why data could not be found, read or written. Sizes are (height, width).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The folder does not exist or is a file.
    #[error("there is no folder `{folder}`", folder = path.display())]
    FolderMissing {
        /// The missing folder.
        path: PathBuf,
    },
    /// The folder exists, but its layout is not understood.
    #[error("`{}`: {problem}", path.display())]
    Layout {
        /// The folder that was given.
        path: PathBuf,
        /// What is wrong with it.
        problem: LayoutProblem,
    },
    /// The folder has too few images to split off a validation set.
    #[error("`{}` has {images} image, too few to split off a validation set", path.display())]
    TooFewToSplit {
        /// The folder of the images.
        path: PathBuf,
        /// Number of images.
        images: usize,
    },
    /// The share for validation is not between 0 and 100 percent.
    #[error("validation share of {val_percent} % is not above 0 and below 100")]
    ValPercent {
        /// The requested share.
        val_percent: f64,
    },
    /// Some images have no mask.
    #[error("{count} image(s) in `{}` have no mask in `{}`: {}{}{}",
        images.display(), masks.display(), names.join(", "), if *count > names.len() { ", ..." } else { "" },
        if others.is_empty() { String::new() } else { format!("; masks without an image: {}", others.join(", ")) })]
    MasksMissing {
        /// The folder of the images.
        images: PathBuf,
        /// The folder in which the masks were looked for.
        masks: PathBuf,
        /// Up to five file names.
        names: Vec<String>,
        /// Number of images without a mask.
        count: usize,
        /// Up to five file names of masks that belong to no image.
        others: Vec<String>,
    },
    /// Two images have the same name, such as `a.png` and `a.jpg`, for one mask.
    #[error("two images are named `{stem}`: `{}` and `{}`", first.display(), second.display())]
    DuplicateStem {
        /// The name without its extension.
        stem: String,
        /// One of the files.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The mask and its image differ in size.
    #[error("mask `{}` is {}x{} (height x width), but its image `{}` is {}x{}",
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
    /// The values of the masks have more than one meaning, or not the one that was asked for.
    #[error("`{}`: {undecided}", path.display())]
    Undecided {
        /// The folder.
        path: PathBuf,
        /// Why, and the values.
        undecided: Box<Undecided>,
    },
    /// The mask has a value that is no class: it was altered after all masks were read.
    #[error("mask `{}` has the value {value}, which no mask had when all were read", mask.display())]
    MaskValue {
        /// The mask.
        mask: PathBuf,
        /// A gray level, an index, or a colour as `#rrggbb`.
        value: String,
    },
    /// The mask has values that are not whole numbers from 0.
    #[error("mask `{}`: expected whole numbers from 0, found {found}", mask.display())]
    MaskFractions {
        /// The mask.
        mask: PathBuf,
        /// One of the values.
        found: f32,
    },
    /// The mask is neither gray nor RGB.
    #[error("`{}` has {channels} channels: expected 1 (gray) or 3 (RGB), or one more for alpha", path.display())]
    MaskChannels {
        /// The file.
        path: PathBuf,
        /// Its channels, with alpha if it has one.
        channels: usize,
    },
    /// The image has too many channels.
    #[error("`{}` has {channels} channels, more than {}", path.display(), MAX_CHANNELS)]
    TooManyChannels {
        /// The image.
        path: PathBuf,
        /// Its channels.
        channels: usize,
    },
    /// The image has other channels than the network.
    #[error("`{}` has {}, but the network expects {expected}", path.display(), channels_of(*channels))]
    OtherChannels {
        /// The image.
        path: PathBuf,
        /// Its channels, without alpha.
        channels: usize,
        /// Those of the network.
        expected: usize,
    },
    /// The image has floats outside 0 to 1, and nothing says which of them are black and white.
    #[error("`{}` has the value {found}: without a range, values must be between 0 and 1", path.display())]
    NoRange {
        /// The image.
        path: PathBuf,
        /// One of the values.
        found: f32,
    },
    /// The file has none of the formats that are read.
    #[error("`{}` is not a PNG, JPEG, TIFF, BMP, WebP or GIF file", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file is sound, but has something that is not read.
    #[error("`{}` cannot be read: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it has.
        what: String,
    },
    /// The file exists but cannot be decoded.
    #[error("`{}` is truncated or corrupt: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The decoder's message.
        reason: String,
    },
    /// The image is too large.
    #[error("`{}` has more pixels than Snug accepts (at most {limit}x{limit}, 1 GiB decoded)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Largest accepted side in pixels.
        limit: u32,
    },
    /// The file or folder cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file or folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The folder to write to is not empty.
    #[error("folder `{}` is not empty", path.display())]
    OutputNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder to write to is in the folder that is read.
    #[error("`{}` is in `{}`, which is read", path.display(), folder.display())]
    OutputInside {
        /// The folder to write to.
        path: PathBuf,
        /// The folder that is read.
        folder: PathBuf,
    },
    /// Annotations cannot be read.
    #[error(transparent)]
    Annotations(#[from] AnnotationError),
    /// The folder to import has masks, and no outlines.
    #[error("`{}` has masks: {layout}", path.display())]
    HasMasks {
        /// The folder.
        path: PathBuf,
        /// Where images and masks are, and how masks are named.
        layout: String,
    },
    /// The folder to import has no annotations, or none of their images can be used.
    #[error("{}", nothing(path, left_out))]
    NothingToImport {
        /// The folder.
        path: PathBuf,
        /// Lines about the images that cannot be used.
        left_out: Vec<String>,
    },
    /// Annotations outline no objects of the classes to keep, so that all masks would be empty.
    #[error("the annotations in `{}` outline no objects of the classes to keep", path.display())]
    NoObjects {
        /// The folder.
        path: PathBuf,
    },
    /// A class to keep is not annotated, or listed twice.
    #[error("class `{name}` {problem}")]
    ClassChoice {
        /// The name of the class.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The image has another size than before.
    #[error("`{}` is {}x{} (height x width), but was {}x{} when all files were read",
        path.display(), now.0, now.1, before.0, before.1)]
    SizeChanged {
        /// The image.
        path: PathBuf,
        /// Its size when all files were read.
        before: (usize, usize),
        /// Its present size.
        now: (usize, usize),
    },
    /// An image or page cannot have this size.
    #[error("invalid image size {height}x{width} (height x width): {why}")]
    Size {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The batch size is 0.
    #[error("the batch size must not be 0")]
    EmptyBatch,
    /// A worker thread could not be started.
    #[error("cannot start a worker thread for the data")]
    Spawn(#[source] io::Error),
    /// A worker thread panicked, which is a bug in the program.
    #[error("a data worker panicked at sample `{name}`: {message}")]
    WorkerPanicked {
        /// Name of the sample it was loading.
        name: String,
        /// The panic's message.
        message: String,
    },
    /// A [`Survey`](super::Survey) or [`verify`](fn@super::verify) found several bad samples.
    #[error("{count} samples cannot be used:{}", lines(shown, *count))]
    Several {
        /// Number of bad samples.
        count: usize,
        /// The first errors, up to eight, in the order of the samples.
        shown: Vec<Self>,
    },
}

impl DataError {
    /// Advice for the reader in one line, if any.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::FolderMissing { .. } => "check the path".to_owned(),
            Self::Layout { path, problem } => problem.hint(path),
            Self::TooFewToSplit { .. } => {
                "add images, or a `val` folder next to `train`".to_owned()
            }
            Self::ValPercent { .. } => "10 and 20 are common".to_owned(),
            Self::MasksMissing { .. } => {
                "add their masks, or move the images elsewhere; up to a third of the images may lack a mask".to_owned()
            }
            Self::DuplicateStem { .. } => "remove or rename one of them".to_owned(),
            Self::MaskSize { .. } => {
                "a mask must have one pixel for each pixel of its image".to_owned()
            }
            Self::Undecided { undecided, .. } => undecided.advice.clone(),
            Self::MaskValue { .. } => "do not alter masks during a run".to_owned(),
            Self::SizeChanged { .. } => "do not alter images during a run".to_owned(),
            Self::MaskFractions { .. } => {
                "save classes as integers; threshold a probability map first".to_owned()
            }
            Self::TooManyChannels { .. } => {
                format!("save those that matter, up to {MAX_CHANNELS}, in one TIFF")
            }
            Self::OtherChannels { .. } => {
                "the network was made for other images: save these in the same form".to_owned()
            }
            Self::MaskChannels { .. } | Self::Unsupported { .. } | Self::UnknownFormat { .. } => {
                "save it as gray or RGB, in a PNG or an uncompressed TIFF".to_owned()
            }
            Self::NoRange { .. } => "save it with 8 or 16 bits, or with values from 0 to 1".to_owned(),
            Self::Corrupt { .. } => "open it in an image viewer; copy or export it again".to_owned(),
            Self::TooLarge { .. } => "cut it into tiles".to_owned(),
            Self::OutputNotEmpty { .. } => "name a new folder: nothing is overwritten".to_owned(),
            Self::OutputInside { .. } => "name a folder outside of it".to_owned(),
            Self::Annotations(error) => return error.hint().map(str::to_owned),
            Self::HasMasks { path, .. } => {
                format!("no import is needed: train on `{}`", path.display())
            }
            Self::NothingToImport { left_out, .. } if left_out.is_empty() => {
                "the formats are COCO, LabelMe, YOLO with polygons, PASCAL VOC with polygons, CVAT for images 1.1 and \
                 Cityscapes; the folder must hold images as well"
                    .to_owned()
            }
            Self::NoObjects { .. } => {
                "segmentation needs polygons or masks: export those, or draw them".to_owned()
            }
            Self::Several { shown, .. } => return shown.first().and_then(Self::hint),
            _ => return None,
        })
    }
}

fn channels_of(num: usize) -> String {
    match num {
        1 => "one channel (gray)".to_owned(),
        3 => "three channels (RGB)".to_owned(),
        num => format!("{num} channels"),
    }
}

fn nothing(path: &Path, left_out: &[String]) -> String {
    let path = path.display();
    if left_out.is_empty() {
        format!("`{path}` has no annotations that Snug reads")
    } else {
        format!(
            "none of the annotated images in `{path}` can be used:\n  {}",
            left_out.join("\n  ")
        )
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
