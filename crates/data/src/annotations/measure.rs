//! Sizes of images, for formats that do not record them.

use std::path::{Path, PathBuf};
use std::thread;

use super::tree::Tree;
use super::{AnnotationError, AnnotationErrorKind};
use crate::{decode, default_workers};

/// Height and width of an image. Errors name the annotation file.
pub(super) fn size(
    tree: &Tree,
    annotation: &Path,
    image: &Path,
) -> Result<(u64, u64), AnnotationError> {
    match decode::size(&tree.path(image)) {
        Ok((height, width)) => Ok((height as u64, width as u64)),
        Err(source) => Err(tree.error(annotation, AnnotationErrorKind::Image(Box::new(source)))),
    }
}

/// Height and width of many images, on all cores.
pub(super) fn sizes(
    tree: &Tree,
    annotation: &Path,
    images: &[PathBuf],
) -> Result<Vec<(u64, u64)>, AnnotationError> {
    let part = images.len().div_ceil(default_workers()).max(1);
    let parts: Result<Vec<Vec<_>>, _> = thread::scope(|scope| {
        let measure = |part: &[PathBuf]| part.iter().map(|it| size(tree, annotation, it)).collect();
        let threads: Vec<_> = images
            .chunks(part)
            .map(|part| scope.spawn(move || measure(part)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    parts.map(|parts| parts.concat())
}
