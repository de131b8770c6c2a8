//! The guide's three presets, compiled into the program.

use crate::error::{ConfigError, ConfigErrorKind, Place};
use crate::nearest::nearest;

const PRESETS: [(&str, &str); 3] = [
    (
        "best-balance",
        include_str!("../../../presets/best-balance.toml"),
    ),
    (
        "max-memory",
        include_str!("../../../presets/max-memory.toml"),
    ),
    ("speed", include_str!("../../../presets/speed.toml")),
];

/// The names of the presets, with the guide's first choice first.
pub fn presets() -> [&'static str; 3] {
    PRESETS.map(|(name, _)| name)
}

/// The TOML text of a preset, including comments.
pub fn preset_toml(name: &str) -> Option<&'static str> {
    PRESETS
        .iter()
        .find(|(preset, _)| *preset == name)
        .map(|(_, text)| *text)
}

pub(crate) fn find(name: &str, place: Place) -> Result<&'static str, ConfigError> {
    preset_toml(name).ok_or_else(|| {
        let list = presets().map(|name| format!("`{name}`")).join(", ");
        let nearest = nearest(&name.replace('_', "-"), presets().into_iter());
        let kind = ConfigErrorKind::UnknownPreset {
            name: name.to_owned(),
            list,
            nearest,
        };
        ConfigError::new(place, kind)
    })
}
