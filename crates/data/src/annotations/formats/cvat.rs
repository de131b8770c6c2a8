//! CVAT for images 1.1: one XML file with polygons, boxes, ellipses and masks.

use std::path::{Path, PathBuf};

use quick_xml::events::BytesStart;

use super::xml::{Failure, Node, attribute, number, number_attribute, visit};
use super::{Drawn, polygon, rle};
use crate::annotations::draft::{Draft, check_coordinates};
use crate::annotations::tree::Finder;
use crate::annotations::{
    AnnotationError, AnnotationErrorKind, Ellipse, EntryProblem, IgnoredKind, Order, Outline, Part,
    Rule, Runs, Shape,
};

/// The shapes of the files, ordered by `z_order` and then as in the file.
pub(super) fn read(files: &[PathBuf], draft: &mut Draft<'_>) -> Result<(), AnnotationError> {
    for file in files {
        let bytes = draft.tree.read(file)?;
        let mut document = Document {
            file,
            finder: draft.finder(file),
            draft,
            label: (String::new(), String::new()),
            image: None,
        };
        let visited = visit(&bytes, |path, part| match part {
            Node::Start(element) => document.start(path, element),
            Node::End(text) => document.end(path, text),
        });
        match visited {
            Ok(()) => {}
            Err(Failure::Damaged(reason)) => return Err(draft.damaged(file, &reason)),
            Err(Failure::Visitor(error)) => return Err(error),
        }
    }
    Ok(())
}

/// A file while it is read.
struct Document<'a, 'b> {
    file: &'a Path,
    finder: Finder<'a>,
    draft: &'a mut Draft<'b>,
    /// Name and type of the last label in the list of labels.
    label: (String, String),
    image: Option<Image>,
}

/// An image while it is read.
struct Image {
    name: String,
    size: (u64, u64),
    part: Option<Part>,
    /// With their `z_order`.
    shapes: Vec<(f64, Shape)>,
}

impl Document<'_, '_> {
    fn start(&mut self, path: &str, element: &BytesStart<'_>) -> Result<(), AnnotationError> {
        match path {
            "annotations/track" => {
                let kind = AnnotationErrorKind::NoOutlines {
                    what: "the tracks of a video",
                };
                return Err(self.draft.tree.error(self.file, kind));
            }
            "annotations/image" => {
                let image = image(element).map_err(|problem| {
                    self.draft
                        .mistake(self.file, "an image".to_owned(), problem)
                })?;
                self.image = Some(image);
            }
            _ => {}
        }
        match path.strip_prefix("annotations/image/") {
            Some(kind) if !kind.contains('/') => self.shape(kind, element),
            _ => Ok(()),
        }
    }

    fn end(&mut self, path: &str, text: &str) -> Result<(), AnnotationError> {
        if path.ends_with("/labels/label/name") {
            text.clone_into(&mut self.label.0);
        } else if path.ends_with("/labels/label/type") {
            text.clone_into(&mut self.label.1);
        } else if path.ends_with("/labels/label") {
            let (name, kind) = std::mem::take(&mut self.label);
            // Labels of these types have no area.
            if !["points", "polyline", "skeleton", "tag", "cuboid"].contains(&kind.as_str()) {
                self.draft.label(&name);
            }
        } else if path == "annotations/image"
            && let Some(mut image) = self.image.take()
        {
            let found = self.finder.find(&image.name);
            let Some(found) = found.map_err(|kind| self.draft.tree.error(self.file, kind))? else {
                self.draft.miss(self.file, &image.name);
                return Ok(());
            };
            image.shapes.sort_by(|a, b| a.0.total_cmp(&b.0));
            let shapes = image.shapes.into_iter().map(|(_, shape)| shape).collect();
            self.draft
                .add(self.file, found, image.size, shapes, image.part)?;
        }
        Ok(())
    }

    fn shape(&mut self, kind: &str, element: &BytesStart<'_>) -> Result<(), AnnotationError> {
        let Self {
            file,
            draft,
            image: Some(image),
            ..
        } = self
        else {
            return Ok(());
        };
        let found = shape(kind, element, image.size).map_err(|problem| {
            draft.mistake(file, format!("a {kind} of `{}`", image.name), problem)
        })?;
        match found {
            Ok((order, name, outline)) => {
                let label = draft.label(&name);
                let is_crowd = false;
                image.shapes.push((
                    order,
                    Shape {
                        label,
                        outline,
                        is_crowd,
                    },
                ));
            }
            Err(kind) => draft.ignored.add(kind, file),
        }
        Ok(())
    }
}

fn image(element: &BytesStart<'_>) -> Result<Image, EntryProblem> {
    let part = attribute(element, "subset")
        .ok()
        .and_then(|name| Part::of_name(name.as_ref().as_ref()));
    Ok(Image {
        name: attribute(element, "name")?.into_owned(),
        size: (whole(element, "height")?, whole(element, "width")?),
        part,
        shapes: Vec::new(),
    })
}

/// An attribute that is a size. Other numbers become 0, which no size is.
fn whole(element: &BytesStart<'_>, name: &'static str) -> Result<u64, EntryProblem> {
    Ok(attribute(element, name)?.trim().parse().unwrap_or(0))
}

/// The `z_order` of a shape, its label and its outline.
fn shape(kind: &str, element: &BytesStart<'_>, image: (u64, u64)) -> Drawn<(f64, String, Outline)> {
    let outline = match outline(kind, element, image)? {
        Ok(outline) => outline,
        Err(kind) => return Ok(Err(kind)),
    };
    let order = number_or_zero(element, "z_order")?;
    let name = attribute(element, "label")?.into_owned();
    Ok(Ok((order, name, outline)))
}

fn outline(kind: &str, element: &BytesStart<'_>, image: (u64, u64)) -> Drawn<Outline> {
    Ok(match kind {
        "polygon" => polygon(points(&attribute(element, "points")?)?, Rule::Coco),
        "box" => polygon(rectangle(element)?, Rule::Coco),
        "ellipse" => ellipse(element)?
            .map(Outline::Ellipse)
            .ok_or(IgnoredKind::Degenerate),
        "mask" => Ok(Outline::Runs(mask(element, image)?)),
        "tag" => Err(IgnoredKind::Tag),
        "points" => Err(IgnoredKind::Point),
        "polyline" => Err(IgnoredKind::Line),
        _ => Err(IgnoredKind::OtherShape),
    })
}

/// Points as `x,y;x,y`.
fn points(text: &str) -> Result<Vec<[f64; 2]>, EntryProblem> {
    let point = |text: &str| {
        let (x, y) = text
            .split_once(',')
            .ok_or(EntryProblem::Unpaired { found: 1 })?;
        let point = [number(x)?, number(y)?];
        check_coordinates(point).map(|()| point)
    };
    text.split(';')
        .filter(|text| !text.trim().is_empty())
        .map(point)
        .collect()
}

/// The corners of a box that may be turned around its centre.
fn rectangle(element: &BytesStart<'_>) -> Result<Vec<[f64; 2]>, EntryProblem> {
    let [x0, y0, x1, y1] = coordinates(element, ["xtl", "ytl", "xbr", "ybr"])?;
    let (sin, cos) = rotation(element)?.to_radians().sin_cos();
    let (cx, cy) = (x0 + (x1 - x0) / 2.0, y0 + (y1 - y0) / 2.0);
    let turn = |[x, y]: [f64; 2]| {
        [
            cx + cos * (x - cx) - sin * (y - cy),
            cy + sin * (x - cx) + cos * (y - cy),
        ]
    };
    let corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
    Ok(if sin == 0.0 {
        corners.to_vec()
    } else {
        corners.map(turn).to_vec()
    })
}

/// An ellipse as CVAT exports it: rounded to pixels, its outline a pixel wide.
fn ellipse(element: &BytesStart<'_>) -> Result<Option<Ellipse>, EntryProblem> {
    let [cx, cy, rx, ry] =
        coordinates(element, ["cx", "cy", "rx", "ry"])?.map(f64::round_ties_even);
    let ellipse = Ellipse {
        centre: [cx, cy],
        radii: [rx + 0.5, ry + 0.5],
        degrees: rotation(element)?,
    };
    Ok((rx >= 0.0 && ry >= 0.0).then_some(ellipse))
}

/// A mask over a box, row by row.
fn mask(element: &BytesStart<'_>, image: (u64, u64)) -> Result<Runs, EntryProblem> {
    let [left, top] = coordinates(element, ["left", "top"])?;
    let size = (whole(element, "height")?, whole(element, "width")?);
    if size.0 > image.0 || size.1 > image.1 {
        return Err(EntryProblem::MaskSize {
            found: size,
            expected: image,
        });
    }
    let text = attribute(element, "rle")?;
    let count = |text: &str| {
        text.trim()
            .parse()
            .map_err(|_no_number| EntryProblem::NotANumber {
                text: text.to_owned(),
            })
    };
    let counts = text.split(',').map(count).collect::<Result<_, _>>()?;
    #[expect(clippy::cast_possible_truncation, reason = "coordinates are checked")]
    let corner = (left as i64, top as i64);
    rle::runs(corner, size, Order::Rows, counts)
}

fn coordinates<const N: usize>(
    element: &BytesStart<'_>,
    names: [&'static str; N],
) -> Result<[f64; N], EntryProblem> {
    let mut values = [0.0; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = number_attribute(element, name)?;
    }
    check_coordinates(values).map(|()| values)
}

/// How far a shape is turned clockwise, in degrees.
fn rotation(element: &BytesStart<'_>) -> Result<f64, EntryProblem> {
    let degrees = number_or_zero(element, "rotation")?;
    check_coordinates([degrees]).map(|()| degrees)
}

fn number_or_zero(element: &BytesStart<'_>, name: &'static str) -> Result<f64, EntryProblem> {
    match number_attribute(element, name) {
        Err(EntryProblem::Missing { .. }) => Ok(0.0),
        number => number,
    }
}
