//! How images and masks are named: what masks have before and after the name they share with their
//! image, and what images have.
//!
//! A naming is not taken from a list but from the names themselves. Tables of known words only
//! decide between namings that explain equally many names, and which ones may explain a few files
//! that the first naming left.

use std::collections::{HashMap, HashSet};

use super::places::Entry;
use super::words;

/// Names of each kind from which namings are guessed. All names then decide.
const MAX_SAMPLED: usize = 32;
/// Namings that are tried on all names.
const MAX_TRIED: usize = 12;

/// What a name has before and after the part that image and mask share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Affix {
    pub(super) prefix: Vec<u8>,
    pub(super) suffix: Vec<u8>,
}

impl Affix {
    pub(super) fn core<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let core = name
            .strip_prefix(&*self.prefix)?
            .strip_suffix(&*self.suffix)?;
        (!core.is_empty()).then_some(core)
    }

    pub(super) fn len(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    /// The affix alone if only one side has one.
    fn text(&self) -> Option<&[u8]> {
        match (&*self.prefix, &*self.suffix) {
            (text, []) | ([], text) => Some(text),
            _ => None,
        }
    }
}

/// How images and masks are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Naming {
    pub(super) image: Affix,
    pub(super) mask: Affix,
}

impl Naming {
    /// The naming without words that both affixes have beside the core, because these are a part
    /// of the core: `_19_sat` and `_19_mask` become `_sat` and `_mask`.
    fn without_shared_words(mut self) -> Self {
        drop_shared_words(&mut self.image.suffix, &mut self.mask.suffix);
        let prefixes = [&mut self.image.prefix, &mut self.mask.prefix];
        let [image, mask] = prefixes.map(|prefix| {
            prefix.reverse();
            prefix
        });
        drop_shared_words(image, mask);
        image.reverse();
        mask.reverse();
        self
    }

    /// The name that the mask of an image has.
    pub(super) fn mask_of(&self, image: &[u8]) -> Option<Vec<u8>> {
        let core = self.image.core(image)?;
        Some([&*self.mask.prefix, core, &self.mask.suffix].concat())
    }

    /// Whether no word is cut in the names of this image and its mask.
    pub(super) fn ends_words(&self, image: &[u8]) -> bool {
        let ends = |affix: &Affix, name: &[u8]| {
            words::is_boundary(name, affix.prefix.len())
                && words::is_boundary(name, name.len() - affix.suffix.len())
        };
        let mask = self.mask_of(image);
        mask.is_some_and(|mask| ends(&self.image, image) && ends(&self.mask, &mask))
    }

    /// How usual it is; 0 is the most usual naming.
    pub(super) fn rank(&self) -> Option<usize> {
        let known_image = self.image.text().is_some_and(words::is_image_affix);
        let rank = self.mask.text().and_then(words::mask_affix_rank);
        rank.filter(|_| known_image)
    }
}

/// Drops what both start with, if a separator or nothing follows in both.
fn drop_shared_words(one: &mut Vec<u8>, other: &mut Vec<u8>) {
    let ends =
        |affix: &[u8], at: usize| affix.get(at).is_none_or(|&byte| words::is_separator(byte));
    let mut lengths = (0..=shared_length(one.iter(), other.iter())).rev();
    let length = lengths.find(|&at| ends(one, at) && ends(other, at));
    one.drain(..length.unwrap_or(0));
    other.drain(..length.unwrap_or(0));
}

/// Namings that some names suggest, and equal names.
pub(super) fn guesses(images: &[&Entry], masks: &[&Entry]) -> Vec<Naming> {
    let mut votes: HashMap<Naming, usize> = HashMap::new();
    for (stripped, searched, is_image_stripped) in [(images, masks, true), (masks, images, false)] {
        for affix in common_affixes(stripped) {
            let cores: HashSet<(&[u8], &[u8])> = stripped
                .iter()
                .filter_map(|entry| Some((&*entry.folder, affix.core(&entry.name)?)))
                .collect();
            for entry in sampled(searched) {
                for other in affixes_in(entry, &cores) {
                    let affix = affix.clone();
                    let (image, mask) = if is_image_stripped {
                        (affix, other)
                    } else {
                        (other, affix)
                    };
                    *votes
                        .entry(Naming { image, mask }.without_shared_words())
                        .or_default() += 1;
                }
            }
        }
    }
    votes.remove(&Naming::default());
    let mut votes: Vec<(Naming, usize)> = votes.into_iter().collect();
    votes.sort_unstable_by(|(one, a), (other, b)| {
        let key = |naming: &Naming| naming.rank().unwrap_or(usize::MAX);
        (b, key(one), one).cmp(&(a, key(other), other))
    });
    votes.truncate(MAX_TRIED);
    let guesses = votes.into_iter().map(|(naming, _)| naming);
    guesses.chain([Naming::default()]).collect()
}

fn sampled<'a>(entries: &[&'a Entry]) -> impl Iterator<Item = &'a Entry> {
    let step = entries.len().div_ceil(MAX_SAMPLED).max(1);
    entries.iter().step_by(step).copied()
}

/// The prefix and the suffix around each core that the name contains. Numbers stay whole.
fn affixes_in(entry: &Entry, cores: &HashSet<(&[u8], &[u8])>) -> Vec<Affix> {
    let name = &*entry.name;
    let is_text = str::from_utf8(name).is_ok();
    let cuts: Vec<usize> = (0..=name.len())
        .filter(|&at| {
            let (before, after) = (at.checked_sub(1).and_then(|at| name.get(at)), name.get(at));
            let cuts_number = before
                .zip(after)
                .is_some_and(|(a, b)| a.is_ascii_digit() && b.is_ascii_digit());
            let cuts_letter = is_text && after.is_some_and(|byte| byte & 0xC0 == 0x80);
            !cuts_number && !cuts_letter
        })
        .collect();
    let mut found = Vec::new();
    for (i, &start) in cuts.iter().enumerate() {
        for &end in &cuts[i + 1..] {
            if cores.contains(&(&*entry.folder, &name[start..end])) {
                found.push(Affix {
                    prefix: name[..start].to_vec(),
                    suffix: name[end..].to_vec(),
                });
            }
        }
    }
    found
}

/// Nothing, and what all names have in common at their start, at their end and at both, up to the
/// end of a word.
fn common_affixes(entries: &[&Entry]) -> Vec<Affix> {
    let names = || entries.iter().map(|entry| &*entry.name);
    let Some(first) = names().next() else {
        return Vec::new();
    };
    let start = names()
        .map(|name| shared_length(first.iter(), name.iter()))
        .min();
    let end = names()
        .map(|name| shared_length(first.iter().rev(), name.iter().rev()))
        .min();
    let is_start = |at: usize| names().all(|name| words::is_boundary(name, at));
    let is_end = |at: usize| names().all(|name| words::is_boundary(name, name.len() - at));
    let longest = |shared: Option<usize>, is_end: &dyn Fn(usize) -> bool| {
        (0..=shared.unwrap_or(0))
            .rev()
            .find(|&at| is_end(at))
            .unwrap_or(0)
    };
    let prefix = &first[..longest(start, &is_start)];
    let suffix = &first[first.len() - longest(end, &is_end)..];
    let mut affixes = Vec::new();
    for prefix in [&[], prefix] {
        for suffix in [&[], suffix] {
            let (prefix, suffix) = (prefix.to_vec(), suffix.to_vec());
            affixes.push(Affix { prefix, suffix });
        }
    }
    affixes.sort_unstable();
    affixes.dedup();
    affixes
}

fn shared_length<'a>(
    one: impl Iterator<Item = &'a u8>,
    other: impl Iterator<Item = &'a u8>,
) -> usize {
    one.zip(other).take_while(|(a, b)| a == b).count()
}
