//! One layer of a configuration: the values from a preset, a file or the flags.

use std::fmt::Write as _;

use crate::choices::{AmpDtype, CheckpointPolicy, CudaGraph, Keep};
use crate::class_table::{CLASS_NAMES, CLASS_VALUES, IGNORED_VALUES, MaskValue};
use crate::error::{ConfigError, ConfigErrorKind, Place};
use crate::image_size::ImageSize;
use crate::keys::with_rows;
use crate::network::Network;
use crate::run::RunConfig;
use crate::value::{Accepts, POSITIVE, Refused, SWITCH, Value, whole};
use crate::wire::{self, SCHEMA_VERSION};

macro_rules! overrides {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $option:ident)? = $default:expr => {
        accepts: $accepts:expr, $($rest:tt)*
    })+) => {
        /// Every key as an option: `None` leaves the layer below unchanged.
        ///
        /// The fields have the same meaning as in [`RunConfig`].
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Overrides {
            $($(#[$doc])* pub $name: Option<$ty>,)+
        }

        impl Overrides {
            /// Returns the first value that is outside its range as an error.
            pub(crate) fn check(&self) -> Result<(), Violation> {
                $(if let Some(value) = &self.$name {
                    let accepts: Accepts<$ty> = $accepts;
                    if !(accepts.holds)(value) {
                        return Err(Violation::new(stringify!($name), value.refused()));
                    }
                })+
                Ok(())
            }

            /// The given values as TOML, ready for `--config`.
            pub fn to_toml(&self) -> String {
                let mut text = format!("schema_version = {SCHEMA_VERSION}\n");
                $(if let Some(value) = &self.$name {
                    // Writing to a `String` cannot fail.
                    let _ = writeln!(text, "{} = {}", stringify!($name), value.written());
                })+
                text
            }
        }

        impl From<&RunConfig> for Overrides {
            /// Every key that is set.
            fn from(config: &RunConfig) -> Self {
                Self { $($name: config.$name.clone().into(),)+ }
            }
        }

        /// The values that a key accepts, as text for TOML and for a flag.
        fn accepted(key: &str) -> Option<(&'static str, &'static str)> {
            match key {
                $(stringify!($name) => {
                    let accepts: Accepts<$ty> = $accepts;
                    Some((accepts.text, accepts.flag_text))
                })+
                _ => None,
            }
        }
    };
}
with_rows!(overrides);

impl Overrides {
    /// Reads and checks one layer of TOML, as in a file given with `--config`.
    ///
    /// # Errors
    /// The same as for such a file, except for keys that contradict each other: only all layers
    /// together can.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Ok(wire::parse(text, |_line| Place::Unknown)?.values)
    }
}

/// A value outside its range; the layer knows where the value came from.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) key: &'static str,
    value: Refused,
}

impl Violation {
    pub(crate) const fn new(key: &'static str, value: Refused) -> Self {
        Self { key, value }
    }

    /// The error for a value at `place`; a value from a flag is named by its flag.
    pub(crate) fn at(self, place: Place) -> ConfigError {
        let (subject, accepts) = match (accepted(self.key), &place) {
            (Some((_, text)), Place::Flag(flag)) => (*flag, text),
            (Some((text, _)), _) => (self.key, text),
            // The only key outside the table.
            (None, _) => (self.key, "the number of the schema, 1"),
        };
        let kind = ConfigErrorKind::Value {
            subject: subject.to_owned(),
            accepts,
            found: self.value.found,
            hint: self.value.hint,
        };
        ConfigError::new(place, kind)
    }
}
