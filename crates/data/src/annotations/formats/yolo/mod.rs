//! YOLO segmentation: a text file per image, each line a class and a polygon in shares of the
//! image's sides, and a YAML file.

mod classes;

use std::path::{Path, PathBuf};

use super::xml::number;
use crate::annotations::draft::Draft;
use crate::annotations::tree::{Finder, Tree};
use crate::annotations::{
    AnnotationError, AnnotationErrorKind, EntryProblem, Format, IgnoredKind, Label, Outline, Part,
    Rule, Shape, measure,
};
use crate::decode::ENDINGS;
use crate::folder::listing::has_ending;

pub(in crate::annotations) use classes::class_files;

/// How far outside of the image Ultralytics accepts a coordinate, in shares of the side.
const TOLERANCE: f64 = 0.01;

/// How much of a text file is read to see whether it is a label.
const MAX_START: u64 = 1 << 16;

/// The polygons of the images that `files` list. Later ones cover earlier ones.
pub(super) fn read(files: &[PathBuf], draft: &mut Draft<'_>) -> Result<(), AnnotationError> {
    let tree = draft.tree;
    for file in files {
        let classes =
            classes::parse(&tree.read(file)?).map_err(|reason| draft.damaged(file, &reason))?;
        if classes.kpt_shape.is_some() {
            let what = "keypoints";
            return Err(tree.error(file, AnnotationErrorKind::NoOutlines { what }));
        }
        let labels: Vec<Label> = classes
            .names
            .0
            .iter()
            .map(|name| draft.label(name))
            .collect();
        let mut images = Vec::new();
        for (part, name) in classes.places() {
            match classes::place(tree, file, &classes, name) {
                Some(place) => list(&place, part, &mut images, draft)?,
                None => draft.miss(file, name),
            }
        }
        add(file, images, &labels, draft)?;
    }
    Ok(())
}

/// The images in a folder, or in a text file with one name per line.
fn list(
    place: &Path,
    part: Part,
    images: &mut Vec<(PathBuf, Part)>,
    draft: &mut Draft<'_>,
) -> Result<(), AnnotationError> {
    let tree = draft.tree;
    if !has_ending(place, &["txt"]) {
        let found = tree.under(place).filter(|file| has_ending(file, &ENDINGS));
        images.extend(found.map(|file| (file.to_owned(), part)));
        return Ok(());
    }
    let bytes = tree.read(place)?;
    let text = str::from_utf8(&bytes).map_err(|error| draft.damaged(place, &error))?;
    let mut finder = Finder::new(tree, place, Some(part));
    for name in text.lines().map(str::trim).filter(|name| !name.is_empty()) {
        match finder.find(name).map_err(|kind| tree.error(place, kind))? {
            Some(image) => images.push((image, part)),
            None => draft.miss(place, name),
        }
    }
    Ok(())
}

fn add(
    file: &Path,
    images: Vec<(PathBuf, Part)>,
    labels: &[Label],
    draft: &mut Draft<'_>,
) -> Result<(), AnnotationError> {
    let tree = draft.tree;
    let mut seen = std::collections::HashSet::new();
    let (images, repeated): (Vec<_>, Vec<_>) = images
        .into_iter()
        .partition(|(image, _)| seen.insert(image.clone()));
    for _ in repeated {
        draft.ignored.add(IgnoredKind::Repeated, file);
    }
    let has_label = |(image, _): &(PathBuf, Part)| tree.has(&label_of(image));
    if let (Some((image, _)), false) = (images.first(), images.iter().any(has_label)) {
        let label = tree.path(&label_of(image));
        return Err(tree.error(file, AnnotationErrorKind::LabelsMissing { label }));
    }
    let (paths, parts): (Vec<PathBuf>, Vec<Part>) = images.into_iter().unzip();
    let sizes = measure::sizes(tree, file, &paths)?;
    for ((image, part), size) in paths.into_iter().zip(parts).zip(sizes) {
        let label = label_of(&image);
        // An image without a label is background.
        let shapes = if tree.has(&label) {
            shapes(&label, size, labels, draft)?
        } else {
            Vec::new()
        };
        draft.add(file, image, size, shapes, Some(part))?;
    }
    Ok(())
}

/// The label of an image: in the last folder called `images`, `labels` takes its place.
fn label_of(image: &Path) -> PathBuf {
    let parts: Vec<_> = image.iter().collect();
    let last = parts.iter().rposition(|part| *part == "images");
    let part = |(i, part)| {
        if Some(i) == last {
            "labels".as_ref()
        } else {
            part
        }
    };
    parts
        .into_iter()
        .enumerate()
        .map(part)
        .collect::<PathBuf>()
        .with_extension("txt")
}

fn shapes(
    file: &Path,
    size: (u64, u64),
    labels: &[Label],
    draft: &Draft<'_>,
) -> Result<Vec<Shape>, AnnotationError> {
    let bytes = draft.tree.read(file)?;
    let text = str::from_utf8(&bytes).map_err(|error| draft.damaged(file, &error))?;
    let mut shapes = Vec::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let failed = |problem| draft.mistake(file, format!("line {}", i + 1), problem);
        match words[..] {
            [] => {}
            [_, _, _, _, _] => {
                let kind = AnnotationErrorKind::BoxesOnly {
                    format: Format::Yolo,
                };
                return Err(draft.tree.error(file, kind));
            }
            [class, ref coordinates @ ..] => {
                shapes.push(shape(class, coordinates, size, labels).map_err(failed)?);
            }
        }
    }
    Ok(shapes)
}

/// A polygon, with coordinates in `f32` as Ultralytics computes them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "coordinates are rounded to `f32`, indices are checked"
)]
fn shape(
    class: &str,
    coordinates: &[&str],
    size: (u64, u64),
    labels: &[Label],
) -> Result<Shape, EntryProblem> {
    let index = number(class)?;
    let is_index = index >= 0.0 && index.fract() == 0.0;
    let Some(&label) = labels.get(index as usize).filter(|_| is_index) else {
        return Err(EntryProblem::UnknownClass {
            class: class.to_owned(),
        });
    };
    let (pairs, rest) = coordinates.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() < 3 {
        return Err(EntryProblem::Unpaired {
            found: coordinates.len(),
        });
    }
    let pixels = |text: &str, side: u64| {
        let value = number(text)?;
        if !(-TOLERANCE..=1.0 + TOLERANCE).contains(&value) {
            return Err(EntryProblem::Share { value });
        }
        Ok(f64::from((value as f32).clamp(0.0, 1.0) * side as f32))
    };
    let point = |&[x, y]: &[&str; 2]| Ok([pixels(x, size.1)?, pixels(y, size.0)?]);
    let ring = pairs.iter().map(point).collect::<Result<_, _>>()?;
    let outline = Outline::Polygons {
        rings: vec![ring],
        rule: Rule::OpenCv,
    };
    Ok(Shape {
        label,
        outline,
        is_crowd: false,
    })
}

/// A text file that looks like a label, if there is one: its first line has a class and shares.
pub(in crate::annotations) fn first_label(tree: &Tree) -> Result<Option<PathBuf>, AnnotationError> {
    for file in tree.with_extension(&["txt"]) {
        let is_in_labels = file.iter().any(|part| part == "labels");
        if (is_in_labels || tree.image_beside(file).is_some())
            && is_label(&tree.read_up_to(file, MAX_START)?)
        {
            return Ok(Some(file.to_owned()));
        }
    }
    Ok(None)
}

fn is_label(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let line = text
        .trim_start_matches('\u{feff}')
        .lines()
        .find(|line| !line.trim().is_empty());
    let words: Vec<_> = line
        .unwrap_or_default()
        .split_whitespace()
        .map(number)
        .collect();
    let share = -TOLERANCE..=1.0 + TOLERANCE;
    let is_share = |word: &Result<f64, _>| word.as_ref().is_ok_and(|value| share.contains(value));
    words.len() > 4
        && words[0]
            .as_ref()
            .is_ok_and(|class| *class >= 0.0 && class.fract() == 0.0)
        && words[1..].iter().all(is_share)
}
