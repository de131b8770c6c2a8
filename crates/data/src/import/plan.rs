//! Where each image goes, and under which name.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::annotations::AnnotatedImage;
use crate::folder::Part;
use crate::folder::listing::stem;

/// An image and its place in the new folder.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) image: &'a AnnotatedImage,
    /// Its path in the source.
    pub(super) path: &'a Path,
    /// The part it goes to; `None` if there is only one.
    pub(super) part: Option<Part>,
    /// The name of the file.
    pub(super) name: OsString,
}

impl Item<'_> {
    /// The folder of its `images` and `masks`, relative to the new folder.
    pub(super) fn folder(&self) -> &'static Path {
        Path::new(self.part.map_or("", Part::name))
    }

    pub(super) fn is_renamed(&self) -> bool {
        self.path.file_name() != Some(&*self.name)
    }
}

/// The places of `images` in `source`. Images of one name in several folders get the names of their
/// folders in front of their own.
///
/// # Errors
/// [`DataError::DuplicateStem`].
pub(super) fn items<'a>(
    images: &'a [AnnotatedImage],
    source: &Path,
) -> Result<Vec<Item<'a>>, DataError> {
    let part_of = |image: &AnnotatedImage| image.part.unwrap_or(Part::Train);
    let parts: BTreeSet<Part> = images.iter().map(part_of).collect();
    let part_of = |image: &AnnotatedImage| (parts.len() > 1).then(|| part_of(image));
    let mut counts: HashMap<(Option<Part>, &OsStr), usize> = HashMap::new();
    for image in images {
        let key = (part_of(image), stem(&image.file));
        *counts.entry(key).or_default() += 1;
    }
    let item = |image: &'a AnnotatedImage| {
        let part = part_of(image);
        let path = image.file.strip_prefix(source).unwrap_or(&image.file);
        let name = if counts[&(part, stem(path))] > 1 {
            path.iter().collect::<Vec<_>>().join(OsStr::new("_"))
        } else {
            path.file_name().unwrap_or_default().to_owned()
        };
        Item {
            image,
            path,
            part,
            name,
        }
    };
    let items: Vec<Item<'_>> = images.iter().map(item).collect();
    refuse_equal_names(&items)?;
    Ok(items)
}

fn refuse_equal_names(items: &[Item<'_>]) -> Result<(), DataError> {
    let mut seen: HashMap<(Option<Part>, &OsStr), &PathBuf> = HashMap::new();
    for item in items {
        let stem = stem(Path::new(&item.name));
        if let Some(first) = seen.insert((item.part, stem), &item.image.file) {
            return Err(DataError::DuplicateStem {
                stem: stem.display().to_string(),
                first: first.clone(),
                second: item.image.file.clone(),
            });
        }
    }
    Ok(())
}
