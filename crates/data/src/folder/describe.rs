//! Says in words how a folder was understood.

use std::collections::{BTreeMap, BTreeSet};

use super::naming::{Affix, Naming};
use super::one_folder::Told;
use super::places::{Entry, PART, Place};
use super::words::Part;

/// Number of folders that are named.
const MAX_FOLDERS: usize = 3;

/// Where images and masks are, and how masks are named.
pub(super) fn layout(places: &[Place], told: &Told) -> String {
    let (images, masks) = (folders(places, &told.images), folders(places, &told.masks));
    let mut text = vec![if images == masks {
        format!("images and masks in {images}")
    } else {
        format!("images in {images}, masks in {masks}")
    }];
    let namings: Vec<String> = told.matches.namings.iter().map(naming).collect();
    if !namings.is_empty() {
        text.push(namings.join(" or "));
    }
    if told.matches.masks.iter().any(|masks| masks.len() > 1) {
        text.push("the masks of an image are united".to_owned());
    }
    text.join(", ")
}

fn folders(places: &[Place], entries: &[Entry]) -> String {
    let used: BTreeSet<usize> = entries.iter().map(|entry| entry.place).collect();
    let mut parts_of: BTreeMap<&str, BTreeSet<(Option<Part>, &str)>> = BTreeMap::new();
    for place in used.into_iter().map(|place| &places[place]) {
        let parts = parts_of.entry(&place.shown).or_default();
        parts.extend(
            place
                .part_name
                .iter()
                .map(|name| (place.part, name.as_str())),
        );
    }
    let more = if parts_of.len() > MAX_FOLDERS {
        ", ..."
    } else {
        ""
    };
    let shown = parts_of.into_iter().take(MAX_FOLDERS).map(|(path, parts)| {
        let parts: Vec<&str> = parts.into_iter().map(|(_, name)| name).collect();
        match (path, &parts[..]) {
            ("", _) => "the folder itself".to_owned(),
            (_, [name]) => format!("`{}`", path.replace(PART, name)),
            _ => format!(
                "`{}`",
                path.replace(PART, &format!("{{{}}}", parts.join(",")))
            ),
        }
    });
    shown.collect::<Vec<_>>().join(" and ") + more
}

fn naming(naming: &Naming) -> String {
    let name = |affix: &Affix| {
        let [prefix, suffix] = [&affix.prefix, &affix.suffix].map(|it| String::from_utf8_lossy(it));
        format!("`{prefix}STEM{suffix}`")
    };
    if naming.image.len() > 0 {
        format!(
            "the mask of {} is {}",
            name(&naming.image),
            name(&naming.mask)
        )
    } else if naming.mask.len() > 0 {
        format!("masks named {}", name(&naming.mask))
    } else {
        "masks named as their images".to_owned()
    }
}
