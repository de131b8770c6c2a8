//! Sizes of images, for formats that do not record them.

use std::path::{Path, PathBuf};

use super::tree::Tree;
use super::{AnnotationError, AnnotationErrorKind};
use crate::{decode, parallel};

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

/// Height and width of many images, on several threads.
pub(super) fn sizes(
    tree: &Tree,
    annotation: &Path,
    images: &[PathBuf],
) -> Result<Vec<(u64, u64)>, AnnotationError> {
    parallel::map(images, |image| size(tree, annotation, image))
}
