//! Recognises annotations that are no masks, so that a refusal can name them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::listing::has_ending;

/// Bytes of a file that are looked at.
const HEAD_BYTES: u64 = 64 << 10;
/// Files of each ending that are looked at.
const MAX_FILES: usize = 64;

/// A format of annotations that `train import` turns into masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnnotationFormat {
    /// One JSON file with `images` and `annotations`.
    Coco,
    /// A JSON file with `shapes` for each image.
    LabelMe,
    /// An XML file with `annotation` for each image.
    VocXml,
    /// One XML file with `annotations`.
    Cvat,
    /// A text file for each image, with a class and coordinates in each line.
    Yolo,
}

impl fmt::Display for AnnotationFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coco => "COCO (JSON)",
            Self::LabelMe => "LabelMe (JSON)",
            Self::VocXml => "Pascal VOC (XML)",
            Self::Cvat => "CVAT (XML)",
            Self::Yolo => "YOLO (text)",
        })
    }
}

/// The first format that one of the files `paths` below `root` has.
pub(super) fn find(root: &Path, paths: &[PathBuf]) -> Option<AnnotationFormat> {
    type Judge = fn(&[u8]) -> Option<AnnotationFormat>;
    let judges: [(&str, Judge); 3] = [("json", json), ("xml", xml), ("txt", text)];
    judges.into_iter().find_map(|(ending, judge)| {
        let files: Vec<_> = paths
            .iter()
            .filter(|path| has_ending(path, &[ending]))
            .collect();
        let step = files.len().div_ceil(MAX_FILES).max(1);
        let mut heads = files
            .into_iter()
            .step_by(step)
            .filter_map(|path| head(&root.join(path)).ok());
        heads.find_map(|head| judge(&head))
    })
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len())
        .any(|window| window == part.as_bytes())
}

fn json(head: &[u8]) -> Option<AnnotationFormat> {
    if contains(head, "\"shapes\"") {
        Some(AnnotationFormat::LabelMe)
    } else if contains(head, "\"images\"") || contains(head, "\"annotations\"") {
        Some(AnnotationFormat::Coco)
    } else {
        None
    }
}

fn xml(head: &[u8]) -> Option<AnnotationFormat> {
    if contains(head, "<annotations>") {
        Some(AnnotationFormat::Cvat)
    } else if contains(head, "<annotation>") || contains(head, "<annotation ") {
        Some(AnnotationFormat::VocXml)
    } else {
        None
    }
}

/// A line of YOLO is the number of a class and at least four numbers from 0 to 1.
fn text(head: &[u8]) -> Option<AnnotationFormat> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let mut fields = str::from_utf8(line).ok()?.split_ascii_whitespace();
    fields.next()?.parse::<u16>().ok()?;
    let numbers: Vec<f32> = fields
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let is_yolo = numbers.len() >= 4 && numbers.iter().all(|value| (0.0..=1.0).contains(value));
    is_yolo.then_some(AnnotationFormat::Yolo)
}
