//! A finished page in another language.

use std::fmt::Write as _;

use locale::Language;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

/// Elements whose text is not prose.
const VERBATIM: [&str; 3] = ["code", "pre", "style"];
/// Attributes that are read to people.
const READ_OUT: [&str; 3] = ["alt", "aria-label", "title"];

/// `html`, a page of ours, in `language`: its text and what is read out, element by element.
///
/// # Panics
/// Never with our pages, which are well-formed XML, as a test says.
pub(super) fn translated(html: String, language: Language) -> String {
    if language == Language::English {
        return html;
    }
    let mut reader = Reader::from_str(&html);
    reader.config_mut().check_end_names = false;
    let mut writer = Writer::new(Vec::new());
    let mut verbatim = 0_usize;
    let mut text = String::new();
    loop {
        let event = reader.read_event().expect("a page of ours is well-formed");
        match &event {
            Event::Text(it) => {
                text += it;
                continue;
            }
            Event::GeneralRef(it) => {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "&{};", &**it);
                continue;
            }
            _ => {}
        }
        if !text.is_empty() {
            let said = if verbatim > 0 {
                text.clone()
            } else {
                said(&text, language)
            };
            let said = BytesText::from_escaped(said);
            writer
                .write_event(Event::Text(said))
                .expect("memory takes it");
            text.clear();
        }
        let event = match event {
            Event::Eof => break,
            Event::Start(it) => {
                verbatim += usize::from(VERBATIM.contains(&it.name().0));
                Event::Start(with_attributes(&it, language))
            }
            Event::Empty(it) => Event::Empty(with_attributes(&it, language)),
            Event::End(it) => {
                verbatim -= usize::from(VERBATIM.contains(&it.name().0));
                Event::End(it)
            }
            other => other,
        };
        writer.write_event(event).expect("memory takes it");
    }
    String::from_utf8(writer.into_inner()).expect("a page is UTF-8")
}

/// Escaped text, translated without the space around it.
fn said(text: &str, language: Language) -> String {
    let words = text.trim();
    let plain = quick_xml::escape::unescape(words).expect("what we escaped");
    let said = language.say(&plain);
    text.replacen(words, &quick_xml::escape::minimal_escape(&*said), 1)
}

fn with_attributes<'a>(element: &BytesStart<'a>, language: Language) -> BytesStart<'a> {
    let mut translated = BytesStart::new(element.name().0.to_owned());
    for attribute in element.attributes() {
        let attribute = attribute.expect("attributes of ours");
        let name = attribute.key.0;
        let value = &*attribute.value;
        let value = match name {
            "lang" => language.code().to_owned(),
            name if READ_OUT.contains(&name) => said(value, language).replace('"', "&quot;"),
            _ => value.to_owned(),
        };
        translated.push_attribute((name, value.as_str()));
    }
    translated
}
