//! Finds the mask of each image: the naming that explains most files, or folders that hold the
//! masks of one image.

use std::collections::{HashMap, HashSet};

use super::listing::has_ending;
use super::naming::{Naming, guesses};
use super::places::Entry;
use super::refused::LayoutProblem;
use super::words::Part;

/// Namings in one set, such as `STEM_mask` for some images and `STEM` for others.
const MAX_NAMINGS: usize = 4;

/// Which masks each image has, by index.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) masks: Vec<Vec<usize>>,
    /// The namings that were found, the first explains most.
    pub(super) namings: Vec<Naming>,
}

impl Matches {
    /// Number of images with a mask.
    pub(super) fn count(&self) -> usize {
        self.masks.iter().filter(|masks| !masks.is_empty()).count()
    }
}

/// Matches by names, or else by folders that hold one image each.
///
/// # Errors
/// [`LayoutProblem::TwoMasks`] if two namings explain the masks equally well.
pub(super) fn matches(images: &[Entry], masks: &[Entry]) -> Result<Matches, LayoutProblem> {
    let (images, masks) = align(images, masks);
    let mut found = Matches {
        masks: vec![Vec::new(); images.len()],
        namings: Vec::new(),
    };
    for round in 0..MAX_NAMINGS {
        let open = Open {
            images: (0..images.len())
                .filter(|&at| found.masks[at].is_empty())
                .collect(),
            masks: unused(&found.masks, masks.len()),
        };
        let Some((naming, pairs)) = best(&images, &masks, &open, round == 0)? else {
            break;
        };
        for (image, mask) in pairs {
            found.masks[image].push(mask);
        }
        found.namings.push(naming);
    }
    if found.namings.is_empty() {
        found.masks = instances(&images, &masks).unwrap_or(found.masks);
    }
    Ok(found)
}

/// Indices of masks that no image has.
pub(super) fn unused(taken: &[Vec<usize>], masks: usize) -> Vec<usize> {
    let mut is_used = vec![false; masks];
    for &mask in taken.iter().flatten() {
        is_used[mask] = true;
    }
    (0..masks).filter(|&mask| !is_used[mask]).collect()
}

/// Gives images and masks equal folders: as they are; without what all folders of a kind start
/// with; or without folders, if the names alone tell the files apart.
fn align(images: &[Entry], masks: &[Entry]) -> (Vec<Entry>, Vec<Entry>) {
    let (mut images, mut masks) = (images.to_vec(), masks.to_vec());
    let are_disjoint = |one: &[Entry], other: &[Entry]| {
        let folders: HashSet<&[u8]> = one.iter().map(|entry| &*entry.folder).collect();
        !other.iter().any(|entry| folders.contains(&*entry.folder))
    };
    let owners: HashSet<Vec<u8>> = images.iter().map(Entry::key).collect();
    if !are_disjoint(&images, &masks) || masks.iter().any(|mask| owners.contains(&mask.folder)) {
        return (images, masks);
    }
    for entries in [&mut images, &mut masks] {
        strip_common_folder(entries);
    }
    let are_unique = |entries: &[Entry]| {
        let mut seen = HashSet::new();
        entries
            .iter()
            .all(|it| seen.insert((it.part, it.name.clone())))
    };
    if are_disjoint(&images, &masks) && are_unique(&images) && are_unique(&masks) {
        for entry in images.iter_mut().chain(&mut masks) {
            entry.folder.clear();
        }
    }
    (images, masks)
}

fn strip_common_folder(entries: &mut [Entry]) {
    while let Some(first) = entries.first().filter(|entry| !entry.folder.is_empty()) {
        let length = first.folder.iter().position(|&byte| byte == b'/');
        let top = first.folder[..length.unwrap_or(first.folder.len())].to_vec();
        let rest = |folder: &[u8]| match folder.strip_prefix(&*top)? {
            [] => Some(Vec::new()),
            [b'/', rest @ ..] => Some(rest.to_vec()),
            _ => None,
        };
        let Some(folders) = entries
            .iter()
            .map(|entry| rest(&entry.folder))
            .collect::<Option<Vec<_>>>()
        else {
            return;
        };
        for (entry, folder) in entries.iter_mut().zip(folders) {
            entry.folder = folder;
        }
    }
}

/// Images and masks that are not matched yet, by index.
struct Open {
    images: Vec<usize>,
    masks: Vec<usize>,
}

type Pairs = Vec<(usize, usize)>;

/// The naming that explains most of the open images. Only the first may be an unknown one.
fn best(
    images: &[Entry],
    masks: &[Entry],
    open: &Open,
    may_be_unknown: bool,
) -> Result<Option<(Naming, Pairs)>, LayoutProblem> {
    let open_images: Vec<&Entry> = open.images.iter().map(|&at| &images[at]).collect();
    let open_masks: Vec<&Entry> = open.masks.iter().map(|&at| &masks[at]).collect();
    let index = Index::of(&open_masks);
    let fewer = open_images.len().min(open_masks.len());
    let mut tried: Vec<(Naming, Pairs)> = guesses(&open_images, &open_masks)
        .into_iter()
        .filter(|naming| may_be_unknown || naming.rank().is_some())
        .filter_map(|naming| {
            let pairs = index.pairs(&open_images, &naming);
            is_credible(&naming, &pairs, &open_images, fewer).then_some((naming, pairs))
        })
        .collect();
    tried.sort_by_cached_key(|(naming, pairs)| {
        let rank = naming.rank().unwrap_or(usize::MAX);
        let length = naming.image.len() + naming.mask.len();
        (usize::MAX - pairs.len(), rank, length, naming.clone())
    });
    let mut tried = tried.into_iter();
    let Some((naming, pairs)) = tried.next() else {
        return Ok(None);
    };
    // A known naming wins over others, and so does one that explains twice as much.
    if naming.rank().is_none() {
        let mask_of: HashMap<usize, usize> = pairs.iter().copied().collect();
        let rival = tried
            .filter(|(_, others)| others.len() * 2 > pairs.len())
            .flat_map(|(_, others)| others)
            .find_map(|(image, mask)| {
                Some((image, *mask_of.get(&image)?, mask)).filter(|it| it.1 != it.2)
            });
        if let Some((image, first, second)) = rival {
            return Err(LayoutProblem::TwoMasks {
                image: open_images[image].path.clone(),
                first: open_masks[first].path.clone(),
                second: open_masks[second].path.clone(),
            });
        }
    }
    let pairs = pairs
        .into_iter()
        .map(|(image, mask)| (open.images[image], open.masks[mask]));
    Ok(Some((naming, pairs.collect())))
}

/// Whether a naming explains enough not to be chance. `fewer` is the number of images or of masks,
/// whichever is lower.
fn is_credible(naming: &Naming, pairs: &Pairs, images: &[&Entry], fewer: usize) -> bool {
    let Some((first, _)) = pairs.first() else {
        return false;
    };
    let name = &images[*first].name;
    let ends_words = naming.ends_words(name);
    if naming.rank().is_some() && ends_words {
        return true;
    }
    let has_both = naming.image.len() > 0 && naming.mask.len() > 0;
    let is_certain = match (ends_words, has_both) {
        (true, false) => true,
        (false, true) => false,
        _ => pairs.len() >= 2,
    };
    is_certain && pairs.len() * 2 >= fewer
}

/// Part, folder and name.
type Identity<'a> = (Option<Part>, &'a [u8], &'a [u8]);

struct Index<'a>(HashMap<Identity<'a>, usize>);

impl<'a> Index<'a> {
    /// Of masks that differ in their endings alone, a PNG file is taken, or else the first.
    fn of(masks: &[&'a Entry]) -> Self {
        let mut index = HashMap::new();
        for (at, mask) in masks.iter().enumerate().rev() {
            let key = (mask.part, &*mask.folder, &*mask.name);
            let is_png = |at: usize| has_ending(&masks[at].path, &["png"]);
            if index
                .get(&key)
                .is_none_or(|&other| is_png(at) || !is_png(other))
            {
                index.insert(key, at);
            }
        }
        Self(index)
    }

    /// Pairs of image and mask; each mask is taken once.
    fn pairs(&self, images: &[&Entry], naming: &Naming) -> Pairs {
        let mut taken = HashSet::new();
        let mask_of = |image: &Entry| {
            let name = naming.mask_of(&image.name)?;
            let at = |part| self.0.get(&(part, &*image.folder, &*name)).copied();
            at(image.part).or_else(|| at(None))
        };
        let pairs = images
            .iter()
            .enumerate()
            .filter_map(|(at, image)| Some((at, mask_of(image)?)));
        pairs.filter(|(_, mask)| taken.insert(*mask)).collect()
    }
}

/// Masks that are one for each object. Either each folder with masks has one image, or the masks
/// are in a folder that is named as their image.
fn instances(images: &[Entry], masks: &[Entry]) -> Option<Vec<Vec<usize>>> {
    let mut of_folder: HashMap<(Option<Part>, &[u8]), Vec<usize>> = HashMap::new();
    for (at, mask) in masks.iter().enumerate() {
        of_folder
            .entry((mask.part, &*mask.folder))
            .or_default()
            .push(at);
    }
    let beside = |image: &Entry| {
        let folder = Some(&image.folder).filter(|folder| !folder.is_empty())?;
        of_folder.get(&(image.part, folder.as_slice())).cloned()
    };
    let below = |image: &Entry| {
        of_folder
            .get(&(image.part, image.key().as_slice()))
            .cloned()
    };
    let all = |masks_of: &dyn Fn(&Entry) -> Option<Vec<usize>>| {
        let found: Vec<Vec<usize>> = images
            .iter()
            .map(|image| masks_of(image).unwrap_or_default())
            .collect();
        let mut taken = HashSet::new();
        let are_apart = found.iter().flatten().all(|mask| taken.insert(*mask));
        (are_apart && !taken.is_empty()).then_some(found)
    };
    all(&beside).or_else(|| all(&below))
}
