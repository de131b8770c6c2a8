//! TOML text to one layer of overrides, with the line of every key.
//!
//! The wire struct takes every integer as TOML writes it, so that `batch = -1`
//! is told its range rather than the name of a Rust type.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::DeTable;

use crate::error::{ConfigError, ConfigErrorKind, Place};
use crate::image_size::ImageSize;
use crate::keys;
use crate::overrides::{Overrides, Violation};

/// The schema that this build reads.
pub(crate) const SCHEMA_VERSION: i64 = 1;

/// What a file holds: its values, and a preset that it builds on.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) preset: Option<String>,
    pub(crate) values: Overrides,
    pub(crate) lines: BTreeMap<String, usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema_version: Option<i64>,
    preset: Option<String>,
    img_size: Option<[i64; 2]>,
    batch: Option<i64>,
    use_amp: Option<bool>,
    use_grad_checkpoint: Option<bool>,
    use_channels_last: Option<bool>,
    epochs: Option<i64>,
    lr: Option<f64>,
    patience: Option<i64>,
    seed: Option<i64>,
    width: Option<i64>,
    classes: Option<i64>,
    amp_dtype: Option<String>,
    init_scale: Option<f64>,
    grad_checkpoint_policy: Option<String>,
    grad_checkpoint_plan: Option<Vec<String>>,
    use_reentrant: Option<bool>,
    split_concat: Option<bool>,
    accumulation: Option<i64>,
    augment: Option<bool>,
    workers: Option<i64>,
    max_steps: Option<i64>,
    weight_decay: Option<f64>,
    val_percent: Option<f64>,
    deterministic: Option<bool>,
}

/// Reads and checks one TOML text; `place` makes the place of a line.
pub(crate) fn parse(
    text: &str,
    place: impl Fn(Option<usize>) -> Place,
) -> Result<Layer, ConfigError> {
    let line_of = |offset: usize| {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        before.split(|byte| *byte == b'\n').count()
    };
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| line_of(span.start));
        let text = line
            .and_then(|line| text.lines().nth(line - 1))
            .unwrap_or_default();
        let message = format!("{} in `{}`", one_line(error.message()), one_line(text));
        ConfigError::new(place(line), ConfigErrorKind::Syntax { message })
    })?;

    let mut found: Vec<_> = table.get_ref().iter().collect();
    found.sort_by_key(|(key, _)| key.span().start);
    let mut lines = BTreeMap::new();
    for (key, _) in &found {
        let (name, line) = (key.get_ref().as_ref(), line_of(key.span().start));
        if name != "schema_version" && keys::find(name).is_none() {
            let (key, nearest) = (name.to_owned(), keys::nearest_key(name));
            let kind = ConfigErrorKind::UnknownKey { key, nearest };
            return Err(ConfigError::new(place(Some(line)), kind));
        }
        lines.insert(name.to_owned(), line);
    }

    let wire: Wire = toml::from_str(text).map_err(|error| {
        // The key whose value holds the place of the error names what is accepted.
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
    let preset = wire.preset.clone();
    let values = Overrides::try_from(wire).map_err(|violation| {
        let place = at(violation.key);
        violation.at(place)
    })?;
    Ok(Layer {
        preset,
        values,
        lines,
    })
}

/// Text of a file in one printable line of moderate length.
fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let words: Vec<_> = text.split_whitespace().collect();
    let line: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    match line.char_indices().nth(MAX_CHARS) {
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
    Violation {
        hint,
        ..Violation::new(name, &one_line(raw))
    }
}

impl TryFrom<Wire> for Overrides {
    type Error = Violation;

    fn try_from(wire: Wire) -> Result<Self, Violation> {
        let int = |key, value: Option<i64>| {
            value
                .map(|v| u32::try_from(v).map_err(|_range| Violation::new(key, &v)))
                .transpose()
        };
        let long = |key, value: Option<i64>| {
            value
                .map(|v| u64::try_from(v).map_err(|_range| Violation::new(key, &v)))
                .transpose()
        };
        let values = Self {
            img_size: wire.img_size.map(image_size).transpose()?,
            batch: int("batch", wire.batch)?,
            use_amp: wire.use_amp,
            use_grad_checkpoint: wire.use_grad_checkpoint,
            use_channels_last: wire.use_channels_last,
            epochs: int("epochs", wire.epochs)?,
            lr: wire.lr,
            patience: int("patience", wire.patience)?,
            seed: long("seed", wire.seed)?,
            width: int("width", wire.width)?,
            classes: int("classes", wire.classes)?,
            amp_dtype: choice("amp_dtype", wire.amp_dtype)?,
            init_scale: wire.init_scale,
            grad_checkpoint_policy: choice("grad_checkpoint_policy", wire.grad_checkpoint_policy)?,
            grad_checkpoint_plan: wire
                .grad_checkpoint_plan
                .map(|stages| {
                    let one = |text| choice("grad_checkpoint_plan", Some(text));
                    stages
                        .into_iter()
                        .filter_map(|s| one(s).transpose())
                        .collect()
                })
                .transpose()?,
            use_reentrant: wire.use_reentrant,
            split_concat: wire.split_concat,
            accumulation: int("accumulation", wire.accumulation)?,
            augment: wire.augment,
            workers: int("workers", wire.workers)?,
            max_steps: long("max_steps", wire.max_steps)?,
            weight_decay: wire.weight_decay,
            val_percent: wire.val_percent,
            deterministic: wire.deterministic,
        };
        values.check()?;
        Ok(values)
    }
}

fn image_size([height, width]: [i64; 2]) -> Result<ImageSize, Violation> {
    match (u32::try_from(height), u32::try_from(width)) {
        (Ok(height), Ok(width)) => Ok(ImageSize::new(height, width)),
        _ => Err(Violation::new("img_size", &format!("[{height}, {width}]"))),
    }
}

fn choice<T>(key: &'static str, text: Option<String>) -> Result<Option<T>, Violation>
where
    T: std::str::FromStr<Err = ConfigError>,
{
    text.map(|text| {
        text.parse().map_err(|error: ConfigError| Violation {
            hint: error.hint(),
            ..Violation::new(key, &text)
        })
    })
    .transpose()
}
