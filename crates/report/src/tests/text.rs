//! The text of a page, which is parsed as XML, so that each tag is closed.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// Elements that end a line.
const BLOCKS: [&str; 15] = [
    "p",
    "li",
    "tr",
    "h1",
    "h2",
    "h3",
    "figcaption",
    "dt",
    "dd",
    "title",
    "desc",
    "summary",
    "pre",
    "a",
    "img",
];

/// The lines that a person reads, with the descriptions of the charts and without their labels.
///
/// # Panics
/// If the page is not well-formed.
pub(super) fn of(page: &str) -> String {
    let mut reader = Reader::from_str(page);
    let (mut open, mut text) = (Vec::new(), String::new());
    loop {
        let event = reader.read_event().unwrap();
        let is_hidden = open.iter().any(|it| it == "style")
            || open
                .iter()
                .any(|it| it == "text" || it == "rect" || it == "circle");
        match event {
            Event::Start(tag) => open.push(tag.name().as_ref().to_owned()),
            Event::End(tag) => {
                let name = open.pop().unwrap();
                assert_eq!(tag.name().as_ref(), name);
                if BLOCKS.contains(&name.as_str()) && !text.ends_with('\n') {
                    text.push('\n');
                } else if (name == "td" || name == "th") && !text.ends_with(' ') {
                    text.push_str(" | ");
                }
            }
            Event::Text(it) if !is_hidden => {
                text.push_str(&it.replace('\n', ""));
            }
            Event::GeneralRef(it) if !is_hidden => match it.resolve_char_ref().unwrap() {
                Some(letter) => text.push(letter),
                None => text.push_str(resolve_predefined_entity(&it).unwrap()),
            },
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?} is not closed");
    text
}
