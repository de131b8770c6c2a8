//! The formats, one module each.

mod cityscapes;
mod coco;
mod cvat;
mod labelme;
mod number;
pub(super) mod rle;
mod voc;
mod xml;
pub(super) mod yolo;

use std::path::Path;

use serde::de::DeserializeOwned;

use super::detect::{Found, without_mark};
use super::draft::Draft;
use super::tree::Tree;
use super::{AnnotationError, Annotations, EntryProblem, Format, IgnoredKind, Outline, Rule};

/// Reads the files of one format.
pub(super) fn read(found: &Found, tree: &Tree) -> Result<Annotations, AnnotationError> {
    let mut draft = Draft::new(found.format, tree);
    let files = &found.files[..];
    match found.format {
        Format::Coco => coco::read(files, &mut draft),
        Format::LabelMe => labelme::read(files, &mut draft),
        Format::Yolo => yolo::read(files, &mut draft),
        Format::Voc => voc::read(files, &mut draft),
        Format::Cvat => cvat::read(files, &mut draft),
        Format::Cityscapes => cityscapes::read(files, &mut draft),
    }?;
    draft.finish(&files[0])
}

/// What was made of a shape, or why nothing is painted, or what is wrong with it.
type Drawn<T> = Result<Result<T, IgnoredKind>, EntryProblem>;

/// A polygon, which needs three points.
fn polygon(ring: Vec<[f64; 2]>, rule: Rule) -> Result<Outline, IgnoredKind> {
    if ring.len() < 3 {
        return Err(IgnoredKind::Degenerate);
    }
    let rings = vec![ring];
    Ok(Outline::Polygons { rings, rule })
}

/// A JSON file.
fn json<T: DeserializeOwned>(draft: &Draft<'_>, file: &Path) -> Result<T, AnnotationError> {
    let bytes = draft.tree.read(file)?;
    serde_json::from_slice(without_mark(&bytes)).map_err(|error| draft.damaged(file, &error))
}
