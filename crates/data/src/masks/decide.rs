//! Decides what the values of a set of masks mean.

use std::collections::BTreeMap;
use std::fmt;

use super::tally::{Count, Tally, VOID};
use super::{IGNORE, MaskKind, MaskRule, Table, Value, known};

/// Numbers below this are class indices, even with gaps between them.
const MAX_INDEX: u32 = 64;
/// From this many different numbers on, single regions are objects and not classes.
const MANY: u64 = 20;

/// What the caller knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Classes that were asked for; `None` leaves them to the masks.
    pub num_classes: Option<usize>,
}

/// Masks whose meaning cannot be told from their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// Why.
    pub reason: String,
    /// The values, their shares and files; one line each.
    pub values: Vec<String>,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        for line in &self.values {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl Tally {
    /// The rule for these masks.
    ///
    /// # Errors
    /// [`Undecided`] if their values have more than one meaning, or not the one that was asked for.
    pub fn decide(&self, request: &Request) -> Result<MaskRule, Undecided> {
        let values = self.values(self.alpha.is_some());
        let refused = |reason: String, advice: &str| Undecided {
            reason,
            values: self.listed(&values),
            advice: advice.to_owned(),
        };
        if let Some(path) = &self.picture {
            let path = path.display();
            return Err(refused(
                format!("masks such as `{path}` have more than 65536 different values"),
                "these look like photographs or probability maps: threshold them first",
            ));
        }
        let is_binary = request.num_classes.is_none_or(|num| num <= 1);
        if let Some(path) = &self.lossy {
            let path = path.display();
            let white = self.smooth_white().filter(|_| is_binary);
            let rule = white.map(|white| self.one_class(MaskKind::Smooth, Table::Half(white)));
            return rule.ok_or_else(|| {
                refused(
                    format!(
                        "mask `{path}` is not in a lossless format (PNG, TIFF, BMP, GIF or lossless \
                         WebP), and not all masks are black and white"
                    ),
                    "save masks as PNG: JPEG and lossy WebP change the values along every edge",
                )
            });
        }
        if let Some([first, second]) = &self.palettes {
            let (first, second) = (first.display(), second.display());
            return Err(refused(
                format!("the palettes of masks `{first}` and `{second}` differ"),
                "save all masks with one palette, or as colours",
            ));
        }
        let has_colours = values.keys().any(|it| matches!(it, Value::Colour(_)));
        let rule = if !has_colours {
            self.numbers(&values, request)
        } else if self.grays_are_colours() {
            self.colours(&values, request)
        } else {
            Err(refused(
                "some masks have colours, and others indices or more than 8 bits".to_owned(),
                "save all masks in one of these forms",
            ))
        }?;
        match request.num_classes {
            Some(num) if num.max(1) != rule.num_classes => Err(refused(
                format!(
                    "{num} class(es) were asked for, and the masks have {} ({})",
                    rule.num_classes, rule.kind
                ),
                &format!("pass `--classes {}`, or leave it out", rule.num_classes),
            )),
            _ => Ok(rule),
        }
    }

    fn numbers(
        &self,
        values: &BTreeMap<Value, Count>,
        request: &Request,
    ) -> Result<MaskRule, Undecided> {
        let numbers: Vec<u32> = values
            .keys()
            .filter_map(|it| match it {
                Value::Number(value) => Some(*value),
                Value::Colour(_) => None,
            })
            .collect();
        let (void, classes): (Vec<u32>, Vec<u32>) = numbers
            .iter()
            .partition(|&&value| value == VOID && self.num_with_void > 0);
        let refused = |advice: String| Undecided {
            reason: format!(
                "the masks hold {} different values, whose meaning is not clear",
                numbers.len()
            ),
            values: self.listed(values),
            advice,
        };
        if let Some(num) = request.num_classes.filter(|&num| num > 1) {
            let rule = self.several(&numbers, &classes, &void, num);
            let held = numbers.len();
            return rule.ok_or_else(|| Undecided {
                reason: format!(
                    "{num} classes were asked for, and the masks hold {held} different values"
                ),
                ..refused(format!("pass `--classes {held}`, or leave it out"))
            });
        }
        match numbers[..] {
            [] => {
                return Err(Undecided {
                    reason: "there are no masks".to_owned(),
                    ..refused("add masks".to_owned())
                });
            }
            [0] => return Ok(self.of_numbers(MaskKind::Constant(0), &[0], &[], 1)),
            [value] => {
                return Ok(self.of_numbers(MaskKind::Constant(value), &[0, value], &[], 1));
            }
            [background, foreground] => {
                let kind = MaskKind::TwoValues(background, foreground);
                return Ok(self.of_numbers(kind, &numbers, &[], 1));
            }
            _ => {}
        }
        if let Some(white) = self.smooth_white() {
            return Ok(self.one_class(MaskKind::Smooth, Table::Half(white)));
        }
        let objects = &self.objects;
        let is_one = request.num_classes.is_some();
        let highest = classes.last().copied().unwrap_or(0);
        if objects.are_regions() && void.is_empty() {
            if is_one || objects.most > MANY && highest >= MAX_INDEX {
                return Ok(self.one_class(MaskKind::Instances, Table::NotZero));
            }
            if objects.are_counted() || objects.most > MANY {
                return Err(refused(format!(
                    "if each number is an object, pass `--classes 1`; if each is a class, `--classes {}`",
                    highest + 1
                )));
            }
        }
        let is_dense = classes.iter().copied().eq((0..).take(classes.len()));
        // Two classes are one foreground.
        let num = if classes.len() == 2 { 1 } else { classes.len() };
        if highest >= MAX_INDEX {
            return Err(refused(self.advice(numbers.len())));
        }
        let kind = if is_dense {
            MaskKind::Indices
        } else {
            MaskKind::Numbers
        };
        Ok(self.of_numbers(kind, &classes, &void, num))
    }

    /// `num` classes, if these numbers can be that many.
    fn several(
        &self,
        numbers: &[u32],
        classes: &[u32],
        void: &[u32],
        num: usize,
    ) -> Option<MaskRule> {
        let is_index = |value: Option<&u32>| value.is_none_or(|&it| (it as usize) < num);
        let indices: Vec<u32> = (0..).take(num).collect();
        if is_index(numbers.last()) {
            Some(self.of_numbers(MaskKind::Indices, &indices, &[], num))
        } else if numbers.len() == num {
            Some(self.of_numbers(MaskKind::Numbers, numbers, &[], num))
        } else if is_index(classes.last()) {
            Some(self.of_numbers(MaskKind::Indices, &indices, void, num))
        } else if classes.len() == num {
            Some(self.of_numbers(MaskKind::Numbers, classes, void, num))
        } else {
            None
        }
    }

    fn advice(&self, num: usize) -> String {
        if num >= usize::from(IGNORE) {
            "these look like photographs or probability maps: threshold them first".to_owned()
        } else if self.objects.most <= 1 {
            format!(
                "if they are one foreground, give it one value; if each is a class, pass `--classes {num}`"
            )
        } else {
            format!("if each is a class, pass `--classes {num}`")
        }
    }

    fn colours(
        &self,
        values: &BTreeMap<Value, Count>,
        request: &Request,
    ) -> Result<MaskRule, Undecided> {
        let mut pixels: BTreeMap<u32, u64> = BTreeMap::new();
        for (value, count) in values {
            let colour = match *value {
                Value::Colour(colour) => colour,
                Value::Number(gray) => gray.saturating_mul(0x01_01_01),
            };
            *pixels.entry(colour).or_default() += count.pixels;
        }
        let colours = by_background(&pixels);
        let rule = |num_classes, names, classes| MaskRule {
            kind: MaskKind::Colours,
            num_classes,
            names,
            table: Table::Colours(classes),
            alpha: self.alpha.is_some(),
        };
        let in_order = || colours.iter().copied().zip(0..).collect();
        let asked = request.num_classes;
        if asked == Some(colours.len()) && colours.len() > 1 {
            return Ok(rule(colours.len(), Vec::new(), in_order()));
        }
        if let [_, _] = colours[..] {
            return Ok(rule(1, Vec::new(), in_order()));
        }
        let voc = |&colour: &u32| {
            let class =
                known::voc(colour).or_else(|| (colour == known::VOC_VOID).then_some(IGNORE));
            Some((colour, class?))
        };
        if let Some(classes) = colours.iter().map(voc).collect::<Option<BTreeMap<_, _>>>() {
            let highest = classes.values().filter(|&&class| class != IGNORE).max();
            let num = highest
                .map_or(2, |&it| usize::from(it) + 1)
                .max(asked.unwrap_or(2));
            return Ok(rule(num, known::voc_names(num), classes));
        }
        Err(Undecided {
            reason: format!("the masks hold {} different colours", colours.len()),
            values: self.listed(values),
            advice: format!("if each is a class, pass `--classes {}`", colours.len()),
        })
    }

    fn one_class(&self, kind: MaskKind, table: Table) -> MaskRule {
        MaskRule {
            kind,
            num_classes: 1,
            names: Vec::new(),
            table,
            alpha: self.alpha.is_some(),
        }
    }

    /// Each of `numbers` is a class.
    fn of_numbers(
        &self,
        kind: MaskKind,
        numbers: &[u32],
        void: &[u32],
        num_classes: usize,
    ) -> MaskRule {
        let classes = numbers.iter().copied().zip(0..);
        let ignored = void.iter().map(|&value| (value, IGNORE));
        MaskRule {
            num_classes,
            ..self.one_class(kind, Table::Numbers(classes.chain(ignored).collect()))
        }
    }
}

/// The colours in order, but the background first: black, or else the most frequent.
fn by_background(pixels: &BTreeMap<u32, u64>) -> Vec<u32> {
    let black = pixels.contains_key(&0).then_some(0);
    let most = || pixels.iter().max_by_key(|(_, pixels)| **pixels);
    let background = black.or_else(|| most().map(|(&colour, _)| colour));
    let others = pixels.keys().copied().filter(|&it| Some(it) != background);
    background.into_iter().chain(others).collect()
}
