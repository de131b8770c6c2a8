//! One layer of a configuration: what a preset, a file or the flags give.

use crate::choices::{AmpDtype, CheckpointPolicy, Keep};
use crate::error::{ConfigError, ConfigErrorKind, Place};
use crate::image_size::ImageSize;
use crate::keys::with_rows;
use crate::network::Network;
use crate::value::{Accepts, POSITIVE, Refused, SWITCH, Value, whole};

macro_rules! overrides {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $option:ident)? = $default:expr => {
        accepts: $accepts:expr, $($rest:tt)*
    })+) => {
        /// Every key as an option: `None` leaves the layer below unchanged.
        ///
        /// The fields mean what those of [`RunConfig`](crate::RunConfig) mean.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Overrides {
            $($(#[$doc])* pub $name: Option<$ty>,)+
        }

        impl Overrides {
            /// Refuses the first value that is outside its range.
            pub(crate) fn check(&self) -> Result<(), Violation> {
                $(if let Some(value) = &self.$name {
                    let accepts: Accepts<$ty> = $accepts;
                    if !(accepts.holds)(value) {
                        return Err(Violation::new(stringify!($name), value.refused()));
                    }
                })+
                Ok(())
            }
        }

        /// What a key accepts, in TOML and as a flag.
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

/// A value outside its range; the layer knows where it stands.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) key: &'static str,
    value: Refused,
}

impl Violation {
    pub(crate) const fn new(key: &'static str, value: Refused) -> Self {
        Self { key, value }
    }

    /// The error of a value at `place`, named by its flag when it was one.
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
