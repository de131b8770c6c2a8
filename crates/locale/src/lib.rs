//! The languages of everything that a person reads.
//!
//! Programs speak English inside: errors, logs, files for programs and tests know no other language. Where text leaves for
//! a person (the console, `--help`, the dashboard, the page of a run), it is looked up in the catalogue of the
//! [`Language`] that was chosen. The catalogue is `ja.po`, in the format of GNU gettext: each English text as it
//! stands in the source, `{…}` included, with its translation. [`translated`] recognizes a finished text by its
//! message, and translates what fills the places of that message as well.
//!
//! A test collects all texts from the sources and fails for one without translation.

mod catalogue;
mod message;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use unicode_width::UnicodeWidthStr as _;

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese.
    Japanese,
}

/// Whether the program speaks Japanese.
static IS_JAPANESE: AtomicBool = AtomicBool::new(false);

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Japanese];

    /// Its code, as in `--lang` and in HTML.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Japanese => "ja",
        }
    }

    /// The language with this code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.code() == code)
    }

    /// The language that the last `--lang` of a command line names, if it is one.
    fn of_words(words: &[OsString]) -> Option<Self> {
        let words = words.iter().take_while(|it| *it != "--");
        let words: Vec<_> = words.filter_map(|it| it.to_str()).collect();
        let named = words
            .iter()
            .enumerate()
            .filter_map(|(nth, word)| match *word {
                "--lang" => words.get(nth + 1).copied(),
                _ => word.strip_prefix("--lang="),
            });
        named.filter_map(Self::of_code).next_back()
    }

    /// Japanese for a locale such as `ja_JP.UTF-8`, otherwise English.
    fn of_locale(locale: Option<&str>) -> Self {
        let language = locale
            .unwrap_or_default()
            .split(['_', '.', '-', '@'])
            .next();
        language.and_then(Self::of_code).unwrap_or_default()
    }

    /// The language of `LC_ALL`, `LC_MESSAGES` or `LANG`: the first that is set. An empty variable is unset.
    fn of_environment() -> Self {
        let is_set = |name: &&str| env::var(name).ok().filter(|it| !it.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(is_set);
        Self::of_locale(locale.as_deref())
    }

    /// The language that the words of this program ask for, or else that of the environment.
    pub fn asked() -> Self {
        let words: Vec<_> = env::args_os().collect();
        Self::of_words(&words).unwrap_or_else(Self::of_environment)
    }

    /// The language of this program, English until [`Self::speak`].
    pub fn spoken() -> Self {
        if IS_JAPANESE.load(Ordering::Relaxed) {
            Self::Japanese
        } else {
            Self::English
        }
    }

    /// Makes this the language of the program.
    pub fn speak(self) {
        IS_JAPANESE.store(self == Self::Japanese, Ordering::Relaxed);
    }

    /// `text` in this language, line by line and column by column. What the catalogue does not know stays English.
    pub fn say(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::English => Cow::Borrowed(text),
            Self::Japanese => text::translated(catalogue::japanese(), text),
        }
    }

    /// A text that is written in the source, in this language. `context` says where it is shown, for a word that has
    /// another translation there.
    pub fn word(self, context: &str, text: &'static str) -> &'static str {
        match self {
            Self::English => text,
            Self::Japanese => catalogue::japanese().word(context, text).unwrap_or(text),
        }
    }
}

/// `text` in the language of this program; see [`Language::say`].
pub fn translated(text: &str) -> Cow<'_, str> {
    Language::spoken().say(text)
}

/// `text` and spaces, in at least this many columns of a terminal.
pub fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod languages {
    use super::*;

    #[test]
    fn a_locale_has_a_language() {
        for (locale, expected) in [
            (Some("ja_JP.UTF-8"), Language::Japanese),
            (Some("ja"), Language::Japanese),
            (Some("jam_JM"), Language::English),
            (Some("C.UTF-8"), Language::English),
            (Some(""), Language::English),
            (None, Language::English),
        ] {
            assert_eq!(Language::of_locale(locale), expected, "{locale:?}");
        }
    }

    #[test]
    fn the_last_language_counts() {
        for (words, expected) in [
            (&["snug", "train"][..], None),
            (&["snug", "--lang", "ja", "train"], Some(Language::Japanese)),
            (
                &["snug", "--lang", "ja", "train", "--lang=en"],
                Some(Language::English),
            ),
            (&["snug", "train", "--lang", "fr"], None),
            (&["snug", "train", "--", "--lang=ja"], None),
        ] {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            assert_eq!(Language::of_words(&words), expected, "{words:?}");
        }
    }
}
