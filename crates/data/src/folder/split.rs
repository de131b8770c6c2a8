//! Which images are for training and which for validation: by lists in text files, or at random.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::listing::has_ending;
use super::places::{Entry, composed};
use super::words::{Part, Word};
use super::{Pair, SplitOptions};
use crate::DataError;

/// Largest list that is read.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// Lists of images that are in no part: they are split at random.
const WHOLE: [&str; 3] = ["trainval", "default", "all"];

/// Gives images the parts that lists among `texts` say, such as `ImageSets/Segmentation/val.txt` or
/// `val.txt` beside the folder of images.
///
/// Returns whether each image is to be used: if there is a list for training, the others are not.
/// `None` if no list names an image.
///
/// # Errors
/// [`DataError::Read`].
pub(super) fn read_lists(
    root: &Path,
    texts: &[PathBuf],
    images: &mut [Entry],
) -> Result<Option<Vec<bool>>, DataError> {
    let index: HashMap<Vec<u8>, usize> = images.iter().map(Entry::key).zip(0..).collect();
    let mut lists: Vec<(u8, Option<Part>, &Path)> =
        texts.iter().filter_map(|path| list(path)).collect();
    lists.sort_unstable();
    let mut listed: HashMap<usize, Option<Part>> = HashMap::new();
    let mut has_training = false;
    for (_, part, path) in lists {
        let path = root.join(path);
        let is_short = fs::metadata(&path).is_ok_and(|it| it.len() <= MAX_LIST_BYTES);
        let text = if is_short {
            fs::read(&path)
        } else {
            Ok(Vec::new())
        };
        let text = text.map_err(|source| DataError::Read { path, source })?;
        for line in text.split(|&byte| byte == b'\n') {
            if let Some(image) = image_of(line, &index) {
                listed.entry(image).or_insert(part);
                has_training |= part.is_none_or(|part| part == Part::Train);
            }
        }
    }
    if listed.is_empty() {
        return Ok(None);
    }
    for (&image, &part) in &listed {
        images[image].part = part;
    }
    let used = |image| !has_training || listed.contains_key(&image);
    Ok(Some((0..images.len()).map(used).collect()))
}

/// The part of a list by its name. What is held out comes first, because an image for validation
/// must not be trained on, whatever another list says.
fn list(path: &Path) -> Option<(u8, Option<Part>, &Path)> {
    let folder = path.parent()?;
    let is_voc = folder
        .file_name()
        .is_some_and(|name| name.eq_ignore_ascii_case("segmentation"));
    if !has_ending(path, &["txt"]) || !is_voc && folder.components().count() > 1 {
        return None;
    }
    let stem = path.file_stem()?;
    if WHOLE.iter().any(|name| stem.eq_ignore_ascii_case(name)) {
        return Some((3, None, path));
    }
    let word = Word::of(stem.as_encoded_bytes());
    let part = word.part.filter(|_| word.exact && word.kind.is_none())?;
    let order = match part {
        Part::Test => 0,
        Part::Val => 1,
        Part::Train => 2,
    };
    Some((order, Some(part), path))
}

/// The image of a line: its name, with or without ending, folders or a mask behind it.
fn image_of(line: &[u8], index: &HashMap<Vec<u8>, usize>) -> Option<usize> {
    let line = line.trim_ascii();
    let first = line.split(u8::is_ascii_whitespace).next();
    [Some(line), first].into_iter().flatten().find_map(|name| {
        let name = composed(name, true);
        let dot = name.iter().rposition(|&byte| byte == b'.');
        [Some(name.len()), dot]
            .into_iter()
            .flatten()
            .find_map(|end| {
                let starts = name[..end]
                    .iter()
                    .enumerate()
                    .filter(|(_, byte)| **byte == b'/');
                let mut starts = [0].into_iter().chain(starts.map(|(at, _)| at + 1));
                starts.find_map(|start| index.get(&name[start..end]).copied())
            })
    })
}

/// Splits off `val_percent` of `pairs`, at least one and never all. The choice is a hash of
/// each name, so that added images hardly affect the others.
pub(super) fn at_random(
    dir: &Path,
    mut pairs: Vec<Pair>,
    options: &SplitOptions,
    notes: &mut Vec<String>,
) -> Result<(Vec<Pair>, Vec<Pair>), DataError> {
    let all = pairs.len();
    if all < 2 {
        return Err(DataError::TooFewToSplit {
            path: dir.to_owned(),
            images: all,
        });
    }
    let wanted = (all as f64 * options.val_percent / 100.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to `all`"
    )]
    let count = (wanted as usize).clamp(1, all - 1);
    pairs.sort_by_cached_key(|pair| hash(options.seed, &pair.stem));
    let mut train = pairs.split_off(count);
    pairs.sort_by(|a, b| a.stem.cmp(&b.stem));
    train.sort_by(|a, b| a.stem.cmp(&b.stem));
    notes.push(format!(
        "no `val` folder: {count} of the {all} images in `{}` are used for validation (seed {})",
        dir.display(),
        options.seed,
    ));
    Ok((train, pairs))
}

/// FNV-1a of seed and name, mixed at the end as in `SplitMix64`, because FNV alone leaves the
/// high bits of short names alike.
fn hash(seed: u64, stem: &str) -> u64 {
    let fnv = seed
        .to_le_bytes()
        .iter()
        .chain(stem.as_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
