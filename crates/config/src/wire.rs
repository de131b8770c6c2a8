//! Parses TOML text into one layer of overrides, with the line of every key.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::DeTable;

use crate::choices::{AmpDtype, CheckpointPolicy, CudaGraph, Keep};
use crate::class_table::{self, MaskValue};
use crate::error::{ConfigError, ConfigErrorKind, Place};
use crate::image_size::ImageSize;
use crate::keys::{self, with_rows};
use crate::overrides::{Overrides, Violation};
use crate::value::{Refused, Value};

/// The schema version that this build reads.
pub(crate) const SCHEMA_VERSION: i64 = 1;

/// The contents of a file: its values and their lines.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) values: Overrides,
    pub(crate) lines: BTreeMap<String, usize>,
}

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $option:ident)? = $default:expr => $rest:tt)+) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            schema_version: Option<i64>,
            $($name: Option<<$ty as Value>::Wire>,)+
        }

        impl TryFrom<Wire> for Overrides {
            type Error = Violation;

            fn try_from(wire: Wire) -> Result<Self, Violation> {
                let refused = |key| move |value| Violation::new(key, value);
                let values = Self {$(
                    $name: wire.$name.map(<$ty>::read).transpose().map_err(refused(stringify!($name)))?,
                )+};
                values.check()?;
                Ok(values)
            }
        }
    };
}
with_rows!(wire);

/// Reads and checks one TOML text; `place` turns a line into its place.
pub(crate) fn parse(
    text: &str,
    place: impl Fn(Option<usize>) -> Place,
) -> Result<Layer, ConfigError> {
    let line_of = |offset: usize| {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        before.split(|byte| *byte == b'\n').count()
    };
    let mut table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| line_of(span.start));
        let text = line
            .and_then(|line| text.lines().nth(line - 1))
            .unwrap_or_default();
        let message = format!(
            "{} in `{}`",
            one_line(error.message(), MAX_CHARS),
            one_line(text, MAX_CHARS)
        );
        ConfigError::new(place(line), ConfigErrorKind::Syntax { message })
    })?;

    class_table::flatten(table.get_mut())
        .map_err(|(kind, span)| ConfigError::new(place(Some(line_of(span.start))), kind))?;

    let mut found: Vec<_> = table.get_ref().iter().collect();
    found.sort_by_key(|(key, _)| key.span().start);
    let mut lines = BTreeMap::new();
    for (key, _) in &found {
        let (name, line) = (key.get_ref().as_ref(), line_of(key.span().start));
        if name != "schema_version" && keys::find(name).is_none() {
            let (key, nearest) = (name.to_owned(), keys::nearest_key(name));
            let known = keys::KEYS.iter().map(|key| key.name).collect();
            let kind = ConfigErrorKind::UnknownKey {
                key,
                nearest,
                known,
            };
            return Err(ConfigError::new(place(Some(line)), kind));
        }
        lines.insert(name.to_owned(), line);
    }

    let values = toml::Deserializer::from(table.clone());
    let wire = Wire::deserialize(values).map_err(|error| {
        // The key whose value contains the position of the error determines what is accepted.
        let start = error.span().map_or(0, |span| span.start);
        let holder = found
            .iter()
            .rev()
            .find(|(key, _)| key.span().start <= start);
        let Some((key, value)) = holder else {
            let message = error.message().to_owned();
            return ConfigError::new(place(None), ConfigErrorKind::Syntax { message });
        };
        let raw = text.get(value.span()).unwrap_or_default();
        wrong_type(key.get_ref(), raw).at(place(Some(line_of(key.span().start))))
    })?;

    let at = |key: &str| place(lines.get(key).copied());
    if let Some(found) = wire
        .schema_version
        .filter(|version| *version != SCHEMA_VERSION)
    {
        let kind = ConfigErrorKind::SchemaVersion {
            found,
            known: SCHEMA_VERSION,
        };
        return Err(ConfigError::new(at("schema_version"), kind));
    }
    let values = Overrides::try_from(wire).map_err(|violation| {
        let place = at(violation.key);
        violation.at(place)
    })?;
    Ok(Layer { values, lines })
}

/// The most characters of a file that an error shows.
const MAX_CHARS: usize = 80;

/// Text from a file as one printable line of at most `max_chars`.
pub fn one_line(text: &str, max_chars: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let line: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    match line.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn wrong_type(key: &str, raw: &str) -> Violation {
    let name = keys::find(key).map_or("schema_version", |key| key.name);
    let bare = raw.trim_matches(['"', '\'']);
    let hint = if bare != raw && (bare.parse::<f64>().is_ok() || matches!(bare, "true" | "false")) {
        Some(format!("write `{name} = {bare}`, without quotes"))
    } else if matches!(raw, "True" | "False") {
        Some(format!("write `{name} = {}`", raw.to_lowercase()))
    } else {
        None
    };
    let found = one_line(raw, MAX_CHARS);
    Violation::new(name, Refused { found, hint })
}
