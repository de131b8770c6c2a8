//! Finds which image belongs to which mask, and which pairs are for training.
//!
//! Two layouts are supported: `{train,val,test}/images` next to
//! `{train,val,test}/masks`, and one pair of `images` (or `imgs`) and `masks`, which is
//! split at random from a seed. Files are only listed here, not opened.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DataError, decode};

/// Number of names shown in an error.
const MAX_NAMED: usize = 5;

/// An image and the mask that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// File name of the image without its extension.
    pub stem: String,
    /// The image, a file that [`decode::image`](decode::image()) reads.
    pub image: PathBuf,
    /// The mask, a file that [`decode::mask`](decode::mask()) reads.
    pub mask: PathBuf,
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
    /// Pairs for `evaluate`; empty without a `test` folder.
    pub test: Vec<Pair>,
    /// Notes for the user about how the folder was read, one line each.
    pub notes: Vec<String>,
}

/// Reads the layout of the folder `dir`.
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
    let mut notes = Vec::new();
    let train_dir = dir.join("train");
    if images_dir(&train_dir).is_none() {
        if images_dir(dir).is_none() {
            return Err(DataError::UnknownLayout {
                path: dir.to_owned(),
                found: names(dir)?,
            });
        }
        let pairs = pairs(dir, &mut notes)?;
        let (train, val) = split(dir, pairs, options, &mut notes)?;
        return Ok(Dataset {
            train,
            val,
            test: Vec::new(),
            notes,
        });
    }
    let train = pairs(&train_dir, &mut notes)?;
    let val_dir = dir.join("val");
    let (train, val) = if val_dir.is_dir() {
        (train, pairs(&val_dir, &mut notes)?)
    } else {
        split(&train_dir, train, options, &mut notes)?
    };
    let test_dir = dir.join("test");
    let test = if test_dir.is_dir() {
        pairs(&test_dir, &mut notes)?
    } else {
        Vec::new()
    };
    Ok(Dataset {
        train,
        val,
        test,
        notes,
    })
}

/// The folder of images in `dir`, under either of its names.
fn images_dir(dir: &Path) -> Option<PathBuf> {
    ["images", "imgs"]
        .map(|name| dir.join(name))
        .into_iter()
        .find(|path| path.is_dir())
}

/// The pairs in `dir/images` and `dir/masks`.
fn pairs(dir: &Path, notes: &mut Vec<String>) -> Result<Vec<Pair>, DataError> {
    let images_dir = images_dir(dir).ok_or_else(|| DataError::FolderMissing {
        path: dir.join("images"),
    })?;
    let masks_dir = dir.join("masks");
    let images = images(&images_dir)?;
    if !masks_dir.is_dir() {
        return Err(DataError::FolderMissing { path: masks_dir });
    }
    let mut masks = masks(&masks_dir)?;
    let mut pairs = Vec::with_capacity(images.len());
    let mut without = Vec::new();
    for (stem, image) in images {
        match masks
            .remove(&format!("{stem}_mask"))
            .or_else(|| masks.remove(&stem))
        {
            Some(mask) if is(&mask, &decode::ENDINGS) && !is(&mask, &["jpg", "jpeg"]) => {
                pairs.push(Pair { stem, image, mask });
            }
            Some(path) => return Err(DataError::MaskFormat { path }),
            None => without.push(file_name(&image)),
        }
    }
    if !without.is_empty() {
        let count = without.len();
        without.truncate(MAX_NAMED);
        return Err(DataError::MasksMissing {
            images: images_dir,
            masks: masks_dir,
            names: without,
            count,
        });
    }
    if let Some(first) = masks.values().next() {
        notes.push(format!(
            "{} mask(s) in `{}` have no image and are not used: `{}`{}",
            masks.len(),
            masks_dir.display(),
            file_name(first),
            if masks.len() > 1 { ", ..." } else { "" },
        ));
    }
    Ok(pairs)
}

/// Images by stem.
fn images(dir: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut images = BTreeMap::new();
    for path in files(dir)?
        .into_iter()
        .filter(|path| is(path, &decode::ENDINGS))
    {
        let stem = stem(&path);
        if let Some(first) = images.insert(stem.clone(), path.clone()) {
            return Err(DataError::DuplicateStem {
                stem,
                first,
                second: path,
            });
        }
    }
    if images.is_empty() {
        return Err(DataError::NoImages {
            path: dir.to_owned(),
            found: names(dir)?,
        });
    }
    Ok(images)
}

/// Files in the folder of masks by stem. A PNG wins over other files of the same stem.
fn masks(dir: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut masks = BTreeMap::new();
    for path in files(dir)? {
        if is(&path, &["png"]) || !masks.contains_key(&stem(&path)) {
            masks.insert(stem(&path), path);
        }
    }
    Ok(masks)
}

/// Visible files of `dir`, sorted.
fn files(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = entries(dir)?;
    paths.retain(|path| path.is_file());
    Ok(paths)
}

/// Visible entries of `dir`, sorted, because file systems list them in any order.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let listed = fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut paths = listed.map_err(|source| DataError::Read {
        path: dir.to_owned(),
        source,
    })?;
    paths.retain(|path| !file_name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn names(dir: &Path) -> Result<Vec<String>, DataError> {
    let mut names: Vec<_> = entries(dir)?
        .iter()
        .map(|path| format!("`{}`", file_name(path)))
        .collect();
    if names.len() > MAX_NAMED {
        names.truncate(MAX_NAMED);
        names.push("...".to_owned());
    }
    Ok(names)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn is(path: &Path, extensions: &[&str]) -> bool {
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    extensions.contains(&extension.as_str())
}

/// Splits off `val_percent` of `pairs`, at least one and never all. The choice is a hash of
/// each name, so that added images hardly affect the others.
fn split(
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

#[cfg(test)]
mod tests;
