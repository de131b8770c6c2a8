//! A finished page in another language.

use std::borrow::Cow;
use std::fmt::Write as _;

use locale::Language;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

/// Elements whose text is not prose.
const VERBATIM: [&str; 3] = ["code", "pre", "style"];
/// Attributes that are read to people.
const READ_OUT: [&str; 3] = ["alt", "aria-label", "title"];

/// An element that is open.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Whether what is in it stays as it is: code, and names that users gave (`translate="no"`).
    stays: bool,
    /// Whether it is in a drawing, where no element can mark a name: quotes tell it from prose, and then fall away.
    is_drawn: bool,
}

/// `html`, a page of ours, in `language`: its text and what is read out, element by element.
///
/// # Panics
/// Never with our pages, which are well-formed XML, as a test says.
pub(super) fn translated(html: &str, language: Language) -> String {
    let mut reader = Reader::from_str(html);
    reader.config_mut().check_end_names = false;
    let mut writer = Writer::new(Vec::new());
    let mut outer = Vec::new();
    let mut inner = Open::default();
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
            let said = said(&text, inner, language).into_owned();
            let said = BytesText::from_escaped(said);
            writer
                .write_event(Event::Text(said))
                .expect("memory takes it");
            text.clear();
        }
        let event = match event {
            Event::Eof => break,
            Event::Start(it) => {
                outer.push(inner);
                inner = inner.with(&it);
                Event::Start(with_attributes(&it, inner, language))
            }
            Event::Empty(it) => Event::Empty(with_attributes(&it, inner.with(&it), language)),
            Event::End(it) => {
                inner = outer.pop().unwrap_or_default();
                Event::End(it)
            }
            other => other,
        };
        writer.write_event(event).expect("memory takes it");
    }
    String::from_utf8(writer.into_inner()).expect("a page is UTF-8")
}

impl Open {
    /// What `element` is in here.
    fn with(self, element: &BytesStart<'_>) -> Self {
        let name = element.name().0;
        let is_name = element
            .attributes()
            .flatten()
            .any(|it| it.key.0 == "translate" && &*it.value == "no");
        Self {
            stays: self.stays || is_name || VERBATIM.contains(&name),
            is_drawn: self.is_drawn || name == "svg",
        }
    }
}

/// Escaped text, translated without the space around it.
fn said(text: &str, place: Open, language: Language) -> Cow<'_, str> {
    let words = text.trim();
    if place.stays || words.is_empty() {
        return Cow::Borrowed(text);
    }
    let plain = quick_xml::escape::unescape(words).expect("what we escaped");
    let said = language.say(&plain);
    let said = if place.is_drawn {
        said.replace('`', "").into()
    } else {
        said
    };
    let text = if said == plain {
        Cow::Borrowed(text)
    } else {
        let said = quick_xml::escape::minimal_escape(&*said);
        text.replacen(words, &said, 1).into()
    };
    match language {
        Language::English => text,
        // Its full stop is as wide as one with a space.
        Language::Japanese => text.replace("。 ", "。").into(),
    }
}

fn with_attributes<'a>(
    element: &BytesStart<'a>,
    place: Open,
    language: Language,
) -> BytesStart<'a> {
    // No element can mark a name here either.
    let place = Open {
        is_drawn: true,
        ..place
    };
    let mut translated = BytesStart::new(element.name().0.to_owned());
    for attribute in element.attributes() {
        let mut attribute = attribute.expect("attributes of ours");
        match attribute.key.0 {
            "lang" => attribute.value = language.code().into(),
            name if READ_OUT.contains(&name) => {
                let said = said(&attribute.value, place, language);
                attribute.value = said.replace('"', "&quot;").into();
            }
            _ => {}
        }
        // As it is: what is in it is escaped.
        translated.push_attribute(attribute);
    }
    translated
}
