//! COCO: instances and stuff, as polygons or masks.

mod wire;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use wire::{Annotation, Category, Counts, Document, Id, Segmentation};

use super::number::Number;
use super::{Drawn, json, rle};
use crate::annotations::draft::{Draft, check_coordinates};
use crate::annotations::measure;
use crate::annotations::tree::Finder;
use crate::annotations::{
    AnnotationError, AnnotationErrorKind, EntryProblem, IgnoredKind, Label, Order, Outline, Rule,
    Shape,
};

/// The polygons and masks of the files. Files of captions and keypoints, which COCO's own archives
/// contain as well, are left out if another file has outlines.
pub(super) fn read(files: &[PathBuf], draft: &mut Draft<'_>) -> Result<(), AnnotationError> {
    let mut others = Vec::new();
    for file in files {
        let document: Document = json(draft, file)?;
        match other_content(&document) {
            Some(what) => others.push((file, what)),
            None => add(file, document, draft)?,
        }
    }
    if let (true, Some(&(file, what))) = (others.len() == files.len(), others.first()) {
        return Err(draft
            .tree
            .error(file, AnnotationErrorKind::NoOutlines { what }));
    }
    for (file, _) in others {
        draft.ignored.add(IgnoredKind::OtherFile, file);
    }
    Ok(())
}

/// What a file contains instead of outlines of objects, if anything.
fn other_content(document: &Document) -> Option<&'static str> {
    let (annotations, categories) = (&document.annotations, &document.categories);
    if annotations.iter().any(|it| it.caption.is_some()) {
        Some("captions")
    } else if annotations.iter().any(|it| it.segments_info.is_some()) {
        Some("the classes of panoptic PNG files")
    } else if categories.iter().any(|it| !it.keypoints.is_empty()) {
        Some("keypoints")
    } else {
        None
    }
}

/// An image of a file; without a path it is not in the folder.
struct Image {
    path: Option<PathBuf>,
    size: (u64, u64),
    shapes: Vec<Shape>,
}

fn add(file: &Path, document: Document, draft: &mut Draft<'_>) -> Result<(), AnnotationError> {
    let labels = labels(file, document.categories, draft)?;
    let mut images = Vec::new();
    let mut positions = HashMap::new();
    let mut finder = draft.finder(file);
    for image in &document.images {
        if positions.insert(image.id.clone(), images.len()).is_some() {
            let entry = format!("image {}", image.id);
            return Err(draft.mistake(file, entry, EntryProblem::DuplicateId));
        }
        images.push(find(file, image, &mut finder, draft)?);
    }
    for (i, mut annotation) in document.annotations.into_iter().enumerate() {
        let Some(&position) = positions.get(&annotation.image_id) else {
            draft.ignored.add(IgnoredKind::UnlistedImage, file);
            continue;
        };
        let image: &mut Image = &mut images[position];
        if image.path.is_none() {
            continue;
        }
        let id = annotation.id.take();
        let found = shape(annotation, image.size, &labels).map_err(|problem| {
            let entry = match id {
                Some(id) => format!("annotation {id}"),
                None => format!("annotation {} of the file", i + 1),
            };
            draft.mistake(file, entry, problem)
        })?;
        match found {
            Ok(shape) => image.shapes.push(shape),
            Err(kind) => draft.ignored.add(kind, file),
        }
    }
    for image in images {
        if let Some(path) = image.path {
            draft.add(file, path, image.size, image.shapes, None)?;
        }
    }
    Ok(())
}

/// The classes of a file, which may list them in any order, by their ids.
fn labels(
    file: &Path,
    categories: Vec<Category>,
    draft: &mut Draft<'_>,
) -> Result<HashMap<Id, Label>, AnnotationError> {
    let mut names = BTreeMap::new();
    for category in categories {
        if names.insert(category.id.clone(), category.name).is_some() {
            let entry = format!("category {}", category.id);
            return Err(draft.mistake(file, entry, EntryProblem::DuplicateId));
        }
    }
    Ok(names
        .into_iter()
        .map(|(id, name)| (id, draft.label(&name)))
        .collect())
}

/// Finds an image and, if the file does not say it, its size.
fn find(
    file: &Path,
    image: &wire::Image,
    finder: &mut Finder<'_>,
    draft: &mut Draft<'_>,
) -> Result<Image, AnnotationError> {
    let found = finder.find(&image.file_name);
    let path = found.map_err(|kind| draft.tree.error(file, kind))?;
    let size = match (&path, image.height, image.width) {
        (_, Some(height), Some(width)) => (height.side(), width.side()),
        (Some(path), ..) => measure::size(draft.tree, file, path)?,
        (None, ..) => (0, 0),
    };
    if path.is_none() {
        draft.miss(file, &image.file_name);
    }
    Ok(Image {
        path,
        size,
        shapes: Vec::new(),
    })
}

/// The region of an annotation.
fn shape(annotation: Annotation, size: (u64, u64), labels: &HashMap<Id, Label>) -> Drawn<Shape> {
    let id = annotation.category_id;
    let Some(&label) = id.as_ref().and_then(|id| labels.get(id)) else {
        let class = id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return Err(EntryProblem::UnknownClass { class });
    };
    let outline = match annotation.segmentation {
        Some(Segmentation::Polygons(polygons)) if polygons.iter().any(|it| !it.is_empty()) => {
            let rings = rings(polygons)?;
            if rings.is_empty() {
                return Ok(Err(IgnoredKind::Degenerate));
            }
            Outline::Polygons {
                rings,
                rule: Rule::Coco,
            }
        }
        Some(Segmentation::Rle(rle)) => {
            let found = rle.size.into();
            if found != size {
                return Err(EntryProblem::MaskSize {
                    found,
                    expected: size,
                });
            }
            let counts = match rle.counts {
                Counts::Plain(counts) => counts,
                Counts::Compressed(text) => rle::decode(&text)?,
            };
            Outline::Runs(rle::runs((0, 0), found, Order::Columns, counts)?)
        }
        _ => return Ok(Err(IgnoredKind::Box)),
    };
    let is_crowd = annotation.iscrowd.is_some_and(Number::is_set);
    Ok(Ok(Shape {
        label,
        outline,
        is_crowd,
    }))
}

/// The points of polygons. One of two points has no area. (pycocotools takes four numbers for a
/// box, which no tool means.)
fn rings(polygons: Vec<Vec<f64>>) -> Result<Vec<Vec<[f64; 2]>>, EntryProblem> {
    let mut rings = Vec::new();
    for polygon in polygons {
        check_coordinates(polygon.iter().copied())?;
        let (points, rest) = polygon.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(EntryProblem::Unpaired {
                found: polygon.len(),
            });
        }
        if points.len() > 2 {
            rings.push(points.to_vec());
        }
    }
    Ok(rings)
}
