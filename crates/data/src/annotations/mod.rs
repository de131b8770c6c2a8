//! Reads what annotation tools write, in place, and turns it into class masks.
//!
//! [`read`](fn@read) finds the format of a folder by the contents of its files and returns the
//! outlines that they describe; [`rasterise`] makes a mask of them. Each format is drawn by the rule
//! of its own tools ([`Rule`]), because masks of other rules differ along every edge.
//!
//! This module opens images only to learn their sizes, where a format does not record them.
//! No name leads out of the folder, only links do.

mod detect;
mod draft;
mod error;
mod formats;
mod ignored;
mod measure;
mod raster;
#[cfg(test)]
pub(crate) mod tests;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use detect::find;
pub use error::{AnnotationError, AnnotationErrorKind, EntryProblem};
pub use ignored::{Ignored, IgnoredKind, Named};
pub(crate) use raster::paint;
pub use raster::{IGNORE, rasterise};
use tree::Tree;

use crate::folder::Part;

/// The most classes of a set: a mask has a byte per pixel, of which 0 is background and 255 is
/// [`IGNORE`].
pub const MAX_CLASSES: usize = 254;
/// The largest coordinate, in pixels, that is taken for one. Outlines are cut at the image's edge,
/// but a number as large as this is a mistake.
pub const MAX_COORDINATE: f64 = 1e6;
/// The most pixels and edge steps that the outlines of one image may visit when they are painted:
/// 64 times the largest image.
pub const MAX_WORK: u64 = 1 << 34;

/// A format of annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// COCO, instances or stuff: one JSON file for many images.
    Coco,
    /// `LabelMe`: a JSON file per image.
    LabelMe,
    /// YOLO segmentation: a text file per image, and a YAML file with the names of the classes.
    Yolo,
    /// PASCAL VOC: an XML file per image.
    Voc,
    /// CVAT for images 1.1: one XML file for many images.
    Cvat,
    /// Cityscapes: a `*_polygons.json` per image.
    Cityscapes,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coco => "COCO",
            Self::LabelMe => "LabelMe",
            Self::Yolo => "YOLO",
            Self::Voc => "PASCAL VOC",
            Self::Cvat => "CVAT",
            Self::Cityscapes => "Cityscapes",
        })
    }
}

/// What the annotation files of a folder say.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Annotations {
    /// The format that was found.
    pub format: Format,
    /// Names of the classes without the background, at most [`MAX_CLASSES`]. They are in the order
    /// of the format (COCO: by id, YOLO: by index, CVAT: as its labels are listed), or else sorted.
    pub classes: Vec<String>,
    /// The annotated images that exist, each once, in the order of the files.
    pub images: Vec<AnnotatedImage>,
    /// What the files contain but the images lack, one entry per kind.
    pub ignored: Vec<Ignored>,
    /// The annotated images that do not exist.
    pub missing: Named,
}

/// An image and what is annotated in it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnnotatedImage {
    /// The image, which exists. Its name has the bytes of the annotation.
    pub file: PathBuf,
    /// Height and width in pixels, as the format says, or else of the file.
    pub size: (usize, usize),
    /// The outlines in the order in which they are painted. An image without any is background.
    pub shapes: Vec<Shape>,
    /// The part of a split that it is in, if a folder's or a file's name or the format says so.
    pub part: Option<Part>,
}

/// A region of an image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Shape {
    /// What is in it.
    pub label: Label,
    /// Where it is.
    pub outline: Outline,
    /// Whether it covers a group of objects roughly (COCO's `iscrowd`, Cityscapes' `cargroup`).
    pub is_crowd: bool,
}

/// What is in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// An index into [`Annotations::classes`].
    Class(usize),
    /// Background, painted over what is below: classes named `_background_` or `background`.
    Background,
    /// Something that should not be learnt: `LabelMe`'s `__ignore__` and the void of Cityscapes.
    Void,
}

/// What [`rasterise`] makes of crowds and void regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncertain {
    /// Both have the value [`IGNORE`].
    Ignore,
    /// A crowd has the value of its class, and void that of the background.
    Paint,
}

/// Where a region is. Coordinates are in pixels, x before y; (0, 0) is the upper left corner.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outline {
    /// The union of polygons with at least three points each.
    Polygons {
        /// The points of each polygon; the last one is connected to the first.
        rings: Vec<Vec<[f64; 2]>>,
        /// How pixels on the edge are chosen.
        rule: Rule,
    },
    /// The circle in a square, as Pillow's `ImageDraw.ellipse` draws it.
    Circle {
        /// Left, top, right and bottom.
        bounds: [f64; 4],
    },
    /// An ellipse.
    Ellipse(Ellipse),
    /// A mask.
    Runs(Runs),
}

/// Which pixels belong to a polygon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Those of pycocotools' `annToMask` (COCO, CVAT, VOC).
    Coco,
    /// Those of Pillow's `ImageDraw.polygon` with `fill` and `outline` (`LabelMe`, Cityscapes).
    Pillow,
    /// Those of `OpenCV`'s `fillPoly` at integer points (YOLO, as Ultralytics' `polygon2mask`).
    OpenCv,
}

/// An ellipse. A pixel belongs to it if its upper left corner is inside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// Its centre, x and y.
    pub centre: [f64; 2],
    /// Its radii before it is turned, above 0.
    pub radii: [f64; 2],
    /// How far it is turned clockwise.
    pub degrees: f64,
}

/// A run-length encoded mask over a box: lengths of runs that are in turn outside and inside. They
/// sum to the area of the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// Left side of the box.
    pub left: i64,
    /// Upper side of the box.
    pub top: i64,
    /// Width of the box, above 0.
    pub width: u64,
    /// Height of the box, above 0.
    pub height: u64,
    /// The order of the pixels.
    pub order: Order,
    /// The lengths of the runs.
    pub counts: Vec<u32>,
}

/// The order of pixels in a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Row by row (CVAT, `LabelMe`).
    Rows,
    /// Column by column (COCO).
    Columns,
}

/// What the annotation files in `dir` say; `None` if it has none. The format is found by
/// looking into files with the extensions `json`, `xml`, `yaml`, `yml` and `txt`.
///
/// Masks are not looked for: a folder may have both (PASCAL VOC has boxes in `Annotations`, and masks
/// in `SegmentationClass`), so look for masks first.
///
/// # Errors
/// An [`AnnotationError`] that names the file: if it is damaged, has boxes but no outlines, names
/// files outside of `dir`, or claims sizes beyond [`MAX_SIDE`](crate::decode::MAX_SIDE).
pub fn read(dir: &Path) -> Result<Option<Annotations>, AnnotationError> {
    let tree = Tree::list(dir)?;
    match detect::detect(&tree)? {
        Some(found) => formats::read(&found, &tree).map(Some),
        None => Ok(None),
    }
}
