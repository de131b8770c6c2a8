//! Translation of a finished text: lines, columns, messages, and what they are joined of.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use unicode_width::UnicodeWidthStr as _;

use crate::catalogue::{Catalogue, least_english};
use crate::message::Message;
use crate::table;

/// What joins messages, and what does in Japanese.
const JOINTS: [(&str, &str); 5] = [
    (". ", "。"),
    ("; ", "。"),
    (": ", ": "),
    (" (", "（"),
    (", ", "、"),
];

/// Those of them that separate what can stand on its own. In Japanese, they are the same.
const STOPS: [&str; 2] = [". ", "; "];

/// With more joints than these, not every way to take a text apart is tried.
const LONGEST: usize = 12;

/// `text` in the language of `catalogue`.
pub(crate) fn translated<'a>(catalogue: &Catalogue, text: &'a str) -> Cow<'a, str> {
    // What is for programs stays.
    if text.starts_with(['{', '[']) {
        return Cow::Borrowed(text);
    }
    let translator = Translator {
        catalogue,
        seen: RefCell::default(),
    };
    let lines: Vec<_> = text.split('\n').collect();
    let mut said: Vec<Cow<'a, str>> = Vec::with_capacity(lines.len());
    // Lines with columns that follow each other are a table.
    for part in lines.chunk_by(|one, other| has_columns(one) && has_columns(other)) {
        match translator.table(part) {
            Some(table) => said.extend(table.into_iter().map(Cow::Owned)),
            None => said.extend(part.iter().map(|it| translator.line(it))),
        }
    }
    if said.iter().all(|it| matches!(it, Cow::Borrowed(_))) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(said.join("\n"))
}

fn has_columns(line: &str) -> bool {
    line.trim().contains("  ")
}

struct Translator<'a> {
    catalogue: &'a Catalogue,
    /// What became of parts: a joint that is tried after another meets the same ones again.
    seen: RefCell<HashMap<String, Option<String>>>,
}

impl Translator<'_> {
    /// A line: one message, or columns.
    fn line<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let words = text.trim();
        let found = if words.contains("  ") {
            let indent = &text[..text.len() - text.trim_start().len()];
            let whole = self.whole(words).map(|it| format!("{indent}{it}"));
            whole.or_else(|| self.columns(text))
        } else {
            self.part(text)
        };
        found.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Lines with columns, if one of their cells is known and none is a message as a whole.
    fn table(&self, lines: &[&str]) -> Option<Vec<String>> {
        if lines.len() < 2 || lines.iter().any(|it| self.message(it.trim()).is_some()) {
            return None;
        }
        let is_known = Cell::new(false);
        let of_cell = |cell: &str| {
            let found = self.part(cell);
            is_known.set(is_known.get() || found.is_some());
            found.unwrap_or_else(|| cell.to_owned())
        };
        table::relaid(lines, &of_cell).filter(|_| is_known.get())
    }

    /// Columns, which two spaces or more keep apart. A translation takes the width of what it replaces, and of the
    /// spaces after it, so that the next column stays where it is as long as there is room.
    fn columns(&self, text: &str) -> Option<String> {
        let mut line = String::new();
        let mut is_changed = false;
        let mut rest = text;
        // Where the next column begins in the English line.
        let mut column = 0;
        while !rest.is_empty() {
            let end = rest.find("  ").unwrap_or(rest.len());
            let (cell, after) = rest.split_at(end);
            let gap = after.len() - after.trim_start_matches(' ').len();
            let found = self.part(cell);
            is_changed |= found.is_some();
            line.push_str(found.as_deref().unwrap_or(cell));
            rest = &after[gap..];
            column += cell.width() + gap;
            if !rest.is_empty() {
                let missing = column.saturating_sub(line.width()).max(1);
                line.push_str(&" ".repeat(missing));
            }
        }
        is_changed.then_some(line)
    }

    /// A message or several, with the space around them.
    fn part(&self, text: &str) -> Option<String> {
        let words = text.trim();
        // A list of code has no words, with numbers beside it or without.
        let mut unquoted = words.split('`').step_by(2);
        if words.contains(", `") && !unquoted.any(|it| it.contains(char::is_alphabetic)) {
            return Some(text.replace(", `", "、`"));
        }
        if !words.contains(|it: char| it.is_ascii_alphabetic()) {
            return None;
        }
        let known = self.seen.borrow().get(words).cloned();
        let found = known.unwrap_or_else(|| {
            let found = self.best(words);
            self.seen
                .borrow_mut()
                .insert(words.to_owned(), found.clone());
            found
        })?;
        let start = text.len() - text.trim_start().len();
        // Japanese punctuation needs no space beside it.
        let before = if found.starts_with(['（', '、', '。']) {
            ""
        } else {
            &text[..start]
        };
        let after = if found.ends_with(['。', '、']) {
            ""
        } else {
            &text[start + words.len()..]
        };
        Some(format!("{before}{found}{after}"))
    }

    /// One message, or several, whichever leaves the least English.
    fn best(&self, text: &str) -> Option<String> {
        if let Some(found) = self.catalogue.fixed(text) {
            return Some(found.to_owned());
        }
        // A place of a message would also take the messages after it.
        let ways: [&dyn Fn() -> Option<String>; 3] =
            [&|| self.messages(text), &|| self.message(text), &|| {
                self.joined(text)
            }];
        least_english(ways.iter().filter_map(|it| it()))
    }

    /// One message, or several of which each is known.
    fn whole(&self, text: &str) -> Option<String> {
        let fixed = self.catalogue.fixed(text).map(str::to_owned);
        fixed
            .or_else(|| self.messages(text))
            .or_else(|| self.message(text))
    }

    /// Two messages or more, all of them known.
    fn messages(&self, text: &str) -> Option<String> {
        STOPS.iter().find_map(|stop| {
            let mut lefts = text.match_indices(stop).filter_map(|(at, _)| {
                // A full stop may belong to a message.
                let left = &text[..at + usize::from(*stop == ". ")];
                let is_quoted = left.matches('`').count() % 2 == 1;
                let said = (!is_quoted).then(|| self.message(left)).flatten()?;
                Some((said, at))
            });
            let (left, at) = lefts.next()?;
            let right = &text[at + stop.len()..];
            let right = self.messages(right).or_else(|| self.message(right))?;
            Some(format!("{}。{right}", left.trim_end_matches('。')))
        })
    }

    /// One message, which may have become a sentence.
    fn message(&self, text: &str) -> Option<String> {
        // What begins a line, such as `note: `.
        if let Some((start, rest)) = text.split_once(": ")
            && let Some(start) = self.catalogue.fixed(&format!("{start}: "))
        {
            let rest = self.part(rest).unwrap_or_else(|| rest.to_owned());
            return Some(format!("{start}{rest}"));
        }
        let of_value = |value: &str| self.part(value);
        if let Some(found) = self.catalogue.fixed(text) {
            return Some(found.to_owned());
        }
        let first = text.chars().next()?;
        let find = |text: &str, is_stopped: bool| {
            // What was a capital may be the first letter of a value.
            let begins_alike = text.starts_with(first);
            let may_be = |it: &Message| {
                (begins_alike || it.begins_with_text()) && (!is_stopped || it.ends_with_stop())
            };
            self.catalogue.find(text, &may_be, &of_value)
        };
        let lower = format!(
            "{}{}",
            first.to_ascii_lowercase(),
            &text[first.len_utf8()..]
        );
        let is_upper = first.is_ascii_uppercase();
        // What became a sentence has a capital and a full stop, which no place may take.
        [lower.as_str(), text][usize::from(!is_upper)..]
            .iter()
            .find_map(|text| {
                let stopped = text.strip_suffix('.').filter(|it| !it.ends_with('.'));
                let Some(words) = stopped else {
                    return find(text, false);
                };
                let fixed = self.catalogue.fixed(words).map(|it| format!("{it}。"));
                fixed
                    .or_else(|| find(text, true))
                    .or_else(|| Some(format!("{}。", find(words, false)?)))
                    .or_else(|| find(text, false))
            })
    }

    /// A long list, item by item.
    fn listed(&self, text: &str) -> Option<String> {
        let items: Vec<_> = text.split(", ").collect();
        if items.len() <= LONGEST {
            return None;
        }
        let said: Vec<_> = items.iter().map(|it| self.part(it)).collect();
        if said.iter().all(Option::is_none) {
            return None;
        }
        let said = said.iter().zip(items);
        let said = said.map(|(said, item)| said.as_deref().unwrap_or(item));
        Some(said.collect::<Vec<_>>().join("、"))
    }

    /// Parts that are joined, of which at least one is known.
    fn joined(&self, text: &str) -> Option<String> {
        let num_joints: usize = JOINTS.iter().map(|(it, _)| text.matches(it).count()).sum();
        if num_joints > LONGEST {
            return self.listed(text);
        }
        let joints = JOINTS.iter().flat_map(|(joint, other)| {
            text.match_indices(joint)
                .map(move |(at, _)| (at, *joint, *other))
        });
        least_english(joints.filter_map(|(at, joint, other)| {
            let (left, right) = (&text[..at], &text[at + joint.len()..]);
            let is_quoted = left.matches('`').count() % 2 == 1;
            if is_quoted || left.is_empty() {
                return None;
            }
            let (right, end) = match right.split_once(')') {
                Some((inner, end)) if joint == " (" => (inner, Some(end)),
                _ => (right, None),
            };
            let parts = [left, right, end.unwrap_or_default()];
            let found = parts.map(|it| self.part(it));
            if found.iter().all(Option::is_none) {
                return None;
            }
            let said = |nth: usize| found[nth].as_deref().unwrap_or(parts[nth]);
            let close = if end.is_some() { "）" } else { "" };
            Some(format!("{}{other}{}{close}{}", said(0), said(1), said(2)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PO: &str = r#"msgid ""
msgstr "Language: ja\n"

msgid "{num} images of {size}"
msgstr "{size} の画像 {num} 枚"

msgid "cannot read `{path}`"
msgstr "`{path}` を読み込めません"

msgid "out of memory"
msgstr "メモリ不足"

msgid "use a smaller batch"
msgstr "バッチを小さくしてください"

msgid "step {step}: {why}"
msgstr "ステップ {step}: {why}"

msgid "{}: {y1} at {x1}, {y2} at {x2}"
msgstr "{0}: {x1}で{y1}、{x2}で{y2}"

msgid "name"
msgstr "名前"

msgid "what it is"
msgstr "内容"
"#;

    fn say(text: &str) -> String {
        translated(&Catalogue::read(PO), text).into_owned()
    }

    #[test]
    fn messages_are_found_in_what_they_were_joined_to() {
        for (english, japanese) in [
            ("out of memory", "メモリ不足"),
            (
                "name: 1 at 2, 3 at 4; what it is: 5 at 6, 7 at 8.",
                "名前: 2で1、4で3。内容: 6で5、8で7。",
            ),
            ("3 images of 8x8", "8x8 の画像 3 枚"),
            ("step 3: out of memory", "ステップ 3: メモリ不足"),
            (
                "out of memory; use a smaller batch",
                "メモリ不足。バッチを小さくしてください",
            ),
            (
                "cannot read `a; b.png`: out of memory",
                "`a; b.png` を読み込めません: メモリ不足",
            ),
            ("it failed (out of memory)", "it failed（メモリ不足）"),
            (
                "  out of memory (use a smaller batch) ",
                "  メモリ不足（バッチを小さくしてください） ",
            ),
            ("`name` out of memory", "`name` out of memory"),
            ("cannot read `name`", "`name` を読み込めません"),
            (
                "Out of memory. Use a smaller batch.",
                "メモリ不足。バッチを小さくしてください。",
            ),
            ("\n  out of memory\nelse\n", "\n  メモリ不足\nelse\n"),
            ("use a smaller batch.", "バッチを小さくしてください。"),
            (
                "`a` 1.5 %, `out of memory` 2 %",
                "`a` 1.5 %、`out of memory` 2 %",
            ),
        ] {
            assert_eq!(say(english), japanese);
        }
    }

    #[test]
    fn what_is_not_known_and_what_is_for_programs_stays() {
        for text in [
            "nothing of ours",
            r#"{"name": "name"}"#,
            "[name]",
            "3.5",
            "",
        ] {
            assert!(
                matches!(translated(&Catalogue::read(PO), text), Cow::Borrowed(it) if it == text)
            );
        }
    }

    #[test]
    fn a_long_list_is_taken_apart_once() {
        let items: Vec<_> = (0..255).map(|it| format!("class{it} 3.5 %")).collect();
        let list = format!("out of memory, {}", items.join(", "));
        let said = format!("メモリ不足、{}", items.join("、"));
        assert_eq!(say(&list), said);
    }

    #[test]
    fn columns_stay_where_they_are() {
        let table = "name  what it is     size\na     out of memory     3";
        assert_eq!(
            say(table),
            "名前  内容           size\na     メモリ不足        3"
        );
    }
}
