//! Which images and masks are in a folder, for programs that do not train on it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::kinds;
use super::listing;
use super::places::Tree;
use super::words::{Kind, Word};
use crate::DataError;

/// The images of a folder, and the masks that belong to them, relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Images, with a mask or without.
    pub images: BTreeSet<PathBuf>,
    /// Masks in folders whose names say so.
    pub masks: BTreeSet<PathBuf>,
}

/// What [`scan`](super::scan) takes for images and masks in `dir` if the files `more` are there too and those in `without`
/// are not. `None` if folders do not say which files are masks, or if no mask belongs to an image.
///
/// # Errors
/// A [`DataError`] if the folder cannot be read, or can be understood in two ways.
pub fn contents(
    dir: &Path,
    more: &[PathBuf],
    without: Option<&Path>,
) -> Result<Option<Contents>, DataError> {
    let mut files: BTreeSet<PathBuf> = listing::list(dir)?.images.into_iter().collect();
    files.retain(|file| without.is_none_or(|out| !file.starts_with(out)));
    files.extend(more.iter().cloned());
    let files: Vec<PathBuf> = files.into_iter().collect();
    let tree = Tree::of(&files).map_err(|it| it.in_folder(dir))?;
    let told = kinds::tell(&tree).map_err(|it| it.in_folder(dir))?;
    let Some(told) = told else {
        return Ok(None);
    };
    let used = told.matches.masks.iter().flatten();
    let masks: Vec<_> = used.map(|&at| &told.masks[at]).collect();
    let is_said = |place: usize| tree.places[place].kind == Some(Kind::Mask);
    if masks.is_empty() || !masks.iter().all(|it| is_said(it.place)) {
        return Ok(None);
    }
    Ok(Some(Contents {
        masks: masks.into_iter().map(|it| it.path.clone()).collect(),
        images: told.images.into_iter().map(|it| it.path).collect(),
    }))
}

/// Whether folders of images and of masks lie side by side in `dir`, or in a part of a split in it.
pub fn holds_both(dir: &Path) -> bool {
    let words_in = |dir: &Path| -> Vec<(PathBuf, Word)> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let folders = entries.filter(|it| it.path().is_dir());
        let word = |it: fs::DirEntry| (it.path(), Word::of(it.file_name().as_encoded_bytes()));
        folders.map(word).collect()
    };
    let are_both = |words: &[(PathBuf, Word)]| {
        let has = |kind| words.iter().any(|(_, word)| word.kind == Some(kind));
        has(Kind::Image) && has(Kind::Mask)
    };
    let words = words_in(dir);
    let mut parts = words.iter().filter(|(_, word)| word.part.is_some());
    are_both(&words) || parts.any(|(part, _)| are_both(&words_in(part)))
}
