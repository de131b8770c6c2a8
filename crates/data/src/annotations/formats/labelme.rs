//! `LabelMe`: a JSON file per image with polygons, boxes, circles and masks.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder as _, Limits};
use serde::Deserialize;

use super::{Drawn, json, polygon, rle};
use crate::annotations::draft::{Draft, check_coordinates};
use crate::annotations::measure;
use crate::annotations::{
    AnnotationError, EntryProblem, IgnoredKind, Order, Outline, Rule, Runs, Shape,
};
use crate::decode::{MAX_DECODED_BYTES, MAX_SIDE};

/// A file. The image in `imageData` is not needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    image_path: String,
    #[serde(default)]
    image_height: Option<u64>,
    #[serde(default)]
    image_width: Option<u64>,
    shapes: Vec<WireShape>,
}

#[derive(Debug, Deserialize)]
struct WireShape {
    label: String,
    #[serde(default)]
    shape_type: Option<String>,
    points: Vec<[f64; 2]>,
    /// A PNG in base64.
    #[serde(default)]
    mask: Option<String>,
}

/// The shapes of the files. Later ones cover earlier ones, as in `shapes_to_label`.
pub(super) fn read(files: &[PathBuf], draft: &mut Draft<'_>) -> Result<(), AnnotationError> {
    for file in files {
        let document: Document = json(draft, file)?;
        let Some(image) = find(file, &document.image_path, draft)? else {
            draft.miss(file, &document.image_path);
            continue;
        };
        let size = match (document.image_height, document.image_width) {
            (Some(height), Some(width)) => (height, width),
            _ => measure::size(draft.tree, file, &image)?,
        };
        let mut shapes = Vec::new();
        for (i, wire) in document.shapes.into_iter().enumerate() {
            let found = outline(&wire)
                .map_err(|problem| draft.mistake(file, format!("shape {}", i + 1), problem))?;
            match found {
                Ok(outline) => {
                    let label = draft.label(&wire.label);
                    let is_crowd = false;
                    shapes.push(Shape {
                        label,
                        outline,
                        is_crowd,
                    });
                }
                Err(kind) => draft.ignored.add(kind, file),
            }
        }
        draft.add(file, image, size, shapes, None)?;
    }
    Ok(())
}

/// The image that a file names, or else the one beside it that has its name: people rename both.
fn find(file: &Path, name: &str, draft: &Draft<'_>) -> Result<Option<PathBuf>, AnnotationError> {
    let found = draft.finder(file).find(name);
    match found.map_err(|kind| draft.tree.error(file, kind))? {
        Some(found) if found != file => Ok(Some(found)),
        _ => Ok(draft.tree.image_beside(file)),
    }
}

/// What labelme's `shape_to_mask` paints.
fn outline(shape: &WireShape) -> Drawn<Outline> {
    let points = &shape.points;
    check_coordinates(points.iter().flatten().copied())?;
    let kind = shape.shape_type.as_deref().unwrap_or("polygon");
    Ok(match (kind, &points[..]) {
        ("rectangle", &[[x0, y0], [x1, y1]]) => {
            polygon(vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]], Rule::Pillow)
        }
        // Other tools write all corners of a rectangle.
        ("polygon" | "oriented_rectangle" | "rotation" | "rectangle", _) => {
            polygon(points.clone(), Rule::Pillow)
        }
        ("circle", &[[x, y], [px, py]]) => {
            let radius = (x - px).hypot(y - py);
            let bounds = [x - radius, y - radius, x + radius, y + radius];
            Ok(Outline::Circle { bounds })
        }
        ("mask", &[from, to]) => Ok(Outline::Runs(mask(shape, from, to)?)),
        ("circle" | "mask", _) => Err(IgnoredKind::Degenerate),
        ("point" | "points", _) => Err(IgnoredKind::Point),
        ("line" | "linestrip", _) => Err(IgnoredKind::Line),
        _ => Err(IgnoredKind::OtherShape),
    })
}

/// The mask of a shape over the box between two pixels, both included.
#[expect(clippy::cast_possible_truncation, reason = "coordinates are checked")]
fn mask(shape: &WireShape, from: [f64; 2], to: [f64; 2]) -> Result<Runs, EntryProblem> {
    let damaged = |reason: &dyn ToString| EntryProblem::Mask {
        reason: reason.to_string(),
    };
    let text = shape
        .mask
        .as_deref()
        .ok_or(EntryProblem::Missing { name: "mask" })?;
    let bytes = STANDARD.decode(text).map_err(|error| damaged(&error))?;
    let ([left, top], [right, bottom]) = (from.map(|it| it as i64), to.map(|it| it as i64));
    let side = |from: i64, to: i64| u64::try_from(to - from + 1).unwrap_or(0);
    let expected = (side(top, bottom), side(left, right));
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let decoder =
        PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(|error| damaged(&error))?;
    let found = (
        u64::from(decoder.dimensions().1),
        u64::from(decoder.dimensions().0),
    );
    if found != expected {
        return Err(EntryProblem::MaskSize { found, expected });
    }
    let mask = DynamicImage::from_decoder(decoder)
        .map_err(|error| damaged(&error))?
        .into_luma16();
    // In turn outside and inside, beginning outside.
    let mut counts = vec![0];
    for pixel in mask.pixels() {
        if (pixel.0[0] > 0) == (counts.len() % 2 == 1) {
            counts.push(0);
        }
        if let Some(count) = counts.last_mut() {
            *count += 1;
        }
    }
    rle::runs((left, top), expected, Order::Rows, counts)
}
