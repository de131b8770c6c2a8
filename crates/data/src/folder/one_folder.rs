//! Tells images from masks that lie in one folder, by their names alone.

use std::collections::{BTreeMap, HashSet};

use super::listing::has_ending;
use super::matching::{Matches, matches};
use super::naming::{Affix, guesses};
use super::places::Entry;
use super::refused::LayoutProblem;
use super::words;

/// Affixes that are tried.
const MAX_TRIED: usize = 8;

/// Images, masks and which belong together.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) images: Vec<Entry>,
    pub(super) masks: Vec<Entry>,
    pub(super) matches: Matches,
}

/// Tells images from masks: by an affix that is known for masks; by the ending, where images are
/// JPEG and masks are not; or by any affix that leaves no file alone. `None` if none does.
///
/// # Errors
/// [`LayoutProblem::TwoMasks`].
pub(super) fn tell(entries: &[Entry]) -> Result<Option<Told>, LayoutProblem> {
    if let Some(told) = by_known_affix(entries) {
        return Ok(Some(told));
    }
    Ok(by_ending(entries)?.or_else(|| by_any_affix(entries)))
}

/// The split of `entries` into images and masks, if some of them belong together.
fn told(
    entries: &[Entry],
    is_mask: impl Fn(&Entry) -> bool,
) -> Result<Option<Told>, LayoutProblem> {
    let (masks, images): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(is_mask);
    let matches = matches(&images, &masks)?;
    Ok((matches.count() > 0).then_some(Told {
        images,
        masks,
        matches,
    }))
}

fn by_known_affix(entries: &[Entry]) -> Option<Told> {
    let mut affixes: BTreeMap<Affix, usize> = BTreeMap::new();
    for entry in entries {
        for affix in known_affixes(&entry.name) {
            *affixes.entry(affix).or_default() += 1;
        }
    }
    let mut affixes: Vec<(Affix, usize)> = affixes.into_iter().collect();
    affixes.sort_by_key(|(_, count)| usize::MAX - count);
    let rank = |affix: &Affix| words::mask_affix_rank(&[&*affix.prefix, &affix.suffix].concat());
    let told = |affix: Affix| {
        // Beside `label.png`, `label_viz.png` is no image.
        let is_version = |name: &[u8]| {
            let rest = name
                .strip_prefix(&*affix.suffix)
                .filter(|_| is_whole(&affix));
            rest.and_then(<[u8]>::first)
                .is_some_and(|&byte| words::is_separator(byte))
        };
        let entries: Vec<Entry> = entries
            .iter()
            .filter(|it| !is_version(&it.name))
            .cloned()
            .collect();
        let told = told(&entries, |entry| has(&affix, &entry.name)).ok()??;
        // `a_r` and `a_l` are rather two photos.
        let is_odd = told
            .matches
            .namings
            .first()
            .is_some_and(|it| it.image.len() > 0 && it.mask.len() < 3);
        (!is_odd).then(|| (told, rank(&affix)))
    };
    let told = affixes
        .into_iter()
        .take(MAX_TRIED)
        .filter_map(|(affix, _)| told(affix));
    told.min_by_key(|(told, rank)| (usize::MAX - told.matches.count(), *rank))
        .map(|(told, _)| told)
}

/// Whether the affix is a whole name, as `mask` is in a folder for each image.
fn is_whole(affix: &Affix) -> bool {
    affix
        .suffix
        .first()
        .is_some_and(|&byte| !words::is_separator(byte))
}

fn has(affix: &Affix, name: &[u8]) -> bool {
    if is_whole(affix) {
        *name == *affix.suffix
    } else {
        affix.core(name).is_some()
    }
}

/// What stands before the first or after the last of some separators, or the whole name, if it is
/// known for masks. The separators count.
fn known_affixes(name: &[u8]) -> Vec<Affix> {
    let separators = || (1..name.len()).filter(|&at| words::is_separator(name[at]));
    let suffixes = separators().chain([0]).map(|at| Affix {
        prefix: Vec::new(),
        suffix: name[at..].to_vec(),
    });
    let prefixes = separators().map(|at| Affix {
        prefix: name[..=at].to_vec(),
        suffix: Vec::new(),
    });
    let is_known = |affix: &Affix| {
        let text = [&*affix.prefix, &affix.suffix].concat();
        text.iter().any(u8::is_ascii_alphabetic) && words::mask_affix_rank(&text).is_some()
    };
    suffixes.chain(prefixes).filter(is_known).collect()
}

fn by_ending(entries: &[Entry]) -> Result<Option<Told>, LayoutProblem> {
    let is_jpeg = |entry: &Entry| has_ending(&entry.path, &["jpg", "jpeg", "jpe", "jfif"]);
    let is_good = |told: &Told| {
        let mut pairs = told.images.iter().zip(&told.matches.masks);
        let are_together = pairs.all(|(image, masks)| {
            let mut masks = masks.iter().map(|&mask| &told.masks[mask]);
            masks.all(|mask| mask.place == image.place)
        });
        let are_named = !told.matches.namings.is_empty();
        are_named && are_together && told.matches.count() * 2 >= told.images.len()
    };
    Ok(told(entries, |entry| !is_jpeg(entry))?.filter(is_good))
}

fn by_any_affix(entries: &[Entry]) -> Option<Told> {
    let all: Vec<&Entry> = entries.iter().collect();
    let names: HashSet<(_, &[u8], &[u8])> = all
        .iter()
        .map(|it| (it.part, &*it.folder, &*it.name))
        .collect();
    guesses(&all, &all)
        .into_iter()
        .filter(|naming| naming.image.len() == 0 && naming.mask.len() > 0)
        .find_map(|naming| {
            let is_mask = |entry: &Entry| {
                let core = naming.mask.core(&entry.name);
                core.is_some_and(|core| names.contains(&(entry.part, &*entry.folder, core)))
            };
            let told = told(entries, is_mask).ok()??;
            let parts: HashSet<_> = told.masks.iter().map(|mask| mask.part).collect();
            let expected = told
                .images
                .iter()
                .filter(|image| parts.contains(&image.part))
                .count();
            let count = told.matches.count();
            (count == expected && count == told.masks.len()).then_some(told)
        })
}
