//! What was imported, and what was lost.

use std::collections::HashMap;
use std::iter;

use super::plan::Item;
use super::write::Outcome;
use crate::annotations::{Annotations, Format, Ignored, IgnoredKind, Label, Named};
use crate::folder::Part;

/// What was written to the new folder, and what its masks do not show.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The format of the annotations.
    pub format: Format,
    /// The images that were written, by part.
    pub parts: Vec<PartCount>,
    /// The classes of the masks, without the background.
    pub classes: Vec<ClassCount>,
    /// Images that are hard links to those of the source; the others are copies.
    pub linked: usize,
    /// Images with their folder in their name, because another one has the same name.
    pub renamed: usize,
    /// Images that the annotations list without outlines. Their masks are empty.
    pub unannotated: usize,
    /// Masks of background alone, those of images without outlines included.
    pub empty_masks: usize,
    /// Annotations and images that masks cannot show, by kind.
    pub ignored: Vec<Ignored>,
    /// Names of annotated images that do not exist.
    pub missing: Named,
    /// Images that were left out because their size differs from that of their annotations, with
    /// their paths in the source.
    pub other_sizes: Named,
    /// Images that were left out because their headers cannot be read.
    pub unreadable: Named,
    /// Objects that became background because their class is not kept.
    pub dropped_objects: usize,
    /// Objects that share class and image with another one, from which masks do not tell them.
    pub merged_objects: usize,
    /// Pixels of objects that later objects of other classes cover.
    pub covered_pixels: usize,
    /// Pixels with the value [`IGNORE`](crate::annotations::IGNORE).
    pub ignored_pixels: usize,
}

/// Images of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartCount {
    /// The part; `None` if the images are in one.
    pub part: Option<Part>,
    /// Number of images.
    pub images: usize,
}

/// Objects of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCount {
    /// The name of the class.
    pub name: String,
    /// Number of objects in the images that were written.
    pub objects: usize,
}

impl Imported {
    pub(super) fn of(found: &Annotations, items: &[Item<'_>], outcomes: &[Outcome]) -> Self {
        let mut report = Self {
            format: found.format,
            parts: Vec::new(),
            classes: found
                .classes
                .iter()
                .map(|name| ClassCount {
                    name: name.clone(),
                    objects: 0,
                })
                .collect(),
            linked: 0,
            renamed: 0,
            unannotated: 0,
            empty_masks: 0,
            ignored: found.ignored.clone(),
            missing: found.missing.clone(),
            other_sizes: Named::default(),
            unreadable: Named::default(),
            dropped_objects: 0,
            merged_objects: 0,
            covered_pixels: 0,
            ignored_pixels: 0,
        };
        for (item, outcome) in items.iter().zip(outcomes) {
            report.add(item, outcome);
        }
        report.parts.sort_by_key(|it| it.part);
        report
    }

    fn add(&mut self, item: &Item<'_>, outcome: &Outcome) {
        let name = item.path.display().to_string();
        let written = match outcome {
            Outcome::Written(written) => written,
            Outcome::OtherSize => return self.other_sizes.add(&name),
            Outcome::Unreadable => return self.unreadable.add(&name),
        };
        self.add_to_part(item.part);
        self.linked += usize::from(written.is_linked);
        self.renamed += usize::from(item.is_renamed());
        self.unannotated += usize::from(item.image.shapes.is_empty());
        self.empty_masks += usize::from(written.is_empty);
        self.covered_pixels += written.covered_pixels;
        self.ignored_pixels += written.ignored_pixels;
        let mut objects: HashMap<usize, usize> = HashMap::new();
        for shape in &item.image.shapes {
            if let Label::Class(class) = shape.label {
                *objects.entry(class).or_default() += 1;
            }
        }
        for (class, count) in objects {
            self.classes[class].objects += count;
            self.merged_objects += if count > 1 { count } else { 0 };
        }
    }

    fn add_to_part(&mut self, part: Option<Part>) {
        match self.parts.iter_mut().find(|it| it.part == part) {
            Some(it) => it.images += 1,
            None => self.parts.push(PartCount { part, images: 1 }),
        }
    }

    /// Number of images that were written.
    pub fn images(&self) -> usize {
        self.parts.iter().map(|it| it.images).sum()
    }

    /// The meaning of each value of the masks, from 0.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let classes = self.classes.iter().map(|class| class.name.as_str());
        iter::once("background").chain(classes)
    }

    /// The report for people: what was written, and then what was lost.
    pub fn lines(&self) -> Vec<String> {
        let ignored = self.ignored.iter();
        let ignored = ignored.filter(|it| it.kind != IgnoredKind::MissingImage);
        [self.written(), self.objects()]
            .into_iter()
            .chain(self.left_out())
            .chain(ignored.map(|it| format!("left out: {it}")))
            .chain(self.losses())
            .collect()
    }

    /// Images that were not written, one line for each reason.
    pub(super) fn left_out(&self) -> impl Iterator<Item = String> {
        [
            (
                &self.missing,
                [
                    "annotated image does not exist",
                    "annotated images do not exist",
                ],
            ),
            (
                &self.other_sizes,
                [
                    "image differs in size from its annotations",
                    "images differ in size from their annotations",
                ],
            ),
            (
                &self.unreadable,
                ["image cannot be read", "images cannot be read"],
            ),
        ]
        .into_iter()
        .filter(|(files, _)| files.count > 0)
        .map(|(files, what)| format!("left out: {}: {files}", counted(files.count, what)))
    }

    fn written(&self) -> String {
        let part = |it: &PartCount| it.part.map(|part| format!("{} {}", it.images, part.name()));
        let parts: Vec<String> = self.parts.iter().filter_map(part).collect();
        let (images, linked) = (self.images(), self.linked);
        let how = match images - linked {
            0 => "hard links".to_owned(),
            copies if copies == images => "copies".to_owned(),
            copies => format!("{linked} hard links and {copies} copies"),
        };
        let images = counted(images, ["image with its mask", "images with their masks"]);
        let format = self.format;
        match parts.join(", ") {
            parts if parts.is_empty() => format!("{format}: {images}; images are {how}"),
            parts => format!("{format}: {images} ({parts}); images are {how}"),
        }
    }

    fn objects(&self) -> String {
        let count = |class: &ClassCount| format!("{} {}", class.name, class.objects);
        let used = self.classes.iter().filter(|class| class.objects > 0);
        let used: Vec<String> = used.map(count).collect();
        format!("objects: {}", used.join(", "))
    }

    fn losses(&self) -> impl Iterator<Item = String> {
        let unused = self.classes.iter().filter(|it| it.objects == 0);
        [
            (
                unused.count(),
                ["class has no objects", "classes have no objects"],
            ),
            (
                self.renamed,
                [
                    "image has its folder in its name, because another one has the same name",
                    "images have their folders in their names, because names repeat",
                ],
            ),
            (
                self.unannotated,
                ["image has no outlines: its mask is empty", "images have no outlines: their masks are empty"],
            ),
            (
                self.empty_masks - self.unannotated,
                ["image has outlines and an empty mask", "images have outlines and empty masks"],
            ),
            (
                self.dropped_objects,
                ["object of another class became background", "objects of other classes became background"],
            ),
            (
                self.merged_objects,
                [
                    "object cannot be told from others in its mask",
                    "objects share their class with others in their image: masks do not tell them apart",
                ],
            ),
            (
                self.covered_pixels,
                [
                    "pixel of an object is covered by a later object of another class",
                    "pixels of objects are covered by later objects of other classes",
                ],
            ),
            (
                self.ignored_pixels,
                ["pixel is ignored (255): crowds and void", "pixels are ignored (255): crowds and void"],
            ),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| counted(count, what))
    }
}

/// A count with the words for one and for many.
fn counted(count: usize, [one, many]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
