//! Counts the values of masks: of one file, and of all files together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::edges::Edges;
use super::{Value, components};
use crate::decode::{LabelKind, Labels};

/// More different values than this are a picture, even if some are the numbers of objects.
const MAX_DISTINCT: usize = 1 << 16;
/// The most values that an error lists.
const MAX_LISTED: usize = 12;
/// The value of the void label of VOC, Cityscapes and many others.
pub(super) const VOID: u32 = 255;

/// How often a value occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) pixels: u64,
    pub(super) files: u64,
    /// Files without another value.
    pub(super) alone: u64,
    /// One of the files.
    example: Option<Arc<Path>>,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.pixels += other.pixels;
        self.files += other.files;
        self.alone += other.alone;
        self.example = self.example.take().into_iter().chain(other.example).min();
    }
}

/// The values of masks, counted. It does not depend on the order of the masks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    values: BTreeMap<Value, Count>,
    /// Files of one colour and one opacity, by both.
    flat: BTreeMap<(Value, u32), Count>,
    num_files: u64,
    num_pixels: u64,
    /// A file with more different values than [`MAX_DISTINCT`], or the last of too many.
    pub(super) picture: Option<PathBuf>,
    /// A file in a format that alters values.
    pub(super) lossy: Option<PathBuf>,
    /// A file that is its alpha.
    pub(super) alpha: Option<PathBuf>,
    /// The values of white of gray levels and opacities.
    whites: BTreeSet<u32>,
    /// Colours of indices that occur, and a file of each.
    palette: BTreeMap<u32, ([u8; 3], PathBuf)>,
    /// Two files whose palettes differ in a colour that occurs.
    pub(super) palettes: Option<[PathBuf; 2]>,
    num_smooth: u64,
    /// A file with values that are no edges between black and white.
    not_smooth: Option<PathBuf>,
    /// Files that hold 255 beside a value of 1 to 254.
    pub(super) num_with_void: u64,
    pub(super) objects: Objects,
}

/// What tells the numbers of objects from those of classes. Zeros do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Objects {
    /// Different values, summed over the files that have at least two, and connected regions of one
    /// value.
    num_values: u64,
    num_regions: u64,
    /// The most different values of a file.
    pub(super) most: u64,
    /// Files with any, and those of them whose values are 1 to their number.
    num_labelled: u64,
    num_counted: u64,
    /// How many values the latter have, from a file with fewest to one with most.
    fewest: Option<u64>,
}

impl Objects {
    fn of(labels: &Labels, counts: &BTreeMap<u32, Count>) -> Self {
        let values = || counts.keys().filter(|&&value| value != 0);
        let num = values().count() as u64;
        let is_counted = values().zip(1_u32..).all(|(&value, nth)| value == nth);
        let mut found = Self {
            most: num,
            num_labelled: u64::from(num > 0),
            num_counted: u64::from(num > 0 && is_counted),
            fewest: (num > 0 && is_counted).then_some(num),
            ..Self::default()
        };
        if num > 1 {
            found.num_values = num;
            found.num_regions = components::count(&labels.values, labels.width);
        }
        found
    }

    fn merge(&mut self, other: &Self) {
        self.num_values += other.num_values;
        self.num_regions = self.num_regions.saturating_add(other.num_regions);
        self.most = self.most.max(other.most);
        self.num_labelled += other.num_labelled;
        self.num_counted += other.num_counted;
        self.fewest = self.fewest.into_iter().chain(other.fewest).min();
    }

    /// Whether each value of a file is on one region.
    pub(super) fn are_regions(&self) -> bool {
        self.num_values > 0 && self.num_regions.saturating_mul(10) <= self.num_values * 11
    }

    /// Whether each file counts its own regions from 1, some to more than others.
    pub(super) fn are_counted(&self) -> bool {
        self.are_regions()
            && self.num_counted == self.num_labelled
            && self.most > 3
            && self.fewest < Some(self.most)
    }
}

impl Tally {
    /// The values of one mask.
    pub fn of(path: &Path, labels: &Labels) -> Self {
        let mut tally = Self {
            num_files: 1,
            num_pixels: labels.values.len() as u64,
            lossy: labels.lossy.then(|| path.to_owned()),
            alpha: (labels.kind == LabelKind::Alpha).then(|| path.to_owned()),
            ..Self::default()
        };
        let is_colour = labels.kind == LabelKind::Colour;
        let value = |it| {
            if is_colour {
                Value::Colour(it)
            } else {
                Value::Number(it)
            }
        };
        let example: Arc<Path> = path.into();
        let mut counts: BTreeMap<u32, Count> = BTreeMap::new();
        for run in labels.values.chunk_by(|a, b| a == b) {
            let count = counts.entry(run[0]).or_default();
            count.pixels += run.len() as u64;
            if count.files == 0 {
                count.files = 1;
                count.example = Some(Arc::clone(&example));
            }
            if counts.len() > MAX_DISTINCT {
                tally.picture = Some(path.to_owned());
                return tally;
            }
        }
        if let [only] = &mut counts.values_mut().collect::<Vec<_>>()[..] {
            only.alone = 1;
        }
        if !is_colour {
            tally.judge(path, labels, &counts);
        }
        if let (Some(opacity), Some((&only, count))) = (labels.opacity, counts.first_key_value()) {
            tally.flat.insert((value(only), opacity), count.clone());
        } else {
            let counts = counts.into_iter();
            tally.values = counts.map(|(it, count)| (value(it), count)).collect();
        }
        tally
    }

    /// What the numbers of one file say.
    fn judge(&mut self, path: &Path, labels: &Labels, counts: &BTreeMap<u32, Count>) {
        match Edges::of(labels, counts) {
            Edges::Smooth => self.num_smooth = 1,
            Edges::None if labels.opacity.is_none() => self.not_smooth = Some(path.to_owned()),
            Edges::None | Edges::Sharp | Edges::Perhaps => {}
        }
        self.num_with_void =
            u64::from(counts.contains_key(&VOID) && counts.range(1..VOID).next().is_some());
        self.objects = Objects::of(labels, counts);
        if let LabelKind::Palette(palette) = &labels.kind {
            let colour = |index: u32| palette.get(index as usize)?.first_chunk().copied();
            let used = counts
                .keys()
                .filter_map(|&index| Some((index, colour(index)?)));
            let used = used.map(|(index, colour)| (index, (colour, path.to_owned())));
            self.palette = used.collect();
        } else {
            self.whites.insert(labels.highest);
        }
    }

    /// Adds the values of other masks.
    pub fn merge(&mut self, other: Self) {
        for (value, count) in other.values {
            self.values.entry(value).or_default().add(count);
        }
        for (value, count) in other.flat {
            self.flat.entry(value).or_default().add(count);
        }
        let least = |mine: &mut Option<PathBuf>, other| {
            *mine = mine.take().into_iter().chain(other).min();
        };
        if self.values.len() > MAX_DISTINCT {
            // The examples are as many as the values.
            let last = self.values.pop_last().and_then(|(_, count)| count.example);
            least(&mut self.picture, last.map(|path| path.to_path_buf()));
        }
        least(&mut self.picture, other.picture);
        least(&mut self.lossy, other.lossy);
        least(&mut self.alpha, other.alpha);
        least(&mut self.not_smooth, other.not_smooth);
        self.whites.extend(other.whites);
        for (index, (colour, path)) in other.palette {
            let (mine, example) = self
                .palette
                .entry(index)
                .or_insert_with(|| (colour, path.clone()));
            if *mine != colour {
                let mut pair = [example.clone(), path];
                pair.sort_unstable();
                self.palettes = self.palettes.take().into_iter().chain([pair]).min();
            } else if path < *example {
                *example = path;
            }
        }
        self.palettes = self.palettes.take().into_iter().chain(other.palettes).min();
        self.num_files += other.num_files;
        self.num_pixels += other.num_pixels;
        self.num_smooth += other.num_smooth;
        self.num_with_void += other.num_with_void;
        self.objects.merge(&other.objects);
    }

    /// All values, where files of one colour and one opacity are their opacity, or else their colour.
    pub(super) fn values(&self, alpha: bool) -> BTreeMap<Value, Count> {
        let mut values = self.values.clone();
        for (&(value, opacity), count) in &self.flat {
            let value = if alpha { Value::Number(opacity) } else { value };
            values.entry(value).or_default().add(count.clone());
        }
        values
    }

    /// The number that stands for a colour in masks without colours: the index of a palette, or a gray
    /// level.
    pub(super) fn number_of(&self, colour: u32) -> Option<Value> {
        let [_, rgb @ ..] = colour.to_be_bytes();
        let mut entries = self.palette.iter();
        let index = entries.find_map(|(&index, (entry, _))| (*entry == rgb).then_some(index));
        let is_gray = self.palette.is_empty() && rgb[0] == rgb[1] && rgb[1] == rgb[2];
        let gray = is_gray.then_some(u32::from(rgb[0]));
        index.or(gray).map(Value::Number)
    }

    /// Whether values are those that were drawn.
    pub(super) const fn is_exact(&self) -> bool {
        self.picture.is_none() && self.lossy.is_none()
    }

    /// White, if all masks are black and white, with gray only along the edges between them.
    pub(super) fn smooth_white(&self) -> Option<u32> {
        let mut whites = self.whites.iter();
        let (Some(&white), None) = (whites.next(), whites.next()) else {
            return None;
        };
        let is_smooth = self.num_smooth > 0 || self.lossy.is_some();
        let is_binary = self.not_smooth.is_none() && self.palette.is_empty();
        let has_colours = self.values.keys().any(|it| matches!(it, Value::Colour(_)));
        (is_smooth && is_binary && !has_colours && self.picture.is_none()).then_some(white)
    }

    /// Whether all masks that are not colours are gray levels of 8 bits.
    pub(super) fn grays_are_colours(&self) -> bool {
        self.palette.is_empty() && self.whites.iter().all(|&white| white == u32::from(u8::MAX))
    }

    /// The values with their shares of all pixels and the files they are in, for an error.
    pub(super) fn listed(&self, values: &BTreeMap<Value, Count>) -> Vec<String> {
        let line = |(value, count): (&Value, &Count)| {
            let share = 100.0 * count.pixels as f64 / self.num_pixels.max(1) as f64;
            let files = count.files;
            // What is in every file needs no example.
            let example = count.example.as_deref().filter(|_| files < self.num_files);
            let example =
                example.map_or_else(String::new, |it| format!(", such as `{}`", it.display()));
            format!("{value}: {share:.2} % of the pixels, in {files} file(s){example}")
        };
        let mut lines: Vec<_> = values.iter().take(MAX_LISTED).map(line).collect();
        if values.len() > MAX_LISTED {
            lines.push(format!("... {} values in all", values.len()));
        }
        lines
    }
}
