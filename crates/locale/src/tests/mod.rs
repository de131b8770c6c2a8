//! Every text of the sources has a translation, and every translation a text.

mod sources;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::catalogue::JAPANESE;
use crate::message::Message;

/// An entry of the catalogue.
struct Entry {
    english: String,
    other: String,
    /// `#. word`: no literal of its own, such as a single word or what a library says.
    is_word: bool,
    /// `#. code`: no user sees it.
    is_code: bool,
    /// `#. plural`: some of its places hold English plurals, which other languages do without.
    has_plural: bool,
}

fn entries() -> Vec<Entry> {
    let file = polib::po_file::parse_from_reader(JAPANESE.as_bytes()).unwrap();
    let entries = file.messages().map(|it| Entry {
        english: it.msgid().to_owned(),
        other: it.msgstr().unwrap().to_owned(),
        is_word: it.extracted_comments().contains("word"),
        is_code: it.extracted_comments().contains("code"),
        has_plural: it.extracted_comments().contains("plural"),
    });
    entries.collect()
}

#[test]
fn every_text_is_translated() {
    let translated: BTreeSet<_> = entries()
        .into_iter()
        .filter(|it| it.is_code || !it.other.is_empty())
        .map(|it| it.english)
        .collect();
    let mut missing = String::new();
    let mut num = 0;
    for (path, text) in sources::texts() {
        if !translated.contains(&text) {
            num += 1;
            writeln!(missing, "#: {path}\nmsgid {text:?}\nmsgstr \"\"\n").unwrap();
        }
    }
    assert_eq!(num, 0, "add to crates/locale/ja.po:\n\n{missing}");
}

#[test]
fn every_translation_is_of_a_text() {
    let texts: BTreeSet<_> = sources::texts().into_iter().map(|(_, text)| text).collect();
    assert!(texts.len() > 1_000, "only {} texts were found", texts.len());
    let gone = |it: &Entry| !it.is_word && !texts.contains(&it.english);
    let gone: Vec<_> = entries()
        .into_iter()
        .filter(gone)
        .map(|it| it.english)
        .collect();
    assert!(
        gone.is_empty(),
        "no source has these texts any more: {gone:#?}"
    );
}

#[test]
fn translations_keep_the_places() {
    for Entry {
        english,
        other,
        has_plural,
        ..
    } in entries().into_iter().filter(|it| !it.is_code)
    {
        let places = |text: &str| -> BTreeSet<String> {
            Message::parse(text).places().map(str::to_owned).collect()
        };
        let (from, to) = (places(&english), places(&other));
        assert!(
            to.is_subset(&from) && (from == to) != has_plural,
            "{english:?} and {other:?} have other places"
        );
    }
}

/// What a message with a place at its start would take along.
#[test]
fn counts_are_only_numbers() {
    for (english, japanese) in [
        (
            "left out: 4 masks of other images, by their names",
            "対象外: ほかの画像のマスク4件（名前で判断）",
        ),
        (
            "COCO: 2 images with their masks; images are hard links",
            "COCO: 画像とマスク2組（画像はハードリンク）",
        ),
        (
            "most of the saving for almost no time: 3.28 GiB (-37 %), speed (-4 %)",
            "時間をほとんど増やさずに、メモリを大きく削減: 3.28 GiB（-37 %）、速度（-4 %）",
        ),
    ] {
        assert_eq!(crate::Language::Japanese.say(english), japanese);
    }
}
