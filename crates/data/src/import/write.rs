//! Writes the new folder.

use std::collections::BTreeSet;
use std::path::{self, Path};
use std::{fs, io};

use png::ColorType;
use tempfile::TempDir;

use super::plan::Item;
use super::report::Imported;
use crate::annotations::{IGNORE, Uncertain, paint};
use crate::folder::listing::stem;
use crate::masks::voc_palette;
use crate::{DataError, decode, encode};

/// What became of an image.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was written.
    Written(Written),
    /// Its size is not that of its annotations.
    OtherSize,
    /// Its size cannot be read.
    Unreadable,
}

/// An image and a mask that were written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) is_linked: bool,
    /// Pixels of the mask that are ignored.
    pub(super) ignored_pixels: usize,
    /// Whether the mask has background alone.
    pub(super) is_empty: bool,
    /// Pixels of objects that later objects of other classes cover.
    pub(super) covered_pixels: usize,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> DataError + '_ {
    |source| DataError::Write {
        path: path.to_owned(),
        source,
    }
}

/// Refuses an `out` that is not empty or in `source`, and a `source` that does not exist.
pub(super) fn refuse(source: &Path, out: &Path) -> Result<(), DataError> {
    let path = source.to_owned();
    let root = source.canonicalize().ok().filter(|root| root.is_dir());
    let root = root.ok_or(DataError::FolderMissing { path })?;
    match fs::read_dir(out) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                let path = out.to_owned();
                return Err(DataError::OutputNotEmpty { path });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(out)(error)),
    }
    let absolute = path::absolute(out).map_err(failed(out))?;
    let mut folders = absolute.ancestors();
    let existing = folders.find_map(|folder| folder.canonicalize().ok());
    if existing.is_some_and(|folder| folder.starts_with(root)) {
        return Err(DataError::OutputInside {
            path: out.to_owned(),
            folder: source.to_owned(),
        });
    }
    Ok(())
}

/// A new folder beside `out`, which is deleted unless it is [finished](finish).
pub(super) fn temporary(out: &Path) -> Result<TempDir, DataError> {
    let absolute = path::absolute(out).map_err(failed(out))?;
    let beside = absolute.parent().unwrap_or(&absolute);
    fs::create_dir_all(beside).map_err(failed(beside))?;
    let mut builder = tempfile::Builder::new();
    // A temporary folder is private by default; this one follows the user's umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder
        .prefix(".importing-")
        .tempdir_in(beside)
        // The error of `tempfile` names the temporary folder.
        .map_err(|error| failed(beside)(error.kind().into()))
}

/// The folders of `items` below `root`.
pub(super) fn folders(root: &Path, items: &[Item<'_>]) -> Result<(), DataError> {
    let parts: BTreeSet<&Path> = items.iter().map(Item::folder).collect();
    let below = |part: &Path| ["images", "masks"].map(|kind| root.join(part).join(kind));
    for folder in parts.into_iter().flat_map(below) {
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
    }
    Ok(())
}

/// Writes an image and its mask.
pub(super) fn image(root: &Path, item: &Item<'_>) -> Result<Outcome, DataError> {
    let image = item.image;
    match decode::sizes(&image.file) {
        // Outlines may be drawn on the stored pixels: the loader turns such a mask like its image.
        Ok(sizes) if sizes.contains(&image.size) => {}
        Ok(_) => return Ok(Outcome::OtherSize),
        Err(_) => return Ok(Outcome::Unreadable),
    }
    let folder = root.join(item.folder());
    let path = folder.join("images").join(&item.name);
    let is_linked = place(&image.file, &path).map_err(failed(&path))?;
    let (mask, covered_pixels) = paint(image, Uncertain::Ignore);
    let mut name = stem(Path::new(&item.name)).to_owned();
    name.push("_mask.png");
    let path = folder.join("masks").join(name);
    #[expect(clippy::cast_possible_truncation, reason = "at most `MAX_SIDE`")]
    let size = (image.size.0 as u32, image.size.1 as u32);
    encode::png(ColorType::Indexed, Some(voc_palette()), size, &mask)
        .and_then(|bytes| fs::write(&path, bytes))
        .map_err(failed(&path))?;
    Ok(Outcome::Written(Written {
        is_linked,
        ignored_pixels: mask.iter().map(|&value| usize::from(value == IGNORE)).sum(),
        is_empty: mask.iter().all(|&value| value == 0),
        covered_pixels,
    }))
}

/// Links or copies a file, and returns whether it is a link. A link to a symbolic link would break
/// with it.
fn place(file: &Path, to: &Path) -> io::Result<bool> {
    let file = file.canonicalize()?;
    match fs::hard_link(&file, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::copy(&file, to).map(|_bytes| false),
    }
}

/// Writes what the values of the masks mean. Lists of JSON are lists of TOML, but for one letter.
pub(super) fn classes(root: &Path, report: &Imported) -> Result<(), DataError> {
    let names: Vec<&str> = report.names().collect();
    let values: Vec<usize> = (0..names.len()).collect();
    let names = serde_json::json!(names).to_string();
    let names = names.replace('\u{7f}', "\\u007F");
    let ignore = if report.ignored_pixels > 0 {
        format!("ignore = [{IGNORE}]\n")
    } else {
        String::new()
    };
    let text = format!("[classes]\nnames = {names}\nvalues = {values:?}\n{ignore}");
    let path = root.join("classes.toml");
    fs::write(&path, text).map_err(failed(&path))
}

/// Makes the temporary folder `out`.
pub(super) fn finish(folder: &TempDir, out: &Path) -> Result<(), DataError> {
    // Not every system replaces an empty folder.
    if out.exists() {
        fs::remove_dir(out).map_err(failed(out))?;
    }
    fs::rename(folder.path(), out).map_err(failed(out))
}
