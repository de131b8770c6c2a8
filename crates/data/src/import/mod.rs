//! Turns annotations into the plain layout of images and masks that [`folder`] reads.
//!
//! [`import`](fn@import) reads what [`annotations`] understands and writes a
//! new folder, whole or not at all. The source is not altered.

mod classes;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use report::{ClassCount, Imported, PartCount};

use crate::annotations::{self, AnnotationErrorKind, Annotations, Format};
use crate::folder::{self, LayoutProblem, SplitOptions};
use crate::{DataError, parallel};

/// What to import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The classes of the masks.
    pub classes: KeptClasses,
}

/// Which classes the masks have. Outlines of all classes are painted in their order, so that a
/// later object hides an earlier one even if it becomes background itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeptClasses {
    /// Those of the annotations, in their order.
    #[default]
    All,
    /// One, `foreground`: every object.
    One,
    /// These, in this order. Objects of other classes become background.
    These(Vec<ClassGroup>),
}

/// A class of the masks and the classes of the annotations that it unites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassGroup {
    /// Its name.
    pub name: String,
    /// Names in the annotations.
    pub of: Vec<String>,
}

/// Writes the annotated images in `source` with masks to the new folder `out`, as
/// `images/NAME` and `masks/STEM_mask.png`, in `train`, `val` and `test` if the annotations have
/// more than one of these parts; and `classes.toml`, a table `[classes]` with `names`, `values` and,
/// if masks have ignored pixels, `ignore`.
///
/// Images keep their bytes. They are hard links where the file system allows it, and else copies.
/// Masks are palette PNGs `[H, W]` of 8 bits: 0 is background, `n` the n-th class, and
/// [`IGNORE`](annotations::IGNORE) crowds and void. An image that the annotations list without
/// outlines has an empty mask; one that they do not list is left out.
///
/// `progress` is called with (done, all) images, from any thread.
///
/// # Errors
/// [`DataError::OutputNotEmpty`] or [`DataError::OutputInside`] before anything is read,
/// [`DataError::HasMasks`] if `source` needs no import, [`DataError::NothingToImport`],
/// [`DataError::NoObjects`], [`DataError::Annotations`], [`DataError::ClassChoice`],
/// [`DataError::DuplicateStem`], [`DataError::Write`]. Nothing is left in `out` then; a killed process leaves a hidden folder
/// `.importing-*` beside it.
pub fn import(
    source: &Path,
    out: &Path,
    options: &ImportOptions,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Imported, DataError> {
    write::refuse(source, out)?;
    let mut found = read(source)?;
    let dropped_objects = classes::keep(&mut found, &options.classes)?;
    let items = plan::items(&found.images, source)?;
    let folder = write::temporary(out)?;
    write::folders(folder.path(), &items)?;
    let done = AtomicUsize::new(0);
    let results = parallel::map(&items, |item| {
        let result = write::image(folder.path(), item)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, items.len());
        Ok::<_, DataError>(result)
    })?;
    let report = Imported {
        dropped_objects,
        ..Imported::of(&found, &items, &results)
    };
    if report.images() == 0 {
        return Err(DataError::NothingToImport {
            path: source.to_owned(),
            left_out: report.left_out().collect(),
        });
    }
    if report.classes.iter().all(|class| class.objects == 0) {
        return Err(DataError::NoObjects {
            path: source.to_owned(),
        });
    }
    write::classes(folder.path(), &report)?;
    write::finish(&folder, out)?;
    Ok(report)
}

/// The annotations in `source`. Masks come first where there are no outlines, and for VOC, which has
/// the same objects as boxes and in masks.
fn read(source: &Path) -> Result<Annotations, DataError> {
    use AnnotationErrorKind::{BoxesOnly, NoOutlines};
    let annotations = match annotations::read(source) {
        Ok(Some(found)) if found.format != Format::Voc => return Ok(found),
        Err(error) if !matches!(error.kind, BoxesOnly { .. } | NoOutlines { .. }) => {
            return Err(error.into());
        }
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(DataError::NothingToImport {
            path: source.to_owned(),
            left_out: Vec::new(),
        }),
        Err(error) => Err(error.into()),
    };
    match (folder::scan(source, &SplitOptions::default()), annotations) {
        (Ok(masks), _) => Err(DataError::HasMasks {
            path: source.to_owned(),
            layout: masks.layout,
        }),
        // There are masks, but something is wrong with them.
        (Err(error), Err(_)) if !has_no_masks(&error) => Err(error),
        (Err(_), annotations) => annotations,
    }
}

fn has_no_masks(error: &DataError) -> bool {
    use LayoutProblem::{EmptyPart, NoTraining, TooManyFiles, Unknown};
    let DataError::Layout { problem, .. } = error else {
        return false;
    };
    matches!(
        problem,
        Unknown { .. } | EmptyPart { .. } | NoTraining | TooManyFiles { .. }
    )
}
