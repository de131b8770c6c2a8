//! The table `[classes]`: what the values of masks mean.
//!
//! ```toml
//! [classes]
//! names = ["background", "cell", "border"]
//! values = [0, 128, 200]  # or colors = ["#000000", "#ff0000", "#00ff00"]
//! ignore = 255            # or several: [254, 255]
//! ```
//!
//! Elsewhere its entries are ordinary keys: `class_names`, `class_values` and `ignore`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::nearest::nearest;
use crate::value::{Accepts, Refused, Value};

/// The key that the table is written as.
const TABLE: &str = "classes";
/// Entries of the table, and the keys they stand for.
const ENTRIES: [(&str, &str); 5] = [
    ("names", "class_names"),
    ("values", "class_values"),
    ("colors", "class_values"),
    ("colours", "class_values"),
    ("ignore", "ignore"),
];
/// Values of masks with 8 bits, less one for pixels that are ignored.
const MAX_CLASSES: usize = 255;

/// A value of a mask, as `data::masks::Value`: that crate knows no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaskValue {
    /// A gray level, or an index of a palette.
    Number(u32),
    /// `0xRRGGBB`.
    Colour(u32),
}

impl fmt::Display for MaskValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Colour(colour) => write!(f, "#{colour:06x}"),
        }
    }
}

impl FromStr for MaskValue {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let colour = |digits: &str| {
            let is_hex = digits.len() == 6 && digits.bytes().all(|it| it.is_ascii_hexdigit());
            let colour = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
            colour.map(Self::Colour)
        };
        let value = match text.strip_prefix('#') {
            Some(digits) => colour(digits),
            None => text.parse().ok().map(Self::Number),
        };
        value.ok_or_else(|| ConfigError::not_a_value("a value of a mask", ONE_VALUE, text))
    }
}

const ONE_VALUE: &str = "a whole number from 0, or a colour such as `#ff8000`";

impl Serialize for MaskValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Colour(_) => serializer.collect_str(self),
        }
    }
}

/// Values of masks on a command line, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskValues(Vec<MaskValue>);

impl FromStr for MaskValues {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let values = text.split(',').map(|value| value.trim().parse());
        values.collect::<Result<_, _>>().map(Self)
    }
}

impl From<MaskValues> for Vec<MaskValue> {
    fn from(values: MaskValues) -> Self {
        values.0
    }
}

/// Names on a command line, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl FromStr for Names {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(
            text.split(',').map(|it| it.trim().to_owned()).collect(),
        ))
    }
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Self {
        names.0
    }
}

impl Value for Vec<MaskValue> {
    /// One value or a list.
    type Wire = toml::Value;

    fn read(wire: toml::Value) -> Result<Self, Refused> {
        match wire {
            toml::Value::Array(values) => values.iter().map(read_value).collect(),
            value => Ok(vec![read_value(&value)?]),
        }
    }

    fn written(&self) -> String {
        let value = |value: &MaskValue| match value {
            MaskValue::Number(_) => value.to_string(),
            MaskValue::Colour(_) => format!("\"{value}\""),
        };
        format!(
            "[{}]",
            self.iter().map(value).collect::<Vec<_>>().join(", ")
        )
    }

    fn refused(&self) -> Refused {
        Refused::new(&self.written())
    }
}

fn read_value(value: &toml::Value) -> Result<MaskValue, Refused> {
    let read = match value {
        toml::Value::Integer(number) => u32::try_from(*number).ok().map(MaskValue::Number),
        toml::Value::String(text) => text.parse().ok(),
        _ => None,
    };
    read.ok_or_else(|| Refused {
        hint: Some(format!("a value is {ONE_VALUE}")),
        ..Refused::new(value)
    })
}

impl Value for Vec<String> {
    type Wire = Self;

    fn read(wire: Self) -> Result<Self, Refused> {
        Ok(wire)
    }

    fn written(&self) -> String {
        toml::Value::from(self.clone()).to_string()
    }

    fn refused(&self) -> Refused {
        let hint = (self.len() == 1).then(|| {
            format!(
                "the background is a class as well: [\"background\", {:?}]",
                self[0]
            )
        });
        Refused {
            hint,
            ..Refused::new(&self.written())
        }
    }
}

pub(crate) const CLASS_NAMES: Accepts<Vec<String>> = Accepts::new(
    "from 2 to 255 different names, the background first",
    |names| are_classes(names) && names.iter().all(|name| !name.trim().is_empty()),
);
pub(crate) const CLASS_VALUES: Accepts<Vec<MaskValue>> = Accepts::new(
    "from 2 to 255 different values, whole numbers or colours such as `#ff8000`, the background first",
    |values| are_classes(values),
);
pub(crate) const IGNORED_VALUES: Accepts<Vec<MaskValue>> = Accepts::new(
    "one or more different values, whole numbers or colours such as `#ff8000`",
    |values| !values.is_empty() && are_different(values),
);

fn are_classes<T: Ord>(items: &[T]) -> bool {
    (2..=MAX_CLASSES).contains(&items.len()) && are_different(items)
}

fn are_different<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() == items.len()
}

/// What is wrong with the table, and where.
pub(crate) type TableError = (ConfigErrorKind, Range<usize>);

/// Replaces the table `[classes]` by the keys that it stands for, if `table` has it.
pub(crate) fn flatten(table: &mut DeTable<'_>) -> Result<(), TableError> {
    if !table.get(TABLE).is_some_and(|it| it.get_ref().is_table()) {
        return Ok(());
    }
    let found = table.remove(TABLE).map(Spanned::into_inner);
    let Some(DeValue::Table(entries)) = found else {
        return Ok(());
    };
    for (entry, value) in entries {
        let (name, span) = (entry.get_ref().as_ref(), entry.span());
        let Some((_, key)) = ENTRIES.iter().find(|(entry, _)| *entry == name) else {
            let names = || ENTRIES.iter().map(|(entry, _)| *entry);
            let kind = ConfigErrorKind::UnknownKey {
                key: format!("{TABLE}.{name}"),
                nearest: nearest(name, names()),
                known: names().collect(),
            };
            return Err((kind, span));
        };
        let key = Spanned::new(span.clone(), Cow::Borrowed(*key));
        if let Some((other, _)) = table.get_key_value(&key) {
            let kind = ConfigErrorKind::Contradiction {
                detail: format!("`{TABLE}.{name}` and `{}` are the same", other.get_ref()),
                hint: "give one of them".to_owned(),
            };
            return Err((kind, span));
        }
        table.insert(key, value);
    }
    Ok(())
}

/// The number of classes, as the key `classes`, of a table that lists this many: background and
/// foreground are one.
pub(crate) fn number_of(listed: usize) -> u32 {
    match listed {
        2 => 1,
        num => u32::try_from(num).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use crate::{RunConfig, resolve};
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<RunConfig, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let resolved = resolve(None, Some(file.path()), crate::Overrides::default());
        resolved.map(|it| it.config)
    }

    #[test]
    fn a_table_is_three_keys_and_a_number() {
        let config = read(
            "batch = 2\n[classes]\nnames = [\"ground\", \"cell\", \"border\"]\n\
             values = [0, \"#00ff00\", 200]\nignore = 255\n",
        )
        .unwrap();
        assert_eq!((config.batch, config.classes), (2, 3));
        assert_eq!(config.class_names.as_ref().unwrap()[2], "border");
        let values = [
            MaskValue::Number(0),
            MaskValue::Colour(0x0000_ff00),
            MaskValue::Number(200),
        ];
        assert_eq!(config.class_values.as_deref(), Some(&values[..]));
        assert_eq!(config.ignore, Some(vec![MaskValue::Number(255)]));
        assert_eq!(RunConfig::from_toml(&config.to_toml()).unwrap(), config);
        // Background and foreground are one class.
        assert_eq!(
            read("[classes]\ncolors = [\"#000000\", \"#ffffff\"]")
                .unwrap()
                .classes,
            1
        );
        assert_eq!(read("classes = 4").unwrap().classes, 4);
    }

    #[test]
    fn a_wrong_table_names_its_line_and_the_remedy() {
        for (text, message, hint) in [
            (
                "[classes]\nname = []",
                "line 2: unknown key `classes.name`",
                "`names`",
            ),
            (
                "[classes]\nvalues = [0, 1]\ncolors = [2]",
                "are the same",
                "",
            ),
            (
                "[classes]\nnames = [\"cell\"]",
                "line 2: `class_names` must be from 2",
                "the background is a class",
            ),
            (
                "[classes]\nvalues = [0, 0]",
                "line 2: `class_values` must be from 2",
                "",
            ),
            (
                "[classes]\nvalues = [0, \"red\"]",
                "line 2: `class_values` must be",
                "#ff8000",
            ),
            (
                "[classes]\nvalues = [0, 1, 2]\nignore = [2]",
                "`ignore` and `class_values` both hold 2",
                "",
            ),
            (
                "[classes]\nvalues = [0, 1]\nnames = [\"a\", \"b\", \"c\"]",
                "lists 3 classes",
                "",
            ),
            ("classes = \"many\"", "line 1: `classes` must be", ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(message), "{text}: {error}");
            let found = error.hint().unwrap_or_default();
            assert!(found.contains(hint), "{text}: {found}");
        }
    }
}
