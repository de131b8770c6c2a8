//! What was found and is not used, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Number of names in a note or an error.
pub(crate) const MAX_NAMED: usize = 5;

/// A file or folder that was found and is not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The file or folder.
    pub path: PathBuf,
    /// Why it is not used.
    pub reason: Reason,
}

/// Why a file or folder is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// An image for training or validation has no mask.
    NoMask,
    /// An image in the `test` folder has no mask.
    NoMaskInTest,
    /// A mask belongs to no image, or its image has another mask.
    NoImage,
    /// An image is in none of the folders that are read.
    OtherFolder,
    /// An image is in no list of the split.
    NotListed,
    /// A file is neither an image in a known format nor text.
    UnknownFormat,
    /// A link leads nowhere.
    BrokenLink,
    /// A link leads to a folder that contains it.
    LinkLoop,
    /// A folder is too deep to be searched.
    TooDeep,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMask => "images without a mask",
            Self::NoMaskInTest => "test images without a mask",
            Self::NoImage => "masks that no image needs",
            Self::OtherFolder => "images outside the folders that are read",
            Self::NotListed => "images in no list of the split",
            Self::UnknownFormat => "files of an unknown format",
            Self::BrokenLink => "broken links",
            Self::LinkLoop => "links to a folder that contains them",
            Self::TooDeep => "folders too deep to be searched",
        })
    }
}

/// One line for each reason: how many files, and the first names.
pub(super) fn notes(left_out: &[LeftOut]) -> Vec<String> {
    let mut by_reason: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
    // `parts.rs` has a louder note about images without a mask.
    for LeftOut { path, reason } in left_out.iter().filter(|it| it.reason != Reason::NoMask) {
        by_reason
            .entry(*reason)
            .or_default()
            .push(format!("`{}`", path.display()));
    }
    let note = |(reason, names): (Reason, Vec<String>)| {
        format!("{reason}: {} left out ({})", names.len(), listed(&names))
    };
    by_reason.into_iter().map(note).collect()
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(MAX_NAMED)].join(", ");
    let more = if names.len() > MAX_NAMED { ", ..." } else { "" };
    shown + more
}
