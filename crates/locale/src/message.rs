//! A message: literal text with places for values, as in `format!`.

use std::fmt::Write as _;

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place { name: String, takes: Takes },
}

/// What can stand in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// A number with digits after the point.
    Number,
    /// Part of what stands between backticks.
    Code,
    /// Anything within a column, with code as a whole.
    Text,
}

/// A message as it stands in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pieces: Vec<Piece>,
}

/// What stands in a place of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    /// Whether it is quoted.
    pub(crate) is_code: bool,
}

impl Message {
    /// Reads a format string. Places without a name are numbered.
    pub(crate) fn parse(format: &str) -> Self {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut num_unnamed = 0;
        let mut is_code = false;
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let place = &rest[at..];
            if place.starts_with("{{") || place.starts_with("}}") {
                text.push_str(&place[..1]);
                rest = &place[2..];
                continue;
            }
            let end = place.find('}').filter(|end| is_place(&place[..*end]));
            let Some(end) = end else {
                text.push_str(&place[..1]);
                rest = &place[1..];
                continue;
            };
            let (name, spec) = place[1..end]
                .split_once(':')
                .unwrap_or((&place[1..end], ""));
            let name = if name.is_empty() {
                num_unnamed += 1;
                (num_unnamed - 1).to_string()
            } else {
                name.to_owned()
            };
            is_code ^= text.matches('`').count() % 2 == 1;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            let is_number = spec.contains('.') || spec.ends_with('e') || spec.starts_with('+');
            let takes = match (is_number, is_code) {
                (true, _) => Takes::Number,
                (false, true) => Takes::Code,
                (false, false) => Takes::Text,
            };
            pieces.push(Piece::Place { name, takes });
            rest = &place[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Self { pieces }
    }

    /// Whether its text is a word or two.
    pub(crate) fn is_short(&self) -> bool {
        // A label may have anything after it.
        if let [Piece::Text(label), Piece::Place { .. }] = &self.pieces[..]
            && label.ends_with(": ")
        {
            return false;
        }
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Place { .. } => None,
        });
        texts
            .flat_map(|it| it.bytes())
            .filter(u8::is_ascii_alphabetic)
            .count()
            < 12
    }

    /// Bytes of literal text: of two messages that fit, the one with more of it says more about the text.
    pub(crate) fn len_of_text(&self) -> usize {
        let lens = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Place { .. } => 0,
        });
        lens.sum()
    }

    /// Whether no place comes first.
    pub(crate) fn begins_with_text(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(_)))
    }

    /// Whether it ends with a full stop.
    pub(crate) fn ends_with_stop(&self) -> bool {
        matches!(self.pieces.last(), Some(Piece::Text(text)) if text.ends_with('.'))
    }

    /// The names of its places.
    #[cfg(test)]
    pub(crate) fn places(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Place { name, .. } => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The values that make `text` of this message. Where two places touch, `is_known` tells what the second may hold.
    pub(crate) fn values<'a>(
        &'a self,
        text: &'a str,
        is_known: &dyn Fn(&str) -> bool,
    ) -> Option<Vec<Value<'a>>> {
        let mut values = Vec::new();
        fits(&self.pieces, text, is_known, &mut values).then_some(values)
    }

    /// This message with `values` in its places.
    pub(crate) fn filled(&self, values: &[(&str, String)]) -> String {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Place { name, .. } => {
                    let value = values.iter().find(|(it, _)| it == name);
                    // Writing to a `String` cannot fail.
                    let _ = write!(filled, "{}", value.map_or("", |(_, value)| value));
                }
            }
        }
        filled
    }
}

/// Whether `pieces` can be `text`. Pushes the values of the places.
fn fits<'a>(
    pieces: &'a [Piece],
    text: &'a str,
    is_known: &dyn Fn(&str) -> bool,
    values: &mut Vec<Value<'a>>,
) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return text.is_empty();
    };
    let (name, takes) = match first {
        Piece::Text(literal) => {
            return text
                .strip_prefix(literal.as_str())
                .is_some_and(|after| fits(rest, after, is_known, values));
        }
        Piece::Place { name, takes } => (name.as_str(), *takes),
    };
    let depth = values.len();
    let mut ends_at = |end: usize, second: &dyn Fn(&str) -> bool| {
        let (value, after) = text.split_at(end);
        values.truncate(depth);
        values.push(Value {
            name,
            text: value,
            is_code: takes == Takes::Code,
        });
        takes.accepts(value)
            && fits(rest, after, is_known, values)
            && values.get(depth + 1).is_none_or(|it| second(it.text))
    };
    let any = |_: &str| true;
    match rest {
        [] => ends_at(text.len(), &any),
        [Piece::Text(next), ..] => {
            let ends = text.match_indices(next.as_str());
            ends.map(|(at, _)| at).any(|at| ends_at(at, &any))
        }
        // The second of two places that touch is a message of its own, or else empty.
        [Piece::Place { .. }, after @ ..] => {
            let starts = text.match_indices([' ', ',', ';', ':', '(']);
            let known = starts.map(|(at, _)| at);
            if { known }.any(|at| ends_at(at, &is_known)) {
                return true;
            }
            let ends: Vec<_> = match after {
                [Piece::Text(next), ..] => text
                    .match_indices(next.as_str())
                    .map(|(at, _)| at)
                    .collect(),
                _ => vec![text.len()],
            };
            ends.into_iter().any(|at| ends_at(at, &str::is_empty))
        }
    }
}

/// Whether this begins a place: `{` and a name, with a format or without.
fn is_place(text: &str) -> bool {
    let name = text
        .strip_prefix('{')
        .map(|it| it.split(':').next().unwrap_or_default());
    name.is_some_and(|it| {
        it.chars()
            .all(|it| it.is_alphanumeric() || it == '_' || it == '.')
    })
}

impl Takes {
    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Number => {
                let is_of_number = |it: char| it.is_ascii_digit() || "+-.e".contains(it);
                let word = value.trim();
                let is_number = !word.is_empty() && word.chars().all(is_of_number);
                is_number || ["NaN", "inf", "-inf"].contains(&word)
            }
            Self::Code => !value.contains('`'),
            Self::Text => {
                value.matches('`').count().is_multiple_of(2) && !value.trim().contains("  ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(message: &str, text: &str) -> Option<Vec<(String, String)>> {
        let message = Message::parse(message);
        let values = message.values(text, &|it| it == ", of which 3 are new")?;
        let pairs = values
            .iter()
            .map(|it| (it.name.to_owned(), it.text.to_owned()));
        Some(pairs.collect())
    }

    fn check(message: &str, text: &str, expected: Option<&[(&str, &str)]>) {
        let expected = expected.map(|it| {
            let owned = it
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
            owned.collect::<Vec<_>>()
        });
        assert_eq!(values(message, text), expected, "{message}: {text}");
    }

    #[test]
    fn a_finished_text_gives_its_values_back() {
        let message = "{path}: {} of {num:>3} images, {share:.1} % {{all}}";
        check(
            message,
            "a: b: 2 of  10 images, 20.0 % {all}",
            Some(&[
                ("path", "a"),
                ("0", "b: 2"),
                ("num", " 10"),
                ("share", "20.0"),
            ]),
        );
        check(message, "a: 2 of 10 images, some % {all}", None);
        check(message, "a: 2 of 10 images, 20.0 %", None);
        check("{m:.0}m{s:.0}s", "1m55s", Some(&[("m", "1"), ("s", "55")]));
        check("{m:.0}m{s:.0}s", "1030 ms", None);
        check(
            "{\"BATCH\": 8} of {a}",
            "{\"BATCH\": 8} of 3",
            Some(&[("a", "3")]),
        );
    }

    #[test]
    fn quoted_code_is_one_value() {
        let message = "`{}` is `{what}`";
        check(message, "`a` is `b` is `c`", None);
        check(message, "`a` is `b`", Some(&[("0", "a"), ("what", "b")]));
    }

    #[test]
    fn of_two_places_that_touch_the_second_holds_a_message() {
        let text = "it has 5, 6, of which 3 are new";
        let both = Some(&[("num", "5, 6"), ("more", ", of which 3 are new")][..]);
        check("it has {} images{more}", text, None);
        check("it has {num}{more}", text, both);
        check("it has {num}{more}!", &format!("{text}!"), both);
        for (message, text) in [
            ("it has {num}{more}", "it has 5, 6"),
            ("it has {num}{more}; no", "it has 5, 6; no"),
        ] {
            check(message, text, Some(&[("num", "5, 6"), ("more", "")]));
        }
    }

    #[test]
    fn values_may_stand_in_another_order() {
        let filled = Message::parse("{b}の{a}").filled(&[("a", "1".into()), ("b", "2".into())]);
        assert_eq!(filled, "2の1");
    }
}
