//! The files of a folder, and the search for the ones that annotations name.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::{AnnotationError, AnnotationErrorKind, Part};
use crate::DataError;
use crate::decode::{ENDINGS, MAX_DECODED_BYTES};
use crate::folder::listing::{self, has_ending};

/// Names of folders that hold images, in any case.
const IMAGE_FOLDERS: [&str; 5] = ["images", "imgs", "image", "img", "JPEGImages"];

/// The visible files of a folder and of the folders in it. All paths are relative to it.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// Sorted.
    files: Vec<PathBuf>,
    /// Positions in `files`.
    by_name: HashMap<OsString, Vec<usize>>,
}

impl Tree {
    pub(super) fn list(root: &Path) -> Result<Self, AnnotationError> {
        let listing = listing::list(root).map_err(|failure| match failure {
            DataError::Read { path, source } => error(&path, AnnotationErrorKind::Read(source)),
            other => error(root, AnnotationErrorKind::Read(io::Error::other(other))),
        })?;
        Ok(Self::of(root, [listing.images, listing.others].concat()))
    }

    /// Some of the files in `root`.
    pub(super) fn of(root: &Path, mut files: Vec<PathBuf>) -> Self {
        files.sort();
        let mut by_name: HashMap<OsString, Vec<usize>> = HashMap::new();
        for (i, file) in files.iter().enumerate() {
            by_name
                .entry(file.file_name().unwrap_or_default().to_owned())
                .or_default()
                .push(i);
        }
        Self {
            root: root.to_owned(),
            files,
            by_name,
        }
    }

    /// Files whose extension is one of `extensions` in any case, sorted.
    pub(super) fn with_extension(&self, extensions: &[&str]) -> impl Iterator<Item = &Path> {
        self.files
            .iter()
            .map(PathBuf::as_path)
            .filter(move |file| has_ending(file, extensions))
    }

    /// Files in `dir` and in the folders in it, sorted.
    pub(super) fn under<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = &'a Path> {
        let start = self.files.partition_point(|file| file.as_path() < dir);
        self.files[start..]
            .iter()
            .map(PathBuf::as_path)
            .take_while(move |file| file.starts_with(dir))
    }

    pub(super) fn has(&self, file: &Path) -> bool {
        self.files
            .binary_search_by(|other| other.as_path().cmp(file))
            .is_ok()
    }

    /// The image with the name of `file`, in the same folder.
    pub(super) fn image_beside(&self, file: &Path) -> Option<PathBuf> {
        let names = ENDINGS.iter().flat_map(|extension| {
            [
                file.with_extension(extension),
                file.with_extension(extension.to_uppercase()),
            ]
        });
        names.into_iter().find(|name| self.has(name))
    }

    /// The path of a file outside of this module.
    pub(super) fn path(&self, file: &Path) -> PathBuf {
        self.root.join(file)
    }

    /// An error about a file.
    pub(super) fn error(&self, file: &Path, kind: AnnotationErrorKind) -> AnnotationError {
        error(&self.path(file), kind)
    }

    /// The bytes of a file.
    pub(super) fn read(&self, file: &Path) -> Result<Vec<u8>, AnnotationError> {
        let bytes = self.read_up_to(file, MAX_DECODED_BYTES + 1)?;
        if bytes.len() as u64 > MAX_DECODED_BYTES {
            let bytes = fs::metadata(self.path(file)).map_or(0, |metadata| metadata.len());
            return Err(self.error(file, AnnotationErrorKind::TooLarge { bytes }));
        }
        Ok(bytes)
    }

    /// The bytes of a file, at most `limit` of them.
    pub(super) fn read_up_to(&self, file: &Path, limit: u64) -> Result<Vec<u8>, AnnotationError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(self.path(file))?
                .take(limit)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source| self.error(file, AnnotationErrorKind::Read(source)))
    }
}

fn error(path: &Path, kind: AnnotationErrorKind) -> AnnotationError {
    AnnotationError {
        path: path.to_owned(),
        kind,
    }
}

/// Finds the images that one annotation file names.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    tree: &'a Tree,
    annotation: &'a Path,
    part: Option<Part>,
    /// The folder in which the last image was found by search.
    base: Option<PathBuf>,
}

impl<'a> Finder<'a> {
    /// Of images with one name, those of `part` are meant.
    pub(super) fn new(tree: &'a Tree, annotation: &'a Path, part: Option<Part>) -> Self {
        Self {
            tree,
            annotation,
            part,
            base: None,
        }
    }

    /// The image that is called `name`: relative to the annotation file, or the only file whose
    /// path ends with the name.
    ///
    /// # Errors
    /// [`AnnotationErrorKind::OutsideFolder`] or [`AnnotationErrorKind::AmbiguousImage`].
    pub(super) fn find(&mut self, name: &str) -> Result<Option<PathBuf>, AnnotationErrorKind> {
        let beside = self.annotation.parent().unwrap_or(Path::new(""));
        let here = resolve(beside, name)?;
        if self.tree.has(&here) {
            return Ok(Some(here));
        }
        // Tools on Windows separate folders by `\`, which is a letter elsewhere.
        if name.contains('\\') {
            return self.find(&name.replace('\\', "/"));
        }
        if name.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let name_only = resolve(Path::new(""), name)?;
        if let Some(base) = &self.base
            && self.tree.has(&base.join(&name_only))
        {
            return Ok(Some(base.join(&name_only)));
        }
        let found = self.search(name, &name_only)?;
        self.base = found.as_ref().map(|file| {
            file.ancestors()
                .nth(name_only.iter().count())
                .unwrap_or(Path::new(""))
                .to_owned()
        });
        Ok(found)
    }

    fn search(&self, name: &str, end: &Path) -> Result<Option<PathBuf>, AnnotationErrorKind> {
        let same_name = end.file_name().and_then(|name| self.tree.by_name.get(name));
        let mut found: Vec<&PathBuf> = same_name
            .into_iter()
            .flatten()
            .map(|&i| &self.tree.files[i])
            .filter(|file| file.ends_with(end))
            .collect();
        let part = self.part;
        narrow(&mut found, |file| {
            part.is_some() && Part::of_folder(file) == part
        });
        // Masks and previews often have the names of their images.
        narrow(&mut found, |file| {
            file.iter().any(|part| {
                IMAGE_FOLDERS
                    .iter()
                    .any(|name| part.eq_ignore_ascii_case(name))
            })
        });
        match found[..] {
            [] => Ok(None),
            [file] => Ok(Some(file.clone())),
            [first, second, ..] => Err(AnnotationErrorKind::AmbiguousImage {
                name: name.to_owned(),
                first: first.clone(),
                second: second.clone(),
            }),
        }
    }
}

/// Keeps the files that `is_better` accepts, if there are any.
fn narrow(files: &mut Vec<&PathBuf>, is_better: impl Fn(&Path) -> bool) {
    if files.iter().any(|file| is_better(file)) {
        files.retain(|file| is_better(file));
    }
}

/// `base/name` without `.` and `..`.
///
/// # Errors
/// [`AnnotationErrorKind::OutsideFolder`] if the name is absolute or leads out of the root.
pub(super) fn resolve(base: &Path, name: &str) -> Result<PathBuf, AnnotationErrorKind> {
    let outside = || AnnotationErrorKind::OutsideFolder {
        name: name.to_owned(),
    };
    let is_drive =
        matches!(name.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    if is_drive || name.starts_with(['/', '\\']) {
        return Err(outside());
    }
    let mut path = base.to_owned();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return Err(outside()),
        }
    }
    Ok(path)
}
