//! XML, element by element. Entities that a file defines are never expanded.

use std::borrow::Cow;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::annotations::EntryProblem;
use crate::annotations::detect::without_mark;

/// What a file consists of.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// The start of an element.
    Start(&'a BytesStart<'a>),
    /// The end of an element, with the text in it, without the spaces around it.
    End(&'a str),
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Failure<E> {
    /// It is no XML.
    Damaged(String),
    /// An error of the visitor.
    Visitor(E),
}

/// Calls `visit` with each part of a file and the names of the elements around it, such as
/// `annotation/object/name`.
pub(super) fn visit<E>(
    bytes: &[u8],
    mut visit: impl FnMut(&str, Node<'_>) -> Result<(), E>,
) -> Result<(), Failure<E>> {
    let damaged = |reason: &dyn ToString| Failure::Damaged(reason.to_string());
    let file = str::from_utf8(without_mark(bytes)).map_err(|error| damaged(&error))?;
    let mut reader = Reader::from_str(file);
    reader.config_mut().expand_empty_elements = true;
    let (mut path, mut text) = (String::new(), String::new());
    // The length of `path` before each open element.
    let mut lengths = Vec::new();
    loop {
        match reader.read_event().map_err(|error| damaged(&error))? {
            Event::Text(part) => text.push_str(&part),
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(entity) => match resolve_predefined_entity(&entity) {
                Some(character) => text.push_str(character),
                None => match entity.resolve_char_ref().map_err(|error| damaged(&error))? {
                    Some(character) => text.push(character),
                    None => return Err(damaged(&format!("unknown entity `{}`", &*entity))),
                },
            },
            Event::Start(element) => {
                lengths.push(path.len());
                if lengths.len() > 1 {
                    path.push('/');
                }
                path.push_str(element.local_name().into_inner());
                text.clear();
                visit(&path, Node::Start(&element)).map_err(Failure::Visitor)?;
            }
            Event::End(_) => {
                visit(&path, Node::End(text.trim())).map_err(Failure::Visitor)?;
                text.clear();
                path.truncate(lengths.pop().unwrap_or(0));
            }
            Event::Eof if lengths.is_empty() => return Ok(()),
            Event::Eof => return Err(damaged(&format!("`{path}` has no end"))),
            _ => {}
        }
    }
}

/// The value of an attribute.
pub(super) fn attribute<'a>(
    element: &'a BytesStart<'_>,
    name: &'static str,
) -> Result<Cow<'a, str>, EntryProblem> {
    let missing = EntryProblem::Missing { name };
    let Ok(Some(attribute)) = element.try_get_attribute(name) else {
        return Err(missing);
    };
    let raw = attribute.value.clone();
    attribute
        .normalized_value(XmlVersion::Implicit1_0)
        .map_err(|_entity| EntryProblem::Text {
            text: raw.into_owned(),
        })
}

/// The value of an attribute that is a number.
pub(super) fn number_attribute(
    element: &BytesStart<'_>,
    name: &'static str,
) -> Result<f64, EntryProblem> {
    number(&attribute(element, name)?)
}

/// A number in a text.
pub(super) fn number(text: &str) -> Result<f64, EntryProblem> {
    text.trim()
        .parse()
        .map_err(|_no_number| EntryProblem::NotANumber {
            text: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(file: &str) -> Result<Vec<String>, String> {
        let mut ends = Vec::new();
        let visited = visit::<()>(file.as_bytes(), |path, part| {
            if let Node::End(text) = part {
                ends.push(format!("{path}={text}"));
            }
            Ok(())
        });
        match visited {
            Ok(()) => Ok(ends),
            Err(failure) => Err(format!("{failure:?}")),
        }
    }

    #[test]
    fn text_belongs_to_the_element_around_it() {
        let file =
            "<?xml version='1.0'?><!-- c --><a> <b>x &amp; &#121;</b><c/>z<d><![CDATA[<]]></d></a>";
        assert_eq!(ends(file).unwrap(), ["a/b=x & y", "a/c=", "a/d=<", "a="]);
    }

    #[test]
    fn entities_of_a_file_are_not_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY l 'lol'><!ENTITY m '&l;&l;&l;'>]><a>&m;</a>";
        assert!(ends(bomb).unwrap_err().contains("unknown entity `m`"));
        let file = "<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><a b='&f;'/>";
        let visited = visit(file.as_bytes(), |_, part| match part {
            Node::Start(element) => attribute(element, "b").map(drop),
            Node::End(_) => Ok(()),
        });
        assert!(matches!(
            visited,
            Err(Failure::Visitor(EntryProblem::Text { .. }))
        ));
    }

    #[test]
    fn damaged_files_are_refused() {
        for file in ["<a>", "<a></b>", "<a", "<a>\u{0}</a><b", "</a>"] {
            assert!(ends(file).is_err(), "{file}");
        }
        assert!(visit::<()>(b"<a>\xFF</a>", |_, _| Ok(())).is_err());
    }
}
