//! The YAML file of a YOLO data set: the names of its classes and the places of its images.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::annotations::detect::without_mark;
use crate::annotations::tree::{Tree, resolve};
use crate::annotations::{AnnotationError, Part};

/// A larger YAML file is not read: a list of names is much shorter.
const MAX_BYTES: u64 = 1 << 20;

/// The file.
#[derive(Debug, Deserialize)]
pub(super) struct Classes {
    pub(super) names: Names,
    /// The folder of the others.
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    train: Option<Places>,
    #[serde(default, alias = "validation")]
    val: Option<Places>,
    #[serde(default)]
    test: Option<Places>,
    /// Present in a set of keypoints.
    #[serde(default)]
    pub(super) kpt_shape: Option<IgnoredAny>,
}

impl Classes {
    /// The folders of images, or the text files that list them.
    pub(super) fn places(&self) -> impl Iterator<Item = (Part, &str)> {
        let parts = [
            (Part::Train, &self.train),
            (Part::Val, &self.val),
            (Part::Test, &self.test),
        ];
        parts.into_iter().flat_map(|(part, places)| {
            let places = places.as_ref().map_or(&[][..], |places| &places.0);
            places.iter().map(move |place| (part, place.as_str()))
        })
    }
}

/// YAML files that name classes and images.
pub(in crate::annotations) fn class_files(tree: &Tree) -> Result<Vec<PathBuf>, AnnotationError> {
    let mut found = Vec::new();
    for file in tree.with_extension(&["yaml", "yml"]) {
        let bytes = tree.read_up_to(file, MAX_BYTES + 1)?;
        let is_one = match parse(&bytes) {
            Ok(classes) => classes.places().next().is_some(),
            // A damaged file; its reader will say so.
            Err(_) => has_key(&bytes, "names") && has_key(&bytes, "train"),
        };
        if is_one {
            found.push(file.to_owned());
        }
    }
    Ok(found)
}

fn has_key(bytes: &[u8], key: &str) -> bool {
    let start = format!("{key}:");
    bytes
        .split(|&byte| byte == b'\n')
        .any(|line| line.starts_with(start.as_bytes()))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Classes, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err("it is too long for a list of classes".to_owned());
    }
    serde_saphyr::from_slice(without_mark(bytes)).map_err(|error| error.to_string())
}

/// Names by index.
#[derive(Debug)]
pub(super) struct Names(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names, or names by index from 0 on")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Names, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Names)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Names, A::Error> {
                let names =
                    BTreeMap::<usize, String>::deserialize(MapAccessDeserializer::new(map))?;
                if let Some((index, _)) = names.keys().enumerate().find(|(i, key)| i != *key) {
                    return Err(A::Error::custom(format!("`names` has no index {index}")));
                }
                Ok(Names(names.into_values().collect()))
            }
        }
        deserializer.deserialize_any(NamesVisitor)
    }
}

/// One place or several.
#[derive(Debug)]
struct Places(Vec<String>);

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlacesVisitor;
        impl<'de> Visitor<'de> for PlacesVisitor {
            type Value = Places;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder or a list of folders")
            }

            fn visit_str<E: Error>(self, place: &str) -> Result<Places, E> {
                Ok(Places(vec![place.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Places, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Places)
            }
        }
        deserializer.deserialize_any(PlacesVisitor)
    }
}

/// A folder that a YAML file names, if it is in `tree`. The file may name it from its own folder or
/// from its `path`, which is often that of another machine, and Roboflow puts `../` in front.
pub(super) fn place(tree: &Tree, file: &Path, classes: &Classes, name: &str) -> Option<PathBuf> {
    let here = file.parent().unwrap_or(Path::new(""));
    let base = classes
        .path
        .as_deref()
        .and_then(|path| resolve(here, path).ok());
    let candidates = [
        base.and_then(|base| resolve(&base, name).ok()),
        resolve(here, name).ok(),
        name.strip_prefix("../")
            .and_then(|name| resolve(here, name).ok()),
    ];
    candidates
        .into_iter()
        .flatten()
        .find(|place| tree.under(place).next().is_some())
}
