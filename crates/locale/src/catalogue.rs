//! The catalogue of a language: messages and their translations.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::message::{Message, Value};

/// The translations into Japanese.
pub(crate) const JAPANESE: &str = include_str!("../ja.po");

/// Messages and their translations.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Messages without places.
    fixed: HashMap<String, String>,
    /// Messages with places, those with more text first.
    with_places: Vec<(Message, Message)>,
}

/// A text in a context, as gettext joins them.
fn in_context(context: &str, text: &str) -> String {
    format!("{context}\u{4}{text}")
}

/// The Japanese catalogue, read when it is first used.
pub(crate) fn japanese() -> &'static Catalogue {
    static READ: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read(JAPANESE));
    &READ
}

impl Catalogue {
    /// Reads a PO file. One that cannot be read holds nothing, so that the program speaks English; a test reads ours.
    pub(crate) fn read(po: &str) -> Self {
        let mut all = Self::default();
        let Ok(file) = polib::po_file::parse_from_reader(po.as_bytes()) else {
            return all;
        };
        for entry in file.messages().filter(|it| it.is_translated()) {
            let (english, other) = (entry.msgid(), entry.msgstr().unwrap_or_default());
            if english.contains(['{', '}']) {
                let pair = (Message::parse(english), Message::parse(other));
                all.with_places.push(pair);
            } else {
                let key = entry
                    .msgctxt()
                    .map_or_else(|| english.to_owned(), |it| in_context(it, english));
                all.fixed.insert(key, other.to_owned());
            }
        }
        let len = |(message, _): &(Message, Message)| std::cmp::Reverse(message.len_of_text());
        all.with_places.sort_by_key(len);
        all
    }

    /// The translation of a word in a context, or else in any.
    pub(crate) fn word(&self, context: &str, text: &str) -> Option<&str> {
        let found = self.fixed(&in_context(context, text));
        found.or_else(|| self.fixed(text))
    }

    /// The translation of a message without places.
    pub(crate) fn fixed(&self, text: &str) -> Option<&str> {
        self.fixed.get(text).map(String::as_str)
    }

    /// The translation of a text that is one message, with the values in it translated by `of_value` where that knows
    /// them. Only messages that `may_be` it are tried.
    pub(crate) fn find(
        &self,
        text: &str,
        may_be: &dyn Fn(&Message) -> bool,
        of_value: &dyn Fn(&str) -> Option<String>,
    ) -> Option<String> {
        if let Some(found) = self.fixed(text) {
            return Some(found.to_owned());
        }
        let with_places = self.with_places.iter();
        let with_places = with_places.filter(|(english, _)| may_be(english));
        let said = with_places.filter_map(|(english, other)| {
            let values = english.values(text, &|part| self.is_known(part))?;
            let mut said = Vec::with_capacity(values.len());
            for Value {
                name,
                text,
                is_code,
            } in values
            {
                let known = if is_code { None } else { of_value(text) };
                // A message of few words fits much that it was not written for.
                let fits_by_chance = english.is_short() && num_words(text) > 0;
                // What is before a colon is no part of the value that begins a message.
                let holds_start =
                    said.is_empty() && !english.begins_with_text() && text.contains(": ");
                if known.is_none() && !is_code && (fits_by_chance || holds_start) {
                    return None;
                }
                said.push((name, known.unwrap_or_else(|| text.to_owned())));
            }
            Some(other.filled(&said))
        });
        least_english(said)
    }

    /// Whether a text is one message and begins as that does.
    fn is_known(&self, text: &str) -> bool {
        let with_places = self.with_places.iter();
        let messages = with_places.filter(|(english, _)| english.begins_with_text());
        let is_one = |text: &str| {
            let is_that =
                |(english, _): &(Message, Message)| english.values(text, &|_| false).is_some();
            self.fixed.contains_key(text) || messages.clone().any(is_that)
        };
        // What joins it may belong to it.
        is_one(text) || is_one(text.trim_start_matches([' ', ';', ',', ':', '(']))
    }
}

/// The first of the translations that leave the fewest words English.
pub(crate) fn least_english(said: impl Iterator<Item = String>) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for said in said {
        let left = num_words(&said);
        if best.as_ref().is_none_or(|(least, _)| left < *least) {
            best = Some((left, said));
        }
        if left == 0 {
            break;
        }
    }
    best.map(|(_, said)| said)
}

/// English words in a text, without names, numbers and code.
pub(crate) fn num_words(text: &str) -> usize {
    // Values of settings, parts of data, and how command lines begin.
    const NAMES: [&str; 16] = [
        "off",
        "selective",
        "block",
        "stage",
        "mixed",
        "auto",
        "split",
        "train",
        "val",
        "test",
        "snug",
        "advisor",
        "cargo",
        "xtask",
        "cuda",
        "cpu",
    ];
    let words = text.split('`').step_by(2);
    let words = words.flat_map(|it| it.split(|it: char| it == ' ' || it == ',' || !it.is_ascii()));
    words
        .filter(|it| it.len() > 2 && !NAMES.contains(it))
        .filter(|it| it.bytes().all(|it| it.is_ascii_lowercase()))
        .count()
}
