//! What the values of masks mean. One file cannot say: 0 and 1 are two classes or the edge of a
//! third. So the values of all masks are counted ([`Tally`]), and one [`MaskRule`] is decided from them.

mod components;
mod decide;
mod edges;
mod known;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decode::{LabelKind, Labels};
use tally::Count;

pub use decide::{Request, Undecided};
pub use known::voc_palette;
pub use tally::Tally;

/// The class of pixels that count neither in training nor in scores.
pub const IGNORE: u8 = 255;

/// What was understood, for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MaskKind {
    /// All pixels of all masks have this value.
    Constant(u32),
    /// Two values: background and foreground.
    TwoValues(u32, u32),
    /// Black and white with smooth edges, or with traces of JPEG.
    Smooth,
    /// Class indices, 0 to N-1.
    Indices,
    /// Classes by other numbers, in their order.
    Numbers,
    /// Classes as colours.
    Colours,
    /// The number of an object, for one class.
    Instances,
}

impl fmt::Display for MaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "only the value {value}"),
            Self::TwoValues(0, foreground) => write!(f, "binary, foreground {foreground}"),
            Self::TwoValues(background, foreground) => {
                write!(
                    f,
                    "binary, background {background}, foreground {foreground}"
                )
            }
            Self::Smooth => f.write_str("binary with smooth edges, split at half of white"),
            Self::Indices => f.write_str("class indices"),
            Self::Numbers => f.write_str("class numbers in their order"),
            Self::Colours => f.write_str("classes as colours"),
            Self::Instances => f.write_str("numbered objects, all of them foreground"),
        }
    }
}

/// How the values of all masks become classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskRule {
    /// What was understood.
    pub kind: MaskKind,
    /// Classes with the background; 1 for one foreground class, whose pixels are 1.
    pub num_classes: usize,
    /// Names of the classes, background first; empty if nothing names them.
    pub names: Vec<String>,
    table: Table,
    /// Whether masks are their alpha, so that a file of one colour and one opacity is as well.
    alpha: bool,
}

/// How a value becomes a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Table {
    /// Foreground is above half of this white.
    Half(u32),
    /// Foreground is everything but 0.
    NotZero,
    /// The class of each gray level or index.
    Numbers(BTreeMap<u32, u8>),
    /// The class of each colour, `0xRRGGBB`. Gray levels of 8 bits are colours as well.
    Colours(BTreeMap<u32, u8>),
}

/// A value of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A gray level, an index or an opacity.
    Number(u32),
    /// `0xRRGGBB`.
    Colour(u32),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Colour(colour) => write!(f, "#{colour:06x}"),
        }
    }
}

impl MaskRule {
    /// The classes `[H, W]` of a mask: 0 to N-1, or [`IGNORE`]. The error is the first value that has
    /// none.
    ///
    /// # Errors
    /// A value that this rule does not know, for people.
    pub fn classes(&self, labels: &Labels) -> Result<Vec<u8>, String> {
        let of = |value: Value| self.class(value).ok_or_else(|| value.to_string());
        if let (true, Some(opacity)) = (self.alpha, labels.opacity) {
            return Ok(vec![of(Value::Number(opacity))?; labels.values.len()]);
        }
        let is_colour = labels.kind == LabelKind::Colour;
        let value = if is_colour {
            Value::Colour
        } else {
            Value::Number
        };
        labels.values.iter().map(|&it| of(value(it))).collect()
    }

    fn class(&self, value: Value) -> Option<u8> {
        match (&self.table, value) {
            (Table::Half(white), Value::Number(value)) => Some(u8::from(value > white / 2)),
            (Table::NotZero, Value::Number(value)) => Some(u8::from(value != 0)),
            (Table::Numbers(classes), Value::Number(value)) => classes.get(&value).copied(),
            (Table::Colours(classes), Value::Colour(colour)) => classes.get(&colour).copied(),
            (Table::Colours(classes), Value::Number(gray @ 0..=255)) => {
                classes.get(&(gray * 0x01_01_01)).copied()
            }
            _ => None,
        }
    }

    /// The rule that ignores these values of a configuration as well, in masks counted by `tally`; `None` if
    /// values of smooth edges should be ignored, which have no class of their own.
    #[must_use]
    pub fn ignoring(mut self, ignored: &[Value], tally: &Tally) -> Option<Self> {
        if ignored.is_empty() {
            return Some(self);
        }
        let mut values = tally.values(self.alpha);
        let has_colours = values.keys().any(|it| matches!(it, Value::Colour(_)));
        let ignored = ignored.iter().map(|&it| tally.as_held(it, has_colours));
        let ignored: Vec<Value> = ignored.collect();
        values.retain(|value, _| !ignored.contains(value));
        self.ignore(&ignored, &values).then_some(self)
    }

    /// Ignores these values from now on; `values` are the others that masks hold. Returns whether that
    /// can be: values of smooth edges have no class of their own.
    fn ignore(&mut self, ignored: &[Value], values: &BTreeMap<Value, Count>) -> bool {
        let has_colours = matches!(self.table, Table::Colours(_));
        if self.table == Table::NotZero {
            let number = |value: &Value| match *value {
                Value::Number(it) => Some((it, u8::from(it != 0))),
                Value::Colour(_) => None,
            };
            self.table = Table::Numbers(values.keys().filter_map(number).collect());
        }
        let (Table::Numbers(classes) | Table::Colours(classes)) = &mut self.table else {
            return false;
        };
        for value in ignored {
            match *value {
                Value::Number(it) if !has_colours => classes.insert(it, IGNORE),
                Value::Colour(it) if has_colours => classes.insert(it, IGNORE),
                // The masks hold no such value.
                _ => None,
            };
        }
        true
    }

    /// Whether this rule reads the masks counted by `tally` as it read those it was decided from.
    pub fn knows(&self, tally: &Tally) -> bool {
        let is_exact = match self.table {
            // Their values alone do not show that they are of the same kind.
            Table::Half(white) => return tally.smooth_white() == Some(white),
            Table::NotZero => return false,
            Table::Numbers(_) | Table::Colours(_) => tally.is_exact(),
        };
        let values = tally.values(self.alpha);
        is_exact && values.keys().all(|&value| self.class(value).is_some())
    }

    /// Whether the other rule reads every mask in the same way.
    pub fn reads_as(&self, other: &Self) -> bool {
        (self.num_classes, &self.table, self.alpha)
            == (other.num_classes, &other.table, other.alpha)
    }

    /// Why masks counted by `tally` cannot be read by this rule.
    pub fn unknown(&self, tally: &Tally) -> Undecided {
        let mut values = tally.values(self.alpha);
        values.retain(|&value, _| self.class(value).is_none());
        Undecided {
            reason: "the masks have other values than those of training".to_owned(),
            values: tally.listed(&values),
            advice: "score on masks whose classes have the values that they had in training, or leave these out with \
                     `--ignore`"
                .to_owned(),
        }
    }

    /// What the masks counted by `tally` hold by this rule.
    pub fn shares(&self, tally: &Tally) -> Shares {
        let mut shares = Shares {
            pixels: vec![0; self.num_classes.max(2)],
            ..Shares::default()
        };
        for (value, count) in tally.values(self.alpha) {
            match self.class(value) {
                Some(IGNORE) | None => shares.ignored += count.pixels,
                Some(class) => shares.pixels[usize::from(class)] += count.pixels,
            }
            match self.class(value) {
                Some(0) => shares.empty += count.alone,
                Some(1) if self.num_classes == 1 => shares.full += count.alone,
                _ => {}
            }
        }
        shares
    }

    /// A class for people: its name, or what it is without one.
    pub fn name_of(&self, class: usize) -> String {
        let value = |classes: &BTreeMap<u32, u8>| {
            let mut classes = classes.iter();
            classes.find_map(|(&value, &it)| (usize::from(it) == class).then_some(value))
        };
        match (self.names.get(class), &self.table) {
            (Some(name), _) => format!("`{name}`"),
            (None, _) if self.num_classes == 1 && class == 0 => "background".to_owned(),
            (None, _) if self.num_classes == 1 => "foreground".to_owned(),
            (None, Table::Colours(classes)) => {
                value(classes).map_or_else(String::new, |colour| Value::Colour(colour).to_string())
            }
            (None, Table::Numbers(classes)) if self.kind == MaskKind::Numbers => {
                value(classes).map_or_else(String::new, |value| format!("value {value}"))
            }
            (None, _) if class == 0 => "background".to_owned(),
            (None, _) => format!("class {class}"),
        }
    }

    /// Values that are ignored.
    pub fn ignored(&self) -> Vec<Value> {
        let (classes, value): (_, fn(u32) -> Value) = match &self.table {
            Table::Numbers(classes) => (classes, Value::Number),
            Table::Colours(classes) => (classes, Value::Colour),
            Table::Half(_) | Table::NotZero => return Vec::new(),
        };
        let ignored = classes.iter().filter(|&(_, &class)| class == IGNORE);
        ignored.map(|(&it, _)| value(it)).collect()
    }

    /// The colour of each class, 256 times RGB: as masks have them if their classes are colours, and
    /// otherwise those of PASCAL VOC.
    pub fn palette(&self) -> Vec<u8> {
        let mut palette = voc_palette();
        if let Table::Colours(classes) = &self.table {
            let (entries, _) = palette.as_chunks_mut::<3>();
            for (colour, &class) in classes {
                let [_, rgb @ ..] = colour.to_be_bytes();
                entries[usize::from(class)] = rgb;
            }
        }
        palette
    }

    /// The colour of a class, if masks have colours that are seen on a picture: gray levels of a few classes are all black.
    pub fn colour_of(&self, class: u8) -> Option<[u8; 3]> {
        const SEEN: u8 = 64;
        let Table::Colours(classes) = &self.table else {
            return None;
        };
        let rgb = |colour: u32| {
            let [_, rgb @ ..] = colour.to_be_bytes();
            rgb
        };
        let are_seen = classes.iter().all(|(&colour, &class)| {
            matches!(class, 0 | IGNORE) || rgb(colour).into_iter().any(|it| it >= SEEN)
        });
        let (&colour, _) = classes.iter().find(|(_, it)| **it == class)?;
        are_seen.then(|| rgb(colour))
    }

    /// Whether every class of the table is one of `num_classes`: a rule from a file may claim anything.
    pub fn is_sound(&self) -> bool {
        let num = self.num_classes.max(2);
        let sound = |&class: &u8| class == IGNORE || usize::from(class) < num;
        let table = match &self.table {
            Table::Numbers(classes) | Table::Colours(classes) => classes.values().all(sound),
            Table::Half(_) | Table::NotZero => true,
        };
        (1..=usize::from(IGNORE)).contains(&self.num_classes) && table
    }
}

/// What masks hold, by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Pixels of each class, at least two.
    pub pixels: Vec<u64>,
    /// Pixels that are ignored.
    pub ignored: u64,
    /// Number of masks of one value, which is background.
    pub empty: u64,
    /// Number of masks of one value, which is the only foreground.
    pub full: u64,
}

impl Shares {
    /// Share of the pixels that count and are not background, 0 to 1.
    pub fn foreground(&self) -> f64 {
        let all: u64 = self.pixels.iter().sum();
        let background = self.pixels.first().copied().unwrap_or(0);
        (all - background) as f64 / all.max(1) as f64
    }
}
