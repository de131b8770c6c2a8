//! Finds which image belongs to which mask, and which pairs are for training.
//!
//! [`scan`] understands a folder by looking at the names in it: `listing` lists the files, `words`
//! and `places` say what the folders hold, `one_folder` tells images from masks that lie together,
//! `naming` and `matching` find the mask of each image, `split` and `parts` the parts of the split. Pixels are not looked at.

mod contents;
mod describe;
mod kinds;
mod left_out;
pub(crate) mod listing;
mod matching;
mod naming;
mod one_folder;
mod parts;
mod places;
mod refused;
mod split;
mod words;

use std::path::{Path, PathBuf};
use std::slice;

use super::DataError;
use listing::Listing;
use places::Tree;

pub use contents::{Contents, contents, holds_both};
pub(crate) use left_out::MAX_NAMED;
pub use left_out::{LeftOut, Reason};
pub use refused::LayoutProblem;
pub use words::Part;

/// An image and the mask that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Path of the image below the folder of images, without its ending and with `/` between
    /// folders. Bytes that are not Unicode are written as `\xNN`.
    pub stem: String,
    /// The image, a file that [`image`](crate::decode::image()) reads.
    pub image: PathBuf,
    /// The mask, of files that [`labels`](crate::decode::labels()) reads.
    pub mask: MaskFile,
}

/// The files of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskFile {
    /// A file with the classes of all pixels.
    One(PathBuf),
    /// A file for each object. A pixel is foreground if it is in one of them.
    Union(Vec<PathBuf>),
}

impl MaskFile {
    /// The files, at least one.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => slice::from_ref(path),
            Self::Union(paths) => paths,
        }
    }
}

/// How to split off a validation set, if the folder has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitOptions {
    /// Share of the images for validation, in percent.
    pub val_percent: f64,
    /// Seed of the split. The same seed and the same names give the same split.
    pub seed: u64,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            val_percent: 20.0,
            seed: 42,
        }
    }
}

/// The pairs of a folder, each list sorted by stem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Pairs for training.
    pub train: Vec<Pair>,
    /// Pairs for validation.
    pub val: Vec<Pair>,
    /// Pairs for `evaluate`; empty without masks in a `test` folder.
    pub test: Vec<Pair>,
    /// How the folder was understood, for people: where images and masks are, and how masks are
    /// named.
    pub layout: String,
    /// What was found and is not used, sorted by path. Text files and hidden files are not in it.
    pub left_out: Vec<LeftOut>,
    /// Notes for the user about how the folder was read, one line each. They name what was left
    /// out.
    pub notes: Vec<String>,
}

/// Reads the layout of the folder `dir`.
///
/// Images without a mask are left out of training and validation, up to a third of them. More are
/// an error. The images of a `test` folder need no masks.
///
/// # Errors
/// A [`DataError`] that names the folder or the files.
pub fn scan(dir: &Path, options: &SplitOptions) -> Result<Dataset, DataError> {
    let share = options.val_percent;
    if !(share > 0.0 && share < 100.0) {
        return Err(DataError::ValPercent { val_percent: share });
    }
    if !dir.is_dir() {
        return Err(DataError::FolderMissing {
            path: dir.to_owned(),
        });
    }
    let listing = listing::list(dir)?;
    let refused = |problem: LayoutProblem| problem.in_folder(dir);
    let tree = Tree::of(&listing.images).map_err(refused)?;
    let Some(mut told) = kinds::tell(&tree).map_err(refused)? else {
        return Err(refused(LayoutProblem::unknown(dir, &listing)));
    };
    let layout = describe::layout(&tree.places, &told);
    let used = split::read_lists(dir, &listing.others, &mut told.images)?;
    let mut found = parts::sort(dir, &tree, &told, used.as_deref())?;
    check_parts(&found, &listing).map_err(refused)?;
    found.layout = layout;
    found.left_out.extend(listing.left_out);
    found.left_out.sort_unstable();
    found.notes.extend(left_out::notes(&found.left_out));
    for file in &mut found.left_out {
        file.path = dir.join(&file.path);
    }
    if found.val.is_empty() {
        (found.train, found.val) = split::at_random(dir, found.train, options, &mut found.notes)?;
    }
    Ok(found)
}

/// Refuses a folder for training or validation that was not understood, because it must not be
/// ignored.
fn check_parts(found: &Dataset, listing: &Listing) -> Result<(), LayoutProblem> {
    let empty = [
        (Part::Train, found.train.is_empty()),
        (Part::Val, found.val.is_empty()),
    ];
    for (part, _) in empty.into_iter().filter(|(_, is_empty)| *is_empty) {
        if let Some(path) = places::part_folder(&listing.folders, part) {
            return Err(LayoutProblem::empty_part(listing, path.to_owned()));
        }
    }
    if found.train.is_empty() {
        return Err(LayoutProblem::NoTraining);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
