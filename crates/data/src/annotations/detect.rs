//! Finds annotation files and their format by looking into files.

use std::fmt;
use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::formats::yolo;
use super::tree::Tree;
use super::{AnnotationError, AnnotationErrorKind, Format};

/// How much of a file is read to find its outermost element, or some of its keys.
const MAX_HEAD: u64 = 1 << 16;
/// How many files of each ending [`find`] looks into.
const MAX_FILES: usize = 64;

/// The annotation files of a folder, all of one format.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) format: Format,
    /// Relative to the folder, sorted. For YOLO these are the YAML files.
    pub(super) files: Vec<PathBuf>,
}

/// The annotation files of `tree`; `None` if it has none.
///
/// # Errors
/// If there are two formats, or a damaged file beside good ones.
pub(super) fn detect(tree: &Tree) -> Result<Option<Found>, AnnotationError> {
    let mut found: Option<Found> = None;
    let mut add = |format: Format, file: &Path| -> Result<(), AnnotationError> {
        let found = found.get_or_insert_with(|| Found {
            format,
            files: Vec::new(),
        });
        if found.format != format {
            let kind = AnnotationErrorKind::SeveralFormats {
                format,
                other: found.format,
                other_path: tree.path(&found.files[0]),
            };
            return Err(tree.error(file, kind));
        }
        found.files.push(file.to_owned());
        Ok(())
    };
    let mut damaged: Option<(&Path, String)> = None;
    for file in tree.with_extension(&["json"]) {
        match json_format(&tree.read(file)?) {
            Ok(Some(format)) => add(format, file)?,
            Ok(None) => {}
            Err(reason) => _ = damaged.get_or_insert((file, reason)),
        }
    }
    for file in tree.with_extension(&["xml"]) {
        if let Some(format) = xml_format(&tree.read_up_to(file, MAX_HEAD)?) {
            add(format, file)?;
        }
    }
    if let Some(label) = yolo::first_label(tree)? {
        let files = yolo::class_files(tree)?;
        files.iter().try_for_each(|file| add(Format::Yolo, file))?;
        if found.is_none() {
            return Err(tree.error(&label, AnnotationErrorKind::NoClassNames));
        }
    }
    // Beside good ones, a file that is damaged from its start on is most likely another one.
    match (&found, damaged) {
        (Some(found), Some((file, reason))) if is_json(found.format) => {
            let kind = AnnotationErrorKind::Syntax {
                format: found.format,
                reason,
            };
            Err(tree.error(file, kind))
        }
        _ => Ok(found),
    }
}

/// The format of the first annotations among `files` in `root`, judged by the starts of a few.
pub(crate) fn find(root: &Path, files: Vec<PathBuf>) -> Option<Format> {
    let tree = &Tree::of(root, files);
    let find = |ending, judge: fn(&[u8]) -> Option<Format>| {
        let mut files = tree.with_extension(ending).take(MAX_FILES);
        files.find_map(|file| judge(&tree.read_up_to(file, MAX_HEAD).ok()?))
    };
    find(&["json"], |head| json_format(head).ok()?)
        .or_else(|| find(&["xml"], xml_format))
        .or_else(|| yolo::first_label(tree).ok()?.map(|_label| Format::Yolo))
}

fn is_json(format: Format) -> bool {
    matches!(format, Format::Coco | Format::LabelMe | Format::Cityscapes)
}

/// The format of a JSON file, judged by the keys of its outermost object. If the file is damaged,
/// the keys before the damage decide.
fn json_format(bytes: &[u8]) -> Result<Option<Format>, String> {
    let mut keys = Keys::default();
    let mut parser = serde_json::Deserializer::from_slice(without_mark(bytes));
    let result = parser.deserialize_any(&mut keys);
    let damage = result.err().filter(|error| !error.is_data());
    // All of the keys in a good file, any of them in a damaged one.
    let has = |wanted: &[&str]| {
        let is_found = |key: &&str| keys.0.iter().any(|found| found == key);
        if damage.is_none() {
            wanted.iter().all(is_found)
        } else {
            wanted.iter().any(is_found)
        }
    };
    let format = if has(&["shapes", "imagePath"]) {
        Format::LabelMe
    } else if has(&["objects", "imgHeight"]) {
        Format::Cityscapes
    } else if has(&["images", "annotations"]) {
        Format::Coco
    } else {
        return damage.map_or(Ok(None), |error| Err(error.to_string()));
    };
    Ok(Some(format))
}

/// The keys of an object that tell formats apart.
#[derive(Debug, Default)]
struct Keys(Vec<&'static str>);

impl<'de> Visitor<'de> for &mut Keys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        const KNOWN: [&str; 6] = [
            "shapes",
            "imagePath",
            "objects",
            "imgHeight",
            "images",
            "annotations",
        ];
        while let Some(key) = map.next_key::<String>()? {
            let known = KNOWN.into_iter().find(|known| *known == key);
            self.0.extend(known.filter(|known| !self.0.contains(known)));
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// The format of an XML file, judged by its outermost element.
fn xml_format(bytes: &[u8]) -> Option<Format> {
    let text = String::from_utf8_lossy(without_mark(bytes));
    let mut reader = Reader::from_str(&text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                return match element.local_name().into_inner() {
                    "annotation" => Some(Format::Voc),
                    "annotations" => Some(Format::Cvat),
                    _ => None,
                };
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// `bytes` without the mark that some editors put before UTF-8.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}
