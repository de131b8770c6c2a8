//! Why a folder's layout is refused, and what was found instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::left_out::MAX_NAMED;
use super::listing::Listing;
use crate::DataError;
use crate::annotations::{self, Format};

/// What is wrong with the layout of a folder. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutProblem {
    /// No images with masks were found.
    #[error("no images with masks{}", lines(found))]
    Unknown {
        /// Lines about the folders found: how many files of which endings.
        found: Vec<String>,
        /// Annotations that are no masks.
        annotations: Option<Format>,
    },
    /// Two folders could hold the images, or the masks.
    #[error("both `{}` and `{}` could hold the {what}", first.display(), second.display())]
    TwoFolders {
        /// Images or masks.
        what: &'static str,
        /// One of the folders.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Two files could be the mask of one image, and so for most images.
    #[error("both `{}` and `{}` could be the mask of `{}`", first.display(), second.display(), image.display())]
    TwoMasks {
        /// The image.
        image: PathBuf,
        /// One of the masks.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Cases have several files, one for each channel (nnU-Net).
    #[error("{channels} channels per case, such as those of `{}`", case.display())]
    Channels {
        /// Number of channels.
        channels: usize,
        /// The first channel of a case.
        case: PathBuf,
    },
    /// A path names two parts of a split, such as `train/val`.
    #[error("`{}` names two parts of a split", path.display())]
    SplitInSplit {
        /// The folder.
        path: PathBuf,
    },
    /// A folder for training or validation has no images that can be used.
    #[error("no images with masks in `{}`{}", path.display(), lines(found))]
    EmptyPart {
        /// The folder.
        path: PathBuf,
        /// Lines about what is in it.
        found: Vec<String>,
    },
    /// There are images to validate or to test, and none to train.
    #[error("no images for training")]
    NoTraining,
    /// The tree is too large to be a data set.
    #[error("more than {limit} files and folders")]
    TooManyFiles {
        /// Accepted number.
        limit: usize,
    },
}

impl LayoutProblem {
    pub(super) fn in_folder(self, path: &Path) -> DataError {
        DataError::Layout {
            path: path.to_owned(),
            problem: self,
        }
    }

    pub(super) fn unknown(root: &Path, listing: &Listing) -> Self {
        Self::Unknown {
            found: found(listing, Path::new("")),
            annotations: annotations::find(root, [&*listing.images, &listing.others].concat()),
        }
    }

    pub(super) fn empty_part(listing: &Listing, path: PathBuf) -> Self {
        Self::EmptyPart {
            found: found(listing, &path),
            path,
        }
    }

    /// Advice for the reader, where `path` is the folder.
    pub(crate) fn hint(&self, path: &Path) -> String {
        match self {
            Self::Unknown {
                annotations: Some(format),
                ..
            } => format!(
                "the annotations are in the format {format}: `train import {} --out NEW` makes masks of them",
                path.display()
            ),
            Self::Unknown { .. } | Self::EmptyPart { .. } => LAYOUTS.to_owned(),
            Self::TwoFolders { .. } => "move or rename the folder that is not meant".to_owned(),
            Self::TwoMasks { .. } => "move the files that are not meant to another folder".to_owned(),
            Self::Channels { .. } => {
                "images of several files are not read: join the channels in one TIFF for each image, or keep one".to_owned()
            }
            Self::SplitInSplit { .. } => "rename one of the two folders".to_owned(),
            Self::NoTraining => "name the folder of the images for training `train`".to_owned(),
            Self::TooManyFiles { .. } => "name the folder of the data set itself".to_owned(),
        }
    }
}

/// What is expected, for hints.
const LAYOUTS: &str = "expected `images/` and `masks/` with equal names or with `STEM_mask.png` for \
    `STEM.jpg`, in `train/`, `val/` and `test/` or without; or both kinds in one folder, as `STEM.jpg` and \
    `STEM_mask.png`";

/// Counts of files by folder and ending, most files first.
fn found(listing: &Listing, below: &Path) -> Vec<String> {
    let mut folders: BTreeMap<&Path, BTreeMap<String, usize>> = BTreeMap::new();
    for path in listing.images.iter().chain(&listing.others) {
        let ending = match path.extension() {
            Some(ending) => format!(".{}", ending.to_ascii_lowercase().display()),
            None => "without ending".to_owned(),
        };
        let folder = path.parent().filter(|folder| folder.starts_with(below));
        if let Some(folder) = folder {
            *folders
                .entry(folder)
                .or_default()
                .entry(ending)
                .or_default() += 1;
        }
    }
    let mut folders: Vec<_> = folders.into_iter().collect();
    folders.sort_by_key(|(_, endings)| usize::MAX - endings.values().sum::<usize>());
    let more = folders.len().saturating_sub(MAX_NAMED);
    let mut lines: Vec<String> = folders
        .into_iter()
        .take(MAX_NAMED)
        .map(|(folder, endings)| {
            let mut endings: Vec<_> = endings.into_iter().collect();
            endings.sort_by_key(|(_, count)| usize::MAX - count);
            let counts = endings
                .iter()
                .take(MAX_NAMED)
                .map(|(ending, count)| format!("{count} {ending}"));
            let counts = counts.collect::<Vec<_>>().join(", ");
            match folder.components().count() {
                0 => format!("in the folder itself: {counts}"),
                _ => format!("`{}`: {counts}", folder.display()),
            }
        })
        .collect();
    if more > 0 {
        lines.push(format!("... and {more} more folders"));
    }
    lines
}

fn lines(found: &[String]) -> String {
    if found.is_empty() {
        " (it has no files)".to_owned()
    } else {
        format!(", found:\n  {}", found.join("\n  "))
    }
}
