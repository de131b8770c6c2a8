//! Merges the layers (default < preset < file < flag) and records where each value came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::choices::CheckpointPolicy;
use crate::class_table;
use crate::error::{ConfigError, ConfigErrorKind, Place};
use crate::keys::{self, with_rows};
use crate::overrides::Overrides;
use crate::presets;
use crate::run::RunConfig;
use crate::wire::{self, Layer};

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The built-in default; the same values as `best-balance`.
    #[default]
    Default,
    /// The preset with this name.
    Preset(String),
    /// A file given by the user.
    File(PathBuf),
    /// A flag given by the user, with its hyphens.
    Flag(&'static str),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Preset(name) => write!(f, "preset `{name}`"),
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Flag(flag) => write!(f, "`{flag}`"),
        }
    }
}

/// The source of every key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    sources: BTreeMap<&'static str, Source>,
}

impl Origins {
    /// The source of a key; [`Source::Default`] for a key that was not set.
    pub fn of(&self, key: &str) -> &Source {
        const DEFAULT: &Source = &Source::Default;
        self.sources.get(key).unwrap_or(DEFAULT)
    }

    /// Whether a file or a flag set the key; such a value is never changed silently.
    pub fn given_by_user(&self, key: &str) -> bool {
        matches!(self.of(key), Source::File(_) | Source::Flag(_))
    }

    fn set(&mut self, key: &'static str, source: Source) {
        self.sources.insert(key, source);
    }

    fn forget(&mut self, key: &'static str) {
        self.sources.remove(key);
    }
}

/// A validated configuration and the sources of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What to run.
    pub config: RunConfig,
    /// Where each value came from.
    pub origins: Origins,
}

/// Merges the layers (default < preset < file < flag) and validates the result.
///
/// A file may name the preset that it builds on (`preset = "speed"`). The argument `preset`, or
/// else the preset among the flags, replaces it. Without any preset, the values are those of
/// `best-balance`.
///
/// # Errors
///
/// Fails for an unknown preset, a file that cannot be read, a key or value that is not
/// accepted, or keys that contradict each other.
pub fn resolve(
    preset: Option<&str>,
    file: Option<&Path>,
    mut flags: Overrides,
) -> Result<Resolved, ConfigError> {
    let flag = flags.preset.take();
    let mut layer = file
        .map(|path| read(path).map(|layer| (path, layer)))
        .transpose()?;
    // A layer builds on its preset; the preset is not a value to lay over the layer below.
    let in_file = layer.as_mut().and_then(|(path, layer)| {
        let place = file_place(path, layer.lines.get("preset").copied());
        let name = layer.values.preset.take()?;
        Some((name, Source::File(path.to_path_buf()), place))
    });
    let flag = preset.map(str::to_owned).or(flag);
    let flag = flag.map(|name| (name, Source::Flag("--preset"), Place::Flag("--preset")));
    let mut config = RunConfig::default();
    let mut origins = Origins::default();
    if let Some((name, source, place)) = flag.or(in_file) {
        let text = presets::find(&name, place)?;
        let values = wire::parse(text, |_line| Place::Preset(name.clone()))?.values;
        lay(values, &mut config, &mut origins, |_key| {
            Source::Preset(name.clone())
        });
        config.preset = Some(name);
        origins.set("preset", source);
    }
    if let Some((path, layer)) = &layer {
        lay(layer.values.clone(), &mut config, &mut origins, |_key| {
            Source::File(path.to_path_buf())
        });
    }
    flags.check().map_err(|violation| {
        let flag = flag_of(violation.key);
        violation.at(Place::Flag(flag))
    })?;
    lay(flags, &mut config, &mut origins, |key| {
        Source::Flag(flag_of(key))
    });

    count_classes(&mut config, &mut origins);
    let line = |key: &str| {
        layer
            .as_ref()
            .and_then(|(_, layer)| layer.lines.get(key).copied())
    };
    agree(&config, &origins, line)?;
    Ok(Resolved { config, origins })
}

impl RunConfig {
    /// Reads a configuration that [`to_toml`](Self::to_toml) wrote. Its preset is only a name here:
    /// all values are written out, and a missing key is unset.
    ///
    /// # Errors
    /// The same as for a file given with `--config`.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let layer = wire::parse(text, |_line| Place::Unknown)?;
        let mut config = Self::default();
        let mut origins = Origins::default();
        lay(layer.values, &mut config, &mut origins, |_key| {
            Source::Default
        });
        agree(&config, &origins, |_key| None)?;
        Ok(config)
    }
}

macro_rules! lay {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $option:ident)? = $default:expr => $rest:tt)+) => {
        /// Lays the values of a layer over `config` and records where each came from.
        fn lay(
            layer: Overrides,
            config: &mut RunConfig,
            origins: &mut Origins,
            source: impl Fn(&'static str) -> Source,
        ) {
            forget_what_goes_with_others(&layer, config, origins);
            $(if let Some(value) = layer.$name {
                config.$name = value.into();
                origins.set(stringify!($name), source(stringify!($name)));
            })+
        }
    };
}
with_rows!(lay);

fn forget_what_goes_with_others(layer: &Overrides, config: &mut RunConfig, origins: &mut Origins) {
    let is_off = layer.use_grad_checkpoint == Some(false);
    // Switching checkpointing off also drops the policy that a lower layer names.
    if is_off && layer.grad_checkpoint_policy.is_none() {
        config.grad_checkpoint_policy = None;
        origins.forget("grad_checkpoint_policy");
    }
    // A plan belongs to the policy that it was given with, so it is dropped with that policy.
    let is_other = |policy| policy != CheckpointPolicy::Mixed;
    let other_policy = layer.grad_checkpoint_policy.is_some_and(is_other);
    if (is_off || other_policy) && layer.grad_checkpoint_plan.is_none() {
        config.grad_checkpoint_plan = None;
        origins.forget("grad_checkpoint_plan");
    }
}

/// Sets `classes` from the listed names or values, unless the user sets it.
fn count_classes(config: &mut RunConfig, origins: &mut Origins) {
    for (key, listed) in config.listed_classes() {
        if !origins.given_by_user("classes") {
            config.classes = class_table::number_of(listed);
            origins.set("classes", origins.of(key).clone());
        }
    }
}

fn read(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        ConfigError::new(
            file_place(path, None),
            ConfigErrorKind::Unreadable { source },
        )
    })?;
    wire::parse(&text, |line| file_place(path, line))
}

fn file_place(path: &Path, line: Option<usize>) -> Place {
    Place::File {
        path: path.to_path_buf(),
        line,
    }
}

fn flag_of(key: &str) -> &'static str {
    keys::find(key).map_or("--config", |key| key.flag)
}

/// Checks for keys that are valid alone but contradict each other.
fn agree(
    config: &RunConfig,
    origins: &Origins,
    line: impl Fn(&str) -> Option<usize>,
) -> Result<(), ConfigError> {
    let refuse = |key: &str, detail: String, hint: &str| {
        let place = match origins.of(key) {
            Source::File(path) => file_place(path, line(key)),
            Source::Flag(flag) => Place::Flag(flag),
            Source::Preset(name) => Place::Preset(name.clone()),
            Source::Default => Place::Unknown,
        };
        let kind = ConfigErrorKind::Contradiction {
            detail,
            hint: hint.to_owned(),
        };
        Err(ConfigError::new(place, kind))
    };
    let num = config.classes;
    for (key, listed) in config.listed_classes() {
        if listed != num.max(2) as usize {
            return refuse(
                key,
                format!(
                    "`{key}` lists {listed} classes, but `classes` is {num} ({})",
                    origins.of("classes")
                ),
                "list the background as well, which is the first of two if `classes` is 1",
            );
        }
    }
    let values = config.class_values.as_deref().unwrap_or_default();
    let mut ignored = config.ignore.iter().flatten();
    if let Some(both) = ignored.find(|value| values.contains(value)) {
        return refuse(
            "ignore",
            format!("`ignore` and `class_values` both hold {both}"),
            "a value is either of a class or ignored",
        );
    }
    let switch = origins.of("use_grad_checkpoint");
    match config.grad_checkpoint_policy {
        Some(CheckpointPolicy::Off) if config.use_grad_checkpoint => {
            return refuse(
                "grad_checkpoint_policy",
                format!(
                    "`grad_checkpoint_policy` is `off`, but `use_grad_checkpoint` is `true` \
                     ({switch})"
                ),
                "write `use_grad_checkpoint = false`, or pass `--grad-checkpoint off`",
            );
        }
        Some(policy) if policy != CheckpointPolicy::Off && !config.use_grad_checkpoint => {
            return refuse(
                "grad_checkpoint_policy",
                format!(
                    "`grad_checkpoint_policy` is `{policy}`, but `use_grad_checkpoint` is `false` \
                     ({switch})"
                ),
                &format!("add `use_grad_checkpoint = true`, or pass `--grad-checkpoint {policy}`"),
            );
        }
        _ => {}
    }
    let policy = config.checkpoint_policy();
    if config.grad_checkpoint_plan.is_some() && policy != CheckpointPolicy::Mixed {
        return refuse(
            "grad_checkpoint_plan",
            format!("`grad_checkpoint_plan` is set, but the policy is `{policy}`"),
            "a plan goes with the policy `mixed`: `use_grad_checkpoint = true` and \
             `grad_checkpoint_policy = \"mixed\"`, or `--grad-checkpoint mixed`",
        );
    }
    if config.use_reentrant && !policy.runs_autograd() {
        return refuse(
            "use_reentrant",
            format!(
                "`use_reentrant` is `true`, but `grad_checkpoint_policy` is `{policy}`: the \
                 reentrant form runs a backward of its own inside backward, and `{policy}` has one \
                 schedule for the whole step"
            ),
            "use the policy `block` or `stage`, or set `use_reentrant = false`",
        );
    }
    Ok(())
}
