//! The types of keys: how TOML writes their values and which values a key accepts.
//!
//! The TOML type of an integer key holds every TOML integer, so that the error for `batch = -1`
//! states the accepted range and not the name of a Rust type.

use std::str::FromStr;

use serde::de::DeserializeOwned;

use crate::choices::{AmpDtype, CheckpointPolicy, CudaGraph, Keep};
use crate::error::ConfigError;
use crate::image_size::ImageSize;
use crate::plan_letters::{PlanLetters, WirePlan};

/// The values that a key accepts, and their description, worded to follow "must be".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepts<T> {
    pub(crate) text: &'static str,
    /// The description for a flag, if a flag writes the value differently.
    pub(crate) flag_text: &'static str,
    pub(crate) holds: fn(&T) -> bool,
}

impl<T> Accepts<T> {
    pub(crate) const fn new(text: &'static str, holds: fn(&T) -> bool) -> Self {
        Self {
            text,
            flag_text: text,
            holds,
        }
    }

    /// Accepts every value that the type can hold.
    pub(crate) const fn any(text: &'static str) -> Self {
        Self::new(text, |_| true)
    }

    pub(crate) const fn with_flag_text(self, flag_text: &'static str) -> Self {
        Self { flag_text, ..self }
    }
}

pub(crate) const SWITCH: Accepts<bool> = Accepts::any("`true` or `false`");
pub(crate) const POSITIVE: Accepts<f64> = Accepts::new("a finite number above 0", |value| {
    value.is_finite() && *value > 0.0
});

/// A whole number in an inclusive range; a remark on the lower end becomes part of the text.
macro_rules! whole {
    ($min:literal $($remark:literal)? to $max:literal) => {
        Accepts::new(
            concat!("a whole number from ", $min, $(" ", $remark,)? " to ", $max),
            |value| ($min..=$max).contains(value),
        )
    };
}
pub(crate) use whole;

/// A value that is not accepted, as it was written, and a hint for correcting it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) found: String,
    pub(crate) hint: Option<String>,
}

impl Refused {
    pub(crate) fn new(found: &impl ToString) -> Self {
        Self {
            found: found.to_string(),
            hint: None,
        }
    }
}

/// The type of a key.
pub(crate) trait Value: Sized {
    /// The TOML type that it is read from.
    type Wire: DeserializeOwned;

    fn read(wire: Self::Wire) -> Result<Self, Refused>;

    /// The value as TOML.
    fn written(&self) -> String;

    /// How to report this value if it is outside its range.
    fn refused(&self) -> Refused;
}

/// Types that exist in TOML as well.
macro_rules! plain {
    ($($ty:ty as $format:literal),+) => {$(
        impl Value for $ty {
            type Wire = Self;

            fn read(wire: Self) -> Result<Self, Refused> {
                Ok(wire)
            }

            fn written(&self) -> String {
                format!($format, self)
            }

            fn refused(&self) -> Refused {
                Refused::new(self)
            }
        }
    )+};
}
plain!(bool as "{}", f64 as "{:?}");

macro_rules! whole_numbers {
    ($($ty:ty),+) => {$(
        impl Value for $ty {
            type Wire = i64;

            fn read(wire: i64) -> Result<Self, Refused> {
                Self::try_from(wire).map_err(|_range| Refused::new(&wire))
            }

            fn written(&self) -> String {
                self.to_string()
            }

            fn refused(&self) -> Refused {
                Refused::new(self)
            }
        }
    )+};
}
whole_numbers!(u32, u64);

macro_rules! named_choices {
    ($($ty:ty),+) => {$(
        impl Value for $ty {
            type Wire = String;

            fn read(wire: String) -> Result<Self, Refused> {
                choice(&wire)
            }

            fn written(&self) -> String {
                format!("\"{self}\"")
            }

            fn refused(&self) -> Refused {
                Refused::new(self)
            }
        }
    )+};
}
named_choices!(AmpDtype, CheckpointPolicy, CudaGraph);

impl Value for String {
    type Wire = Self;

    fn read(wire: Self) -> Result<Self, Refused> {
        Ok(wire)
    }

    fn written(&self) -> String {
        // The file may not have been checked against the presets, so this may be any text.
        toml::Value::from(self.as_str()).to_string()
    }

    fn refused(&self) -> Refused {
        Refused::new(self)
    }
}

impl Value for ImageSize {
    type Wire = [i64; 2];

    fn read([height, width]: [i64; 2]) -> Result<Self, Refused> {
        match (u32::try_from(height), u32::try_from(width)) {
            (Ok(height), Ok(width)) => Ok(Self::new(height, width)),
            _ => Err(Refused::new(&format_args!("[{height}, {width}]"))),
        }
    }

    fn written(&self) -> String {
        format!("[{}, {}]", self.height, self.width)
    }

    fn refused(&self) -> Refused {
        let (below, above) = self.nearest_valid();
        let hint = if below == above {
            format!("the nearest valid size is {below}")
        } else {
            format!("the nearest valid sizes are {below} and {above}")
        };
        Refused {
            hint: Some(hint),
            ..Refused::new(self)
        }
    }
}

impl Value for Vec<Keep> {
    type Wire = WirePlan;

    fn read(WirePlan(stages): WirePlan) -> Result<Self, Refused> {
        stages.iter().map(|stage| choice(stage)).collect()
    }

    fn written(&self) -> String {
        format!("\"{}\"", PlanLetters(self.clone()))
    }

    fn refused(&self) -> Refused {
        Refused::new(&PlanLetters(self.clone()))
    }
}

fn choice<T: FromStr<Err = ConfigError>>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|error: ConfigError| Refused {
        hint: error.hint(),
        ..Refused::new(&text)
    })
}
