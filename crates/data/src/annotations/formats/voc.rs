//! PASCAL VOC: an XML file per image. Its own files have boxes only; some tools add polygons to
//! them, and the online `LabelMe` wrote a similar file.

use std::path::{Path, PathBuf};

use super::polygon;
use super::xml::{Failure, Node, number, visit};
use crate::annotations::draft::{Draft, check_coordinates};
use crate::annotations::measure;
use crate::annotations::{AnnotationError, EntryProblem, IgnoredKind, Outline, Rule, Shape};

/// The polygons of the files; later ones cover earlier ones.
pub(super) fn read(files: &[PathBuf], draft: &mut Draft<'_>) -> Result<(), AnnotationError> {
    for file in files {
        let document = parse(file, draft)?;
        let mut shapes = Vec::new();
        for object in document.objects {
            match object.outline() {
                Ok(outline) => {
                    let label = draft.label(&object.name);
                    shapes.push(Shape {
                        label,
                        outline,
                        is_crowd: false,
                    });
                }
                Err(kind) => draft.ignored.add(kind, file),
            }
        }
        let found = draft.finder(file).find(&document.file_name);
        let Some(image) = found.map_err(|kind| draft.tree.error(file, kind))? else {
            draft.miss(file, &document.file_name);
            continue;
        };
        let size = match document.size {
            (height @ 1.., width @ 1..) => (height, width),
            _ => measure::size(draft.tree, file, &image)?,
        };
        draft.add(file, image, size, shapes, None)?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Document {
    file_name: String,
    size: (u64, u64),
    objects: Vec<Object>,
}

#[derive(Debug, Default)]
struct Object {
    name: String,
    is_deleted: bool,
    has_polygon: bool,
    xs: Vec<f64>,
    ys: Vec<f64>,
}

fn parse(file: &Path, draft: &Draft<'_>) -> Result<Document, AnnotationError> {
    let mut document = Document::default();
    let bytes = draft.tree.read(file)?;
    let visited = visit(&bytes, |path, part| match part {
        Node::Start(_) => {
            document.start(path);
            Ok(())
        }
        Node::End(text) => document.end(path, text),
    });
    match visited {
        Ok(()) => Ok(document),
        Err(Failure::Damaged(reason)) => Err(draft.damaged(file, &reason)),
        Err(Failure::Visitor(problem)) => {
            let entry = format!("object {}", document.objects.len().max(1));
            Err(draft.mistake(file, entry, problem))
        }
    }
}

impl Document {
    fn start(&mut self, path: &str) {
        match path {
            "annotation/object" => self.objects.push(Object::default()),
            "annotation/object/polygon" => {
                if let Some(object) = self.objects.last_mut() {
                    object.has_polygon = true;
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, path: &str, text: &str) -> Result<(), EntryProblem> {
        match path {
            "annotation/filename" => text.clone_into(&mut self.file_name),
            "annotation/size/height" | "annotation/imagesize/nrows" => {
                self.size.0 = text.parse().unwrap_or(0);
            }
            "annotation/size/width" | "annotation/imagesize/ncols" => {
                self.size.1 = text.parse().unwrap_or(0);
            }
            _ => {}
        }
        let (Some(object), Some(path)) = (
            self.objects.last_mut(),
            path.strip_prefix("annotation/object/"),
        ) else {
            return Ok(());
        };
        match path {
            "polygon" if object.xs.len() != object.ys.len() => {
                let found = object.xs.len() + object.ys.len();
                return Err(EntryProblem::Unpaired { found });
            }
            "name" => text.clone_into(&mut object.name),
            "deleted" => object.is_deleted = text == "1",
            _ => {}
        }
        // Either `x1`, `y1`, `x2`, ... or `pt/x`, `pt/y`, `pt/x`, ...
        let corner = path
            .strip_prefix("polygon/")
            .map(|it| it.strip_prefix("pt/").unwrap_or(it));
        let axis = match corner.map(|it| it.trim_end_matches(|c: char| c.is_ascii_digit())) {
            Some("x") => &mut object.xs,
            Some("y") => &mut object.ys,
            _ => return Ok(()),
        };
        let value = number(text)?;
        check_coordinates([value])?;
        axis.push(value);
        Ok(())
    }
}

impl Object {
    fn outline(&self) -> Result<Outline, IgnoredKind> {
        if self.is_deleted {
            return Err(IgnoredKind::NotDrawn);
        }
        if !self.has_polygon {
            return Err(IgnoredKind::Box);
        }
        let points = self.xs.iter().zip(&self.ys);
        polygon(points.map(|(&x, &y)| [x, y]).collect(), Rule::Coco)
    }
}
