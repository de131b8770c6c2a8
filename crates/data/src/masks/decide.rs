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
    /// Names of the classes, background first.
    pub names: Option<Vec<String>>,
    /// The value of each class, background first.
    pub values: Option<Vec<Value>>,
    /// Values that are ignored; `None` leaves them to the masks.
    pub ignore: Option<Vec<Value>>,
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
        let all = self.values(self.alpha.is_some());
        let mut values = all.clone();
        let refused = |reason: String, advice: &str| Undecided {
            reason,
            values: self.listed(&all),
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
            let is_listed = request.values.is_some() || request.ignore.is_some();
            let white = self.smooth_white().filter(|_| is_binary && !is_listed);
            let Some(white) = white else {
                return Err(refused(
                    format!(
                        "mask `{path}` is not in a lossless format (PNG, TIFF, BMP, GIF or lossless \
                         WebP), and {}",
                        if is_listed {
                            "its values are given"
                        } else {
                            "not all masks are black and white"
                        }
                    ),
                    "save masks as PNG: JPEG and lossy WebP change the values along every edge",
                ));
            };
            let rule = self.one_class(MaskKind::Smooth, Table::Half(white));
            return self.named(rule, request);
        }
        if let Some([first, second]) = &self.palettes {
            let (first, second) = (first.display(), second.display());
            return Err(refused(
                format!("the palettes of masks `{first}` and `{second}` differ"),
                "save all masks with one palette, or as colours",
            ));
        }
        let has_colours = values.keys().any(|it| matches!(it, Value::Colour(_)));
        if has_colours && !self.grays_are_colours() {
            return Err(refused(
                "some masks have colours, and others indices or more than 8 bits".to_owned(),
                "save all masks in one of these forms",
            ));
        }
        let is_free = request.ignore.is_none() && request.values.is_none();
        let void = self.void(&values, request).filter(|_| is_free);
        let ignore = request.ignore.iter().flatten();
        let ignore = ignore.map(|&it| self.as_held(it, has_colours));
        let ignore: Vec<Value> = ignore.chain(void).collect();
        values.retain(|value, _| !ignore.contains(value));
        if values.is_empty() && !ignore.is_empty() {
            let reason = "every pixel of the masks is ignored".to_owned();
            return Err(refused(reason, "ignore fewer values"));
        }
        let listed = request.values.iter().flatten();
        let mut listed = listed.map(|&it| self.as_held(it, has_colours));
        if let Some(both) = listed.find(|it| ignore.contains(it)) {
            let reason = format!("{both} is listed as a class, and to be ignored as well");
            return Err(refused(reason, "a value is either of a class or ignored"));
        }
        let mut rule = if let Some(listed) = &request.values {
            self.listed_values(listed, &values, has_colours, request.num_classes)
        } else if has_colours {
            self.colours(&values, request)
        } else {
            self.numbers(&values, request, void.is_some())
        }?;
        if !ignore.is_empty() && !rule.ignore(&ignore, &values) {
            let reason = "the masks have smooth edges, so none of their values can be ignored";
            return Err(refused(reason.to_owned(), "leave out `ignore`"));
        }
        let rule = self.named(rule, request)?;
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

    /// The rule with the names of the request.
    fn named(&self, rule: MaskRule, request: &Request) -> Result<MaskRule, Undecided> {
        let Some(names) = request.names.clone() else {
            return Ok(rule);
        };
        let num = rule.num_classes.max(2);
        if names.len() != num {
            let (listed, kind) = (names.len(), rule.kind);
            return Err(Undecided {
                reason: format!("{listed} classes have names, and the masks have {num} ({kind})"),
                values: self.listed(&self.values(self.alpha.is_some())),
                advice: "name the background as well, and every class once".to_owned(),
            });
        }
        Ok(MaskRule { names, ..rule })
    }

    fn numbers(
        &self,
        values: &BTreeMap<Value, Count>,
        request: &Request,
        has_void: bool,
    ) -> Result<MaskRule, Undecided> {
        let numbers: Vec<u32> = values
            .keys()
            .filter_map(|it| match it {
                Value::Number(value) => Some(*value),
                Value::Colour(_) => None,
            })
            .collect();
        let refused = |advice: String| Undecided {
            reason: format!(
                "the masks hold {} different values, whose meaning is not clear",
                numbers.len()
            ),
            values: self.listed(values),
            advice,
        };
        if let Some(num) = request.num_classes.filter(|&num| num > 1) {
            let rule = self.several(&numbers, num);
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
            [0] => return Ok(self.of_numbers(MaskKind::Constant(0), &[0], 1)),
            [value] => {
                return Ok(self.of_numbers(MaskKind::Constant(value), &[0, value], 1));
            }
            [background, foreground] => {
                let kind = MaskKind::TwoValues(background, foreground);
                return Ok(self.of_numbers(kind, &numbers, 1));
            }
            _ => {}
        }
        if let Some(white) = self.smooth_white() {
            return Ok(self.one_class(MaskKind::Smooth, Table::Half(white)));
        }
        let objects = &self.objects;
        let is_one = request.num_classes.is_some();
        let highest = numbers.last().copied().unwrap_or(0);
        // A void, or the white of a trimap; of 255 objects, there is one before it.
        let has_void =
            has_void || highest == VOID && self.num_with_void > 0 && !numbers.contains(&(VOID - 1));
        if objects.are_regions() && !has_void {
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
        if highest >= MAX_INDEX {
            return Err(refused(self.advice(&numbers)));
        }
        Ok(self.of_numbers(kind_of(&numbers), &numbers, numbers.len()))
    }

    /// The void of these masks, which no class has: 255 above the numbers of classes.
    fn void(&self, values: &BTreeMap<Value, Count>, request: &Request) -> Option<Value> {
        let void = Value::Number(VOID);
        let mut others = values.keys().rev().skip(1);
        let is_highest = values.keys().next_back() == Some(&void) && self.num_with_void > 0;
        let asked = request.num_classes.filter(|&num| num > 1);
        let is_class = asked == Some(values.len());
        let is_above_classes = match others.next() {
            Some(&Value::Number(highest)) => highest < MAX_INDEX || asked.is_some(),
            _ => false,
        };
        let is_void = is_highest && is_above_classes && !is_class && self.smooth_white().is_none();
        is_void.then_some(void)
    }

    /// A value of a configuration as these masks hold it.
    pub(super) fn as_held(&self, value: Value, has_colours: bool) -> Value {
        match value {
            Value::Number(gray @ 0..=255) if has_colours => Value::Colour(gray * 0x01_01_01),
            Value::Colour(colour) if !has_colours => self.number_of(colour).unwrap_or(value),
            _ => value,
        }
    }

    /// These values are the classes, and no others are.
    fn listed_values(
        &self,
        listed: &[Value],
        values: &BTreeMap<Value, Count>,
        has_colours: bool,
        num_classes: Option<usize>,
    ) -> Result<MaskRule, Undecided> {
        let mut classes = BTreeMap::new();
        let mut numbers = Vec::new();
        for (&value, class) in listed.iter().zip(0..) {
            let before = match self.as_held(value, has_colours) {
                Value::Colour(it) if has_colours => classes.insert(it, class),
                Value::Number(it) if !has_colours => {
                    numbers.push(it);
                    classes.insert(it, class)
                }
                // The masks hold no such value.
                _ => None,
            };
            if before.is_some() {
                return Err(Undecided {
                    reason: format!("{value} is listed as a class twice, in two ways"),
                    values: self.listed(values),
                    advice: "list each value once".to_owned(),
                });
            }
        }
        let (kind, table) = if has_colours {
            (MaskKind::Colours, Table::Colours(classes))
        } else {
            (kind_of(&numbers), Table::Numbers(classes))
        };
        let num = match (listed.len(), num_classes) {
            (2, None | Some(1)) => 1,
            (num, _) => num,
        };
        let rule = MaskRule {
            num_classes: num,
            ..self.one_class(kind, table)
        };
        let mut unknown = values.clone();
        unknown.retain(|&value, _| rule.class(value).is_none());
        if unknown.is_empty() {
            return Ok(rule);
        }
        Err(Undecided {
            reason: "the masks hold values that are not listed as classes".to_owned(),
            values: self.listed(&unknown),
            advice:
                "list them under `values` or `ignore` of `[classes]`, or pass `--class-values` or \
                     `--ignore`"
                    .to_owned(),
        })
    }

    /// `num` classes, if these numbers can be that many.
    fn several(&self, numbers: &[u32], num: usize) -> Option<MaskRule> {
        let indices: Vec<u32> = (0..).take(num).collect();
        if numbers.last().is_none_or(|&it| (it as usize) < num) {
            return Some(self.of_numbers(MaskKind::Indices, &indices, num));
        }
        (numbers.len() == num).then(|| self.of_numbers(MaskKind::Numbers, numbers, num))
    }

    fn advice(&self, numbers: &[u32]) -> String {
        let num = numbers.len();
        let values: Vec<Value> = numbers.iter().copied().map(Value::Number).collect();
        let table = table(&values);
        if num >= usize::from(IGNORE) {
            "these look like photographs or probability maps: threshold them first".to_owned()
        } else if self.objects.most <= 1 {
            format!(
                "if they are one foreground, give it one value; if each is a class, pass `--classes {num}`; {table}"
            )
        } else {
            format!("if each is a class, pass `--classes {num}`; {table}")
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
        if let ([_, _], None | Some(0 | 1)) = (&colours[..], asked) {
            return Ok(rule(1, Vec::new(), in_order()));
        }
        let voc = |&colour: &u32| {
            let class =
                known::voc(colour).or_else(|| (colour == known::VOC_VOID).then_some(IGNORE));
            Some((colour, class?))
        };
        if let Some(classes) = colours.iter().map(voc).collect::<Option<BTreeMap<_, _>>>() {
            let highest = classes.values().filter(|&&class| class != IGNORE).max();
            let num = highest.map_or(2, |&it| usize::from(it) + 1);
            // Fewer classes than VOC's are its colours in their order.
            if asked.is_none_or(|asked| asked >= num) {
                let num = asked.unwrap_or(num);
                return Ok(rule(num, known::voc_names(num), classes));
            }
        }
        if asked == Some(colours.len()) {
            return Ok(rule(colours.len(), Vec::new(), in_order()));
        }
        Err(Undecided {
            reason: format!("the masks hold {} different colours", colours.len()),
            values: self.listed(values),
            advice: format!(
                "if each is a class, pass `--classes {}`; {}",
                colours.len(),
                table(&values.keys().copied().collect::<Vec<_>>())
            ),
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
    fn of_numbers(&self, kind: MaskKind, numbers: &[u32], num_classes: usize) -> MaskRule {
        let classes = numbers.iter().copied().zip(0..).collect();
        MaskRule {
            num_classes,
            ..self.one_class(kind, Table::Numbers(classes))
        }
    }
}

/// How to settle what `values`, at least three, mean, with the lines of a table as an example.
fn table(values: &[Value]) -> String {
    /// More would make a long line.
    const MAX_SHOWN: usize = 6;
    let written = |value: &Value| match value {
        Value::Number(number) => number.to_string(),
        Value::Colour(_) => format!("\"{value}\""),
    };
    let list = |values: &[Value]| values.iter().map(written).collect::<Vec<_>>().join(", ");
    let lines = match values {
        [first, rest @ .., last] if values.len() <= MAX_SHOWN => format!(
            "`values = [{}]`, `ignore = [{}]`",
            list(&[*first, *last]),
            list(rest)
        ),
        _ => format!("`values = [{}, ...]`", list(&values[..values.len().min(2)])),
    };
    format!(
        "or say in a `classes.toml` in this folder which are classes and which to ignore: `[classes]`, {lines}"
    )
}

/// What classes by these numbers, at least two, are called.
fn kind_of(numbers: &[u32]) -> MaskKind {
    if let [background, foreground] = *numbers {
        MaskKind::TwoValues(background, foreground)
    } else if numbers.iter().copied().eq((0..).take(numbers.len())) {
        MaskKind::Indices
    } else {
        MaskKind::Numbers
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
