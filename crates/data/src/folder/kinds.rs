//! Which files are images and which are masks, and which belong together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::matching::matches;
use super::one_folder::{self, Told};
use super::places::{Entry, Place, Tree};
use super::refused::LayoutProblem;
use super::words::Kind;

/// Tells images from masks by their folders, or by their names if no folder says it. `None` if
/// neither does.
///
/// # Errors
/// A [`LayoutProblem`] if there are two ways.
pub(super) fn tell(tree: &Tree) -> Result<Option<Told>, LayoutProblem> {
    let of_kind = |kind| -> Vec<Entry> {
        let entries = tree.entries.iter().filter(|entry| {
            let place = &tree.places[entry.place];
            place.kind == kind && !place.is_aside
        });
        entries.cloned().collect()
    };
    let (mut images, masks) = (of_kind(Some(Kind::Image)), of_kind(Some(Kind::Mask)));
    let others = of_kind(None);
    if masks.is_empty() {
        images.extend(others);
        return one_folder::tell(&images);
    }
    if images.is_empty() {
        images = others;
    }
    refuse_channels(&images, &masks)?;
    let count =
        |images: &[Entry], masks: &[Entry]| matches(images, masks).map_or(1, |it| it.count());
    let masks = one_folder_of(&tree.places, masks, "masks", |masks| count(&images, masks))?;
    let images = one_folder_of(&tree.places, images, "images", |images| {
        count(images, &masks)
    })?;
    let matches = matches(&images, &masks)?;
    if matches.count() == 0
        && let Some(told) = one_folder::tell(&images)?
    {
        return Ok(Some(told));
    }
    Ok((!images.is_empty()).then_some(Told {
        images,
        masks,
        matches,
    }))
}

/// Of folders side by side that hold the same kind, keeps the one with matches.
fn one_folder_of(
    places: &[Place],
    mut entries: Vec<Entry>,
    what: &'static str,
    count: impl Fn(&[Entry]) -> usize,
) -> Result<Vec<Entry>, LayoutProblem> {
    let mut beside: HashMap<_, BTreeMap<&str, &Path>> = HashMap::new();
    for entry in &entries {
        let place = &places[entry.place];
        if let Some((path, name)) = &place.kind_folder {
            beside
                .entry((path.parent(), place.part))
                .or_default()
                .insert(name, path);
        }
    }
    let rivals = beside
        .into_values()
        .filter(|folders| folders.len() > 1)
        .flatten();
    let rivals: BTreeMap<&str, &Path> = rivals.collect();
    let name_of = |entry: &Entry| {
        places[entry.place]
            .kind_folder
            .as_ref()
            .map(|(_, name)| name.as_str())
    };
    let live = rivals.iter().filter(|(name, _)| {
        let own = entries
            .iter()
            .filter(|entry| name_of(entry) == Some(**name));
        count(&own.cloned().collect::<Vec<_>>()) > 0
    });
    match live.collect::<Vec<_>>()[..] {
        [] => {}
        [(name, _)] => entries.retain(|entry| {
            name_of(entry).is_none_or(|own| own == *name || !rivals.contains_key(own))
        }),
        [(_, first), (_, second), ..] => {
            return Err(LayoutProblem::TwoFolders {
                what,
                first: first.to_path_buf(),
                second: second.to_path_buf(),
            });
        }
    }
    Ok(entries)
}

/// Refuses images in several files, as in nnU-Net: `CASE_0000.png` and `CASE_0001.png` for the
/// mask `CASE.png`.
fn refuse_channels(images: &[Entry], masks: &[Entry]) -> Result<(), LayoutProblem> {
    let mut cases: HashMap<(&[u8], &[u8]), Vec<&Entry>> = HashMap::new();
    for image in images {
        let Some((case, [b'_', digits @ ..])) = image.name.split_last_chunk::<5>() else {
            return Ok(());
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Ok(());
        }
        cases.entry((&*image.folder, case)).or_default().push(image);
    }
    let masks: HashSet<(&[u8], &[u8])> = masks.iter().map(|it| (&*it.folder, &*it.name)).collect();
    let largest = cases
        .into_iter()
        .filter(|(case, images)| images.len() > 1 && masks.contains(case))
        .map(|(_, images)| images)
        .min_by_key(|images| (usize::MAX - images.len(), &images[0].path));
    match largest {
        Some(images) => Err(LayoutProblem::Channels {
            channels: images.len(),
            case: images[0].path.clone(),
        }),
        None => Ok(()),
    }
}
