//! Sorts images with their masks into training, validation and test, and says what is left out.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::left_out::{LeftOut, MAX_NAMED, Reason};
use super::matching::unused;
use super::one_folder::Told;
use super::places::{Entry, Tree};
use super::words::Part;
use super::{Dataset, MaskFile, Pair};
use crate::DataError;

/// One in this many images may lack its mask.
const MAX_SHARE_WITHOUT: usize = 3;

/// The pairs of each part. `used` says which images are to be used at all. Paths of what is left
/// out are relative to `root`.
///
/// # Errors
/// [`DataError::DuplicateStem`], [`DataError::MasksMissing`].
pub(super) fn sort(
    root: &Path,
    tree: &Tree,
    told: &Told,
    used: Option<&[bool]>,
) -> Result<Dataset, DataError> {
    let parts = parts_of(&told.images, used);
    refuse_equal_names(root, &told.images, &parts)?;
    let mut found = Dataset {
        left_out: not_needed(tree, told, &parts),
        ..Dataset::default()
    };
    for (part, name) in [
        (Part::Train, "training"),
        (Part::Val, "validation"),
        (Part::Test, "test"),
    ] {
        let images = (0..told.images.len()).filter(|&at| parts[at] == Ok(part));
        let (with, without): (Vec<_>, Vec<_>) =
            images.partition(|&at| !told.matches.masks[at].is_empty());
        let mut pairs: Vec<Pair> = with.iter().map(|&at| pair(root, told, at)).collect();
        pairs.sort_by(|a, b| a.stem.cmp(&b.stem));
        let without: Vec<&Entry> = without.into_iter().map(|at| &told.images[at]).collect();
        let reason = if part == Part::Test {
            Reason::NoMaskInTest
        } else {
            let all = pairs.len() + without.len();
            found.notes.extend(judge(root, told, &without, all, name)?);
            Reason::NoMask
        };
        found
            .left_out
            .extend(without.iter().map(|image| left_out(image, reason)));
        match part {
            Part::Train => found.train = pairs,
            Part::Val => found.val = pairs,
            Part::Test => found.test = pairs,
        }
    }
    found.notes.extend(note_on_forms(told));
    Ok(found)
}

/// The part of each image, or why it is not used. Without a folder for training, images outside
/// of the other parts are for training.
fn parts_of(images: &[Entry], used: Option<&[bool]>) -> Vec<Result<Part, Reason>> {
    let has_training = images.iter().any(|image| image.part == Some(Part::Train));
    let part = |(at, image): (usize, &Entry)| match image.part {
        _ if used.is_some_and(|used| !used[at]) => Err(Reason::NotListed),
        None if has_training => Err(Reason::OtherFolder),
        part => Ok(part.unwrap_or(Part::Train)),
    };
    images.iter().enumerate().map(part).collect()
}

fn refuse_equal_names(
    root: &Path,
    images: &[Entry],
    parts: &[Result<Part, Reason>],
) -> Result<(), DataError> {
    let mut seen: HashMap<(Part, Vec<u8>), &Path> = HashMap::new();
    for (image, part) in images.iter().zip(parts) {
        let Ok(part) = part else { continue };
        if let Some(first) = seen.insert((*part, image.key()), &image.path) {
            return Err(DataError::DuplicateStem {
                stem: text(&image.key()),
                first: root.join(first),
                second: root.join(&image.path),
            });
        }
    }
    Ok(())
}

/// Images of no part, masks of no image, and files that are neither.
fn not_needed(tree: &Tree, told: &Told, parts: &[Result<Part, Reason>]) -> Vec<LeftOut> {
    let images = told.images.iter().zip(parts);
    let images = images.filter_map(|(image, part)| Some(left_out(image, part.err()?)));
    let masks = unused(&told.matches.masks, told.masks.len()).into_iter();
    let masks = masks.map(|mask| left_out(&told.masks[mask], Reason::NoImage));
    let told = told.images.iter().chain(&told.masks);
    let told: HashSet<&Path> = told.map(|entry| &*entry.path).collect();
    let others = tree
        .entries
        .iter()
        .filter(|entry| !told.contains(&*entry.path));
    let others = others.map(|entry| left_out(entry, Reason::OtherFolder));
    images.chain(masks).chain(others).collect()
}

fn left_out(entry: &Entry, reason: Reason) -> LeftOut {
    let path = entry.path.clone();
    LeftOut { path, reason }
}

fn pair(root: &Path, told: &Told, at: usize) -> Pair {
    let image = &told.images[at];
    let path = |mask: &usize| root.join(&told.masks[*mask].path);
    Pair {
        stem: text(&image.key()),
        image: root.join(&image.path),
        mask: match &told.matches.masks[at][..] {
            [mask] => MaskFile::One(path(mask)),
            masks => MaskFile::Union(masks.iter().map(path).collect()),
        },
    }
}

/// A note about the images without a mask among `all` images of a part, or a refusal if they are
/// too many.
fn judge(
    root: &Path,
    told: &Told,
    without: &[&Entry],
    all: usize,
    part: &str,
) -> Result<Option<String>, DataError> {
    let Some(first) = without.first() else {
        return Ok(None);
    };
    let names = file_names(without.iter().copied());
    let count = without.len();
    if count * MAX_SHARE_WITHOUT <= all {
        let more = if count > MAX_NAMED { ", ..." } else { "" };
        return Ok(Some(format!(
            "attention: {count} of {all} images for {part} have no mask and are left out \
             (above a third is an error): {}{more}",
            names.join(", ")
        )));
    }
    let folder = |entry: &Entry| root.join(entry.path.parent().unwrap_or(Path::new("")));
    let own = |mask: &&Entry| mask.part.is_none() || mask.part == first.part;
    let unused = unused(&told.matches.masks, told.masks.len()).into_iter();
    Err(DataError::MasksMissing {
        images: folder(first),
        masks: told
            .masks
            .iter()
            .find(own)
            .map_or_else(|| root.to_owned(), folder),
        names,
        count,
        others: file_names(unused.map(|mask| &told.masks[mask]).filter(own)),
    })
}

/// The first names.
fn file_names<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<String> {
    let names = entries.filter_map(|entry| entry.path.file_name());
    names
        .take(MAX_NAMED)
        .map(|name| name.display().to_string())
        .collect()
}

fn note_on_forms(told: &Told) -> Option<String> {
    let pairs = told.images.iter().zip(&told.matches.masks);
    let mut images = pairs.filter_map(|(image, masks)| {
        let differ = |&mask: &usize| told.masks[mask].is_composed != image.is_composed;
        masks.iter().any(differ).then_some(image)
    });
    let first = images.next()?;
    Some(format!(
        "{} image(s) and their masks are named in different Unicode forms (NFC and NFD), such as `{}`",
        images.count() + 1,
        first.path.display()
    ))
}

/// A key as text, in which bytes that are not Unicode can still be told apart.
fn text(key: &[u8]) -> String {
    let mut text = String::new();
    for chunk in key.utf8_chunks() {
        text += chunk.valid();
        text += &chunk.invalid().escape_ascii().to_string();
    }
    text
}
