//! Lists the files of a folder tree: which are images, and which of the others may matter.
//!
//! Files are not opened, except for the first bytes of those whose ending says nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use image::ImageFormat;
use walkdir::WalkDir;

use super::left_out::{LeftOut, Reason};
use super::refused::LayoutProblem;
use crate::{DataError, decode};

/// Folders below each other that are searched.
const MAX_DEPTH: usize = 8;
/// Files and folders in a tree.
const MAX_ENTRIES: usize = 4_000_000;

/// Endings of what usually lies beside images. Such files are not looked into.
const TEXT_ENDINGS: [&str; 26] = [
    "txt", "json", "jsonl", "xml", "csv", "tsv", "yaml", "yml", "toml", "ini", "cfg", "md", "rst",
    "html", "log", "py", "ipynb", "sh", "pdf", "zip", "tar", "lst", "names", "sha256", "md5",
    "cache",
];

/// What systems add to folders, in lower case. Names that start with a dot are ignored as well.
const JUNK: [&str; 5] = [
    "__macosx",
    "thumbs.db",
    "desktop.ini",
    "@eadir",
    "$recycle.bin",
];

/// What a folder tree contains. Paths are relative to it and sorted, because file systems list
/// them in any order.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) images: Vec<PathBuf>,
    /// Files that are no images.
    pub(crate) others: Vec<PathBuf>,
    pub(super) folders: Vec<PathBuf>,
    pub(super) left_out: Vec<LeftOut>,
}

/// Lists the tree below `root`. Links are followed.
///
/// # Errors
/// [`DataError::Read`] for a folder that cannot be read, and [`LayoutProblem::TooManyFiles`].
pub(crate) fn list(root: &Path) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    let walk = WalkDir::new(root)
        .max_depth(MAX_DEPTH)
        .follow_links(true)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_junk(entry.file_name()));
    for (count, entry) in walk.enumerate() {
        if count > MAX_ENTRIES {
            return Err(LayoutProblem::TooManyFiles { limit: MAX_ENTRIES }.in_folder(root));
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                listing.left_out.extend(link(root, error)?);
                continue;
            }
        };
        let path = entry
            .path()
            .strip_prefix(root)
            .unwrap_or(entry.path())
            .to_owned();
        if entry.file_type().is_dir() {
            if entry.depth() == MAX_DEPTH {
                listing.leave_out(path, Reason::TooDeep);
            } else if entry.depth() > 0 {
                listing.folders.push(path);
            }
        } else if entry.file_type().is_file() {
            listing.add(entry.path(), path);
        }
    }
    for paths in [
        &mut listing.images,
        &mut listing.others,
        &mut listing.folders,
    ] {
        paths.sort_unstable();
    }
    Ok(listing)
}

impl Listing {
    fn add(&mut self, file: &Path, path: PathBuf) {
        if has_ending(&path, &decode::ENDINGS) {
            self.images.push(path);
        } else if has_ending(&path, &TEXT_ENDINGS) {
            self.others.push(path);
        } else if starts_like_an_image(file).unwrap_or(false) {
            self.images.push(path);
        } else {
            self.others.push(path.clone());
            self.leave_out(path, Reason::UnknownFormat);
        }
    }

    fn leave_out(&mut self, path: PathBuf, reason: Reason) {
        self.left_out.push(LeftOut { path, reason });
    }
}

/// What became of a link that leads nowhere or in a circle; any other failure is an error.
fn link(root: &Path, error: walkdir::Error) -> Result<Option<LeftOut>, DataError> {
    let path = error.path().unwrap_or(root).to_owned();
    if path.file_name().is_some_and(is_junk) {
        return Ok(None);
    }
    let reason = if error.loop_ancestor().is_some() {
        Reason::LinkLoop
    } else if path.is_symlink() && !path.exists() {
        Reason::BrokenLink
    } else {
        let source = error.into();
        return Err(DataError::Read { path, source });
    };
    let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
    Ok(Some(LeftOut { path, reason }))
}

fn is_junk(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b".")
        || JUNK
            .iter()
            .any(|junk| bytes.eq_ignore_ascii_case(junk.as_bytes()))
}

pub(crate) fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|ending| {
        endings
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    })
}

/// The file's name without its ending. `scan.001` and `scan.002` have no ending.
pub(crate) fn stem(path: &Path) -> &OsStr {
    let letter = |ending: &OsStr| {
        ending
            .as_encoded_bytes()
            .first()
            .map(u8::is_ascii_alphabetic)
    };
    match path.extension().and_then(letter) {
        Some(true) => path.file_stem(),
        _ => path.file_name(),
    }
    .unwrap_or_default()
}

/// Whether the first bytes are those of a format with an ending in the list.
fn starts_like_an_image(path: &Path) -> io::Result<bool> {
    let mut head = Vec::with_capacity(16);
    File::open(path)?.take(16).read_to_end(&mut head)?;
    Ok(match image::guess_format(&head) {
        Ok(ImageFormat::Bmp) => head.get(6..10) == Some(&[0; 4]),
        Ok(format) => matches!(
            format,
            ImageFormat::Png
                | ImageFormat::Jpeg
                | ImageFormat::Gif
                | ImageFormat::WebP
                | ImageFormat::Tiff
        ),
        Err(_) => false,
    })
}
