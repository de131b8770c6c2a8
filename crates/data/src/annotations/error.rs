//! What can be wrong with annotations, with the file at fault.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use super::{Format, MAX_CLASSES, MAX_COORDINATE};
use crate::DataError;
use crate::decode::MAX_SIDE;

/// Why annotations cannot be read.
#[derive(Debug)]
pub struct AnnotationError {
    /// The annotation file, or the folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: AnnotationErrorKind,
}

impl fmt::Display for AnnotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.path.display(), self.kind)
    }
}

impl Error for AnnotationError {
    /// The cause of the kind, because the message has the kind's own text.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// What is wrong with an annotation file. Sizes are (height, width).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnotationErrorKind {
    /// The file or folder cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// The file is too large to be read.
    #[error("has {bytes} bytes, more than Snug reads (1 GiB)")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
    },
    /// The file is damaged, or a value has the wrong type or is missing.
    #[error("is not a valid {format} file: {reason}")]
    Syntax {
        /// The format that it should have.
        format: Format,
        /// The parser's message.
        reason: String,
    },
    /// One annotation is wrong.
    #[error("has a mistake in {entry}: {problem}")]
    Entry {
        /// Where it is, such as "line 3" or "annotation 17".
        entry: String,
        /// What is wrong.
        problem: EntryProblem,
    },
    /// The folder contains annotations of two formats.
    #[error("has the format {format}, but `{}` has the format {other}", other_path.display())]
    SeveralFormats {
        /// The format of the file.
        format: Format,
        /// Another format.
        other: Format,
        /// A file of that format.
        other_path: PathBuf,
    },
    /// The annotations are boxes for detection.
    #[error("has boxes, no outlines ({format})")]
    BoxesOnly {
        /// The format.
        format: Format,
    },
    /// The file has a known format, but no outlines.
    #[error("contains {what}, no outlines")]
    NoOutlines {
        /// What it contains instead.
        what: &'static str,
    },
    /// YOLO labels have numbers for classes, and no YAML file names them.
    #[error("looks like a YOLO label, but no YAML file in the folder names its classes")]
    NoClassNames,
    /// There are more classes than a mask can hold.
    #[error("has {found} classes, but a mask can hold at most {MAX_CLASSES}")]
    TooManyClasses {
        /// Number of classes.
        found: usize,
    },
    /// None of the images has a label.
    #[error("lists images without labels: `{}` does not exist", label.display())]
    LabelsMissing {
        /// The label that the first image should have.
        label: PathBuf,
    },
    /// None of the annotated images exists.
    #[error("annotates {count} image(s) that are not in the folder, such as `{name}`")]
    ImagesMissing {
        /// Number of missing images.
        count: usize,
        /// The first of them.
        name: String,
    },
    /// The name of a file leads out of the folder.
    #[error("names the file `{name}`, which is outside of the folder")]
    OutsideFolder {
        /// The name in the annotation file.
        name: String,
    },
    /// Two images have the name that an annotation gives.
    #[error("names the image `{name}`, which may be `{}` or `{}`", first.display(), second.display())]
    AmbiguousImage {
        /// The name in the annotation file.
        name: String,
        /// One of the images.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
    },
    /// An image is annotated twice.
    #[error("annotates `{}`, which is annotated in `{}` as well", image.display(), other.display())]
    DuplicateImage {
        /// The image.
        image: PathBuf,
        /// The other annotation file, or the same one.
        other: PathBuf,
    },
    /// An image has no size that Snug accepts.
    #[error("says that `{}` is {}x{} (height x width), but Snug accepts 1x1 to {MAX_SIDE}x{MAX_SIDE}",
        image.display(), size.0, size.1)]
    Size {
        /// The image.
        image: PathBuf,
        /// Its size in pixels.
        size: (u64, u64),
    },
    /// Painting the outlines of an image would take too long.
    #[error("has outlines of `{}` that are too long or too many to be painted", image.display())]
    TooMuchWork {
        /// The image.
        image: PathBuf,
    },
    /// The size of an image is needed, but the image cannot be decoded.
    #[error("annotates an image whose size cannot be read")]
    Image(#[source] Box<DataError>),
}

/// What is wrong with one annotation.
#[derive(Debug, thiserror::Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum EntryProblem {
    /// A coordinate is not a number, or too large to be one.
    #[error("the coordinate {value} is not between -{MAX_COORDINATE} and {MAX_COORDINATE}")]
    Coordinate {
        /// The coordinate in pixels.
        value: f64,
    },
    /// A coordinate should be a share of the image's side.
    #[error("the coordinate {value} is not a share of the image's side, 0 to 1")]
    Share {
        /// The coordinate.
        value: f64,
    },
    /// A coordinate has no partner.
    #[error("it has {found} coordinates, but each point needs two")]
    Unpaired {
        /// Number of coordinates.
        found: usize,
    },
    /// The runs do not cover the mask.
    #[error("its RLE covers {sum} pixels, but the mask has {pixels}")]
    RunsSum {
        /// Sum of the runs.
        sum: u64,
        /// Pixels of the mask.
        pixels: u64,
    },
    /// The mask has another size than its image.
    #[error("its mask is {}x{} (height x width), but it should be {}x{}",
        found.0, found.1, expected.0, expected.1)]
    MaskSize {
        /// Size of the mask in pixels.
        found: (u64, u64),
        /// Size of the image or box in pixels.
        expected: (u64, u64),
    },
    /// A compressed mask cannot be read.
    #[error("its mask is damaged: {reason}")]
    Mask {
        /// The decoder's message.
        reason: String,
    },
    /// The class is not defined.
    #[error("the class `{class}` is not defined")]
    UnknownClass {
        /// Its id, index or name.
        class: String,
    },
    /// Two entries have the same id.
    #[error("another one has the same id")]
    DuplicateId,
    /// A text is not a number.
    #[error("`{text}` is not a number")]
    NotANumber {
        /// The text.
        text: String,
    },
    /// A text has an entity that is not known.
    #[error("`{text}` cannot be read")]
    Text {
        /// The text.
        text: String,
    },
    /// A value is missing.
    #[error("`{name}` is missing")]
    Missing {
        /// The name of the value.
        name: &'static str,
    },
}

impl AnnotationError {
    /// Advice for the reader in one line, if any.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match &self.kind {
            AnnotationErrorKind::Syntax { .. } => "export it again, or remove it from the folder",
            AnnotationErrorKind::SeveralFormats { .. } => {
                "keep one of them, or name the subfolder that holds one"
            }
            AnnotationErrorKind::BoxesOnly { .. } => {
                "segmentation needs polygons or masks: export those, or draw them"
            }
            AnnotationErrorKind::NoOutlines { .. } => {
                "export polygons or masks (CVAT: `CVAT for images 1.1`)"
            }
            AnnotationErrorKind::NoClassNames => {
                "add the `data.yaml` of the export, with `names`, `train` and `val`"
            }
            AnnotationErrorKind::LabelsMissing { .. } => {
                "the label of `images/NAME.jpg` must be `labels/NAME.txt`"
            }
            AnnotationErrorKind::TooManyClasses { .. } => "merge classes",
            AnnotationErrorKind::ImagesMissing { .. } => {
                "copy the images into the folder, or name the folder that holds both"
            }
            AnnotationErrorKind::OutsideFolder { .. } => {
                "name the folder that holds annotations and images, and use relative names"
            }
            AnnotationErrorKind::AmbiguousImage { .. } => {
                "remove one of them, or put the folder's name into the annotation"
            }
            AnnotationErrorKind::DuplicateImage { .. } => "remove one of the annotations",
            AnnotationErrorKind::Size { .. } => "cut larger images into tiles",
            AnnotationErrorKind::TooMuchWork { .. } => "simplify the outlines, or export masks",
            AnnotationErrorKind::Image(source) => {
                return match **source {
                    DataError::TooLarge { .. } => Some("cut it into tiles"),
                    _ => Some("open it in an image viewer; copy or export it again"),
                };
            }
            _ => return None,
        })
    }
}
