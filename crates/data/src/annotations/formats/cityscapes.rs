//! Cityscapes: a `*_polygons.json` per image.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::number::Number;
use super::{json, polygon};
use crate::annotations::draft::{Draft, check_coordinates};
use crate::annotations::{AnnotationError, IgnoredKind, Label, Rule, Shape};

/// Labels of the category `void`.
const VOID: [&str; 7] = [
    "unlabeled",
    "ego vehicle",
    "rectification border",
    "out of roi",
    "static",
    "dynamic",
    "ground",
];
/// Labels of single objects. Several in one outline have the label with `group` behind it.
const OBJECTS: [&str; 10] = [
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "caravan",
    "trailer",
    "train",
    "motorcycle",
    "bicycle",
];
/// A label whose id is negative, which `json2labelImg` does not draw.
const NOT_DRAWN: &str = "license plate";

/// A file. It does not name its image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    img_height: u64,
    img_width: u64,
    objects: Vec<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    label: String,
    polygon: Vec<[f64; 2]>,
    #[serde(default)]
    deleted: Option<Number>,
}

/// The polygons of the files. Later ones cover earlier ones, as in `json2labelImg`.
pub(super) fn read(files: &[PathBuf], draft: &mut Draft<'_>) -> Result<(), AnnotationError> {
    for file in files {
        let document: Document = json(draft, file)?;
        let Some(image) = find(file, draft)? else {
            draft.miss(file, &stem(file));
            continue;
        };
        let mut shapes = Vec::new();
        for (i, object) in document.objects.into_iter().enumerate() {
            check_coordinates(object.polygon.iter().flatten().copied())
                .map_err(|problem| draft.mistake(file, format!("object {}", i + 1), problem))?;
            match shape(object, draft) {
                Ok(shape) => shapes.push(shape),
                Err(kind) => draft.ignored.add(kind, file),
            }
        }
        let size = (document.img_height, document.img_width);
        draft.add(file, image, size, shapes, None)?;
    }
    Ok(())
}

fn shape(object: Object, draft: &mut Draft<'_>) -> Result<Shape, IgnoredKind> {
    let name = object.label.as_str();
    if object.deleted.is_some_and(Number::is_set)
        || name.strip_suffix("group").unwrap_or(name) == NOT_DRAWN
    {
        return Err(IgnoredKind::NotDrawn);
    }
    let outline = polygon(object.polygon, Rule::Pillow)?;
    let single = name
        .strip_suffix("group")
        .filter(|name| OBJECTS.contains(name));
    let label = if VOID.contains(&name) {
        Label::Void
    } else {
        draft.label(single.unwrap_or(name))
    };
    let is_crowd = single.is_some();
    Ok(Shape {
        label,
        outline,
        is_crowd,
    })
}

/// The image: `gtFine/.../NAME_gtFine_polygons.json` belongs to
/// `leftImg8bit/.../NAME_leftImg8bit.png`.
fn find(file: &Path, draft: &Draft<'_>) -> Result<Option<PathBuf>, AnnotationError> {
    let stem = stem(file);
    let mut finder = draft.finder(file);
    for end in [
        "_leftImg8bit.png",
        "_leftImg8bit.jpg",
        ".png",
        ".jpg",
        ".jpeg",
    ] {
        let found = finder.find(&format!("{stem}{end}"));
        if let Some(image) = found.map_err(|kind| draft.tree.error(file, kind))? {
            return Ok(Some(image));
        }
    }
    Ok(None)
}

/// The name that a file shares with its image.
fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_suffix("_polygons").unwrap_or(&stem);
    let ends = ["_gtFine", "_gtCoarse"];
    ends.iter()
        .find_map(|end| stem.strip_suffix(end))
        .unwrap_or(stem)
        .to_owned()
}
