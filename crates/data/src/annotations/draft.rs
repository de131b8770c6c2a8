//! Annotations while they are read: what is the same for all formats.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::ignored::Counts;
use super::raster::work;
use super::tree::{Finder, Tree};
use super::{
    AnnotatedImage, AnnotationError, AnnotationErrorKind, Annotations, EntryProblem, Format,
    IgnoredKind, Label, MAX_CLASSES, MAX_COORDINATE, MAX_WORK, Named, Part, Shape,
};
use crate::decode::{ENDINGS, MAX_SIDE};

/// Annotations under construction. Files are relative to the folder.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) format: Format,
    pub(super) tree: &'a Tree,
    pub(super) ignored: Counts,
    classes: Vec<String>,
    indices: HashMap<String, usize>,
    images: Vec<AnnotatedImage>,
    /// The annotation file of each image.
    sources: HashMap<PathBuf, PathBuf>,
    missing: Named,
    /// The annotation file with the first missing image.
    first_missing: Option<PathBuf>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(format: Format, tree: &'a Tree) -> Self {
        Self {
            format,
            tree,
            ignored: Counts::default(),
            classes: Vec::new(),
            indices: HashMap::new(),
            images: Vec::new(),
            sources: HashMap::new(),
            missing: Named::default(),
            first_missing: None,
        }
    }

    /// The meaning of a class's name. A name that is new is added to the classes.
    pub(super) fn label(&mut self, name: &str) -> Label {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("_background_") || is("background") {
            return Label::Background;
        }
        if name == "__ignore__" {
            return Label::Void;
        }
        if let Some(&index) = self.indices.get(name) {
            return Label::Class(index);
        }
        self.classes.push(name.to_owned());
        self.indices.insert(name.to_owned(), self.classes.len() - 1);
        Label::Class(self.classes.len() - 1)
    }

    /// The part of a split that an annotation file says. If it is about one image, it has the image's name.
    pub(super) fn part(&self, annotation: &Path) -> Option<Part> {
        match self.format {
            Format::Coco | Format::Cvat => Part::of_path(annotation),
            _ => Part::of_folder(annotation),
        }
    }

    /// Finds the images that an annotation file names.
    pub(super) fn finder<'f>(&self, annotation: &'f Path) -> Finder<'f>
    where
        'a: 'f,
    {
        Finder::new(self.tree, annotation, self.part(annotation))
    }

    /// An error of a parser.
    pub(super) fn damaged(&self, file: &Path, reason: &dyn ToString) -> AnnotationError {
        let (format, reason) = (self.format, reason.to_string());
        self.tree
            .error(file, AnnotationErrorKind::Syntax { format, reason })
    }

    /// An error in an entry, such as "line 3".
    pub(super) fn mistake(
        &self,
        file: &Path,
        entry: String,
        problem: EntryProblem,
    ) -> AnnotationError {
        self.tree
            .error(file, AnnotationErrorKind::Entry { entry, problem })
    }

    /// Counts an image that is not in the folder.
    pub(super) fn miss(&mut self, annotation: &Path, name: &str) {
        self.ignored.add(IgnoredKind::MissingImage, annotation);
        self.missing.add(name);
        self.first_missing
            .get_or_insert_with(|| annotation.to_owned());
    }

    /// Adds an image.
    ///
    /// # Errors
    /// If it was added before, or its size or outlines are not acceptable.
    pub(super) fn add(
        &mut self,
        annotation: &Path,
        image: PathBuf,
        size: (u64, u64),
        shapes: Vec<Shape>,
        part: Option<Part>,
    ) -> Result<(), AnnotationError> {
        let failed = |kind| Err(self.tree.error(annotation, kind));
        let side = |side| {
            u32::try_from(side)
                .ok()
                .filter(|side| (1..=MAX_SIDE).contains(side))
        };
        let (Some(height), Some(width)) = (side(size.0), side(size.1)) else {
            return failed(AnnotationErrorKind::Size { image, size });
        };
        if let Some(other) = self.sources.get(&image) {
            let other = self.tree.path(other);
            return failed(AnnotationErrorKind::DuplicateImage { image, other });
        }
        let part = part.or(Part::of_folder(&image)).or(self.part(annotation));
        let file = self.tree.path(&image);
        let annotated = AnnotatedImage {
            file,
            size: (height as usize, width as usize),
            shapes,
            part,
        };
        if work(&annotated) > MAX_WORK {
            return failed(AnnotationErrorKind::TooMuchWork { image });
        }
        self.sources.insert(image, annotation.to_owned());
        self.images.push(annotated);
        Ok(())
    }

    /// All that was read from files of which `first` is the first.
    ///
    /// # Errors
    /// If there are too many classes, no images or no outlines.
    pub(super) fn finish(mut self, first: &Path) -> Result<Annotations, AnnotationError> {
        let found = self.classes.len();
        if found > MAX_CLASSES {
            return Err(self
                .tree
                .error(first, AnnotationErrorKind::TooManyClasses { found }));
        }
        if self.images.iter().all(|image| image.shapes.is_empty())
            && let Some(shapes) = self.ignored.first_shape()
        {
            let kind = match shapes.kind {
                IgnoredKind::Box => AnnotationErrorKind::BoxesOnly {
                    format: self.format,
                },
                kind => AnnotationErrorKind::NoOutlines {
                    what: kind.words().1,
                },
            };
            return Err(self.tree.error(&shapes.first, kind));
        }
        if self.images.is_empty()
            && let Some(annotation) = &self.first_missing
        {
            let kind = AnnotationErrorKind::ImagesMissing {
                count: self.missing.count,
                name: self.missing.names.swap_remove(0),
            };
            return Err(self.tree.error(annotation, kind));
        }
        if !matches!(self.format, Format::Coco | Format::Yolo | Format::Cvat) {
            self.sort_classes();
        }
        self.count_unannotated();
        Ok(Annotations {
            format: self.format,
            classes: self.classes,
            images: self.images,
            ignored: self.ignored.into_list(),
            missing: self.missing,
        })
    }

    /// Counts the images beside annotated ones.
    fn count_unannotated(&mut self) {
        let folders: HashSet<_> = self.sources.keys().map(|image| image.parent()).collect();
        for file in self.tree.with_extension(&ENDINGS) {
            if folders.contains(&file.parent()) && !self.sources.contains_key(file) {
                self.ignored.add(IgnoredKind::Unannotated, file);
            }
        }
    }

    fn sort_classes(&mut self) {
        self.classes.sort();
        let new: HashMap<&str, usize> = self
            .classes
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), i))
            .collect();
        let by_old: HashMap<usize, usize> = self
            .indices
            .iter()
            .map(|(name, &old)| (old, new[name.as_str()]))
            .collect();
        for shape in self.images.iter_mut().flat_map(|image| &mut image.shapes) {
            if let Label::Class(class) = &mut shape.label {
                *class = by_old[class];
            }
        }
    }
}

/// Checks that coordinates are numbers of a possible size.
pub(super) fn check_coordinates(values: impl IntoIterator<Item = f64>) -> Result<(), EntryProblem> {
    match values
        .into_iter()
        .find(|value| value.is_nan() || value.abs() > MAX_COORDINATE)
    {
        Some(value) => Err(EntryProblem::Coordinate { value }),
        None => Ok(()),
    }
}
