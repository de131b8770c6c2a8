//! What annotation files contain but masks cannot show, counted by kind.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::folder::MAX_NAMED;

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// What it is.
    pub kind: IgnoredKind,
    /// How many there are.
    pub count: usize,
    /// The annotation file with the first one, or the image itself, relative to the folder.
    pub first: PathBuf,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, many) = self.kind.words();
        let words = if self.count == 1 { one } else { many };
        let at = match self.kind {
            IgnoredKind::Unannotated => "such as",
            _ => "first in",
        };
        write!(
            f,
            "{} {words} ({at} `{}`)",
            self.count,
            self.first.display()
        )
    }
}

/// Files by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Number of files.
    pub count: usize,
    /// The first names, up to five.
    pub names: Vec<String>,
}

impl Named {
    pub(crate) fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() < MAX_NAMED {
            self.names.push(name.to_owned());
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.count > self.names.len() {
            ", ..."
        } else {
            ""
        };
        write!(f, "`{}`{more}", self.names.join("`, `"))
    }
}

/// Kinds of things that are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IgnoredKind {
    /// A box without an outline.
    Box,
    /// A point.
    Point,
    /// A line that encloses nothing.
    Line,
    /// A label of a whole image.
    Tag,
    /// A shape of a kind that has no area or that Snug does not know, such as a skeleton.
    OtherShape,
    /// An outline with fewer than three points, or a radius of 0.
    Degenerate,
    /// What the format's own tools leave out: deleted objects and licence plates of Cityscapes.
    NotDrawn,
    /// An annotation of an image that the file does not list.
    UnlistedImage,
    /// An annotated image that is not in the folder.
    MissingImage,
    /// An image that is listed twice, such as for training and for validation. The first counts.
    Repeated,
    /// A file of captions or keypoints beside files with outlines.
    OtherFile,
    /// An image beside annotated ones that no annotation file names.
    Unannotated,
}

impl IgnoredKind {
    /// Its name for one and for many.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Box => ("box without an outline", "boxes without outlines"),
            Self::Point => ("point", "points"),
            Self::Line => ("line", "lines"),
            Self::Tag => ("label of a whole image", "labels of whole images"),
            Self::OtherShape => ("shape without an area", "shapes without areas"),
            Self::Degenerate => (
                "outline of fewer than three points",
                "outlines of fewer than three points",
            ),
            Self::NotDrawn => (
                "deleted object or licence plate",
                "deleted objects or licence plates",
            ),
            Self::UnlistedImage => (
                "annotation of an unlisted image",
                "annotations of unlisted images",
            ),
            Self::MissingImage => ("image that is missing", "images that are missing"),
            Self::Repeated => ("image that is listed twice", "images that are listed twice"),
            Self::OtherFile => (
                "file of captions or keypoints",
                "files of captions or keypoints",
            ),
            Self::Unannotated => ("image without annotations", "images without annotations"),
        }
    }
}

/// Counts while files are read.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<IgnoredKind, Ignored>);

impl Counts {
    pub(super) fn add(&mut self, kind: IgnoredKind, file: &Path) {
        let first = || Ignored {
            kind,
            count: 0,
            first: file.to_owned(),
        };
        self.0.entry(kind).or_insert_with(first).count += 1;
    }

    pub(super) fn of(&self, kind: IgnoredKind) -> Option<&Ignored> {
        self.0.get(&kind)
    }

    /// The first kind of shape, if there is one.
    pub(super) fn first_shape(&self) -> Option<&Ignored> {
        use IgnoredKind::{Box, Degenerate, Line, OtherShape, Point, Tag};
        [Box, Point, Line, Tag, OtherShape, Degenerate]
            .into_iter()
            .find_map(|kind| self.of(kind))
    }

    pub(super) fn into_list(self) -> Vec<Ignored> {
        self.0.into_values().collect()
    }
}
