//! The flags of the keys, as `clap` arguments.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, value_parser};

use crate::choices::{CudaGraph, Switch};
use crate::class_table::{MaskValues, Names};
use crate::error::ConfigError;
use crate::flags::{AmpFlag, CheckpointFlag};
use crate::image_size::ImageSize;
use crate::keys::{self, Command, with_rows};
use crate::overrides::Overrides;
use crate::plan_letters::PlanLetters;
use crate::resolve::{Resolved, resolve};
use crate::value::{Accepts, POSITIVE, whole};

/// A command line that offers flags for keys.
pub trait Offers {
    /// The command.
    const COMMAND: Command;
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Offers for $name {
            const COMMAND: Command = Command::$name;
        }
    )+};
}
commands! {
    /// [`Command::Fit`].
    Fit,
    /// [`Command::Evaluate`].
    Evaluate,
    /// [`Command::Memory`].
    Memory,
    /// [`Command::Explain`].
    Explain,
    /// [`Command::Pareto`].
    Pareto,
    /// [`Command::Suggest`].
    Suggest,
    /// [`Command::Inspect`].
    Inspect,
}

/// The flags of the keys that the command `C` offers, to be flattened into its arguments, and `--config
/// FILE` for a command that takes files.
#[derive(Clone, Debug)]
pub struct KeyFlags<C> {
    /// The file of `--config`.
    pub config: Option<PathBuf>,
    /// The values given as flags.
    pub overrides: Overrides,
    command: PhantomData<C>,
}

impl<C> KeyFlags<C> {
    /// Merges preset, file and flags, and validates.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn resolve(&self) -> Result<Resolved, ConfigError> {
        resolve(None, self.config.as_deref(), self.overrides.clone())
    }

    /// Whether neither a preset nor a file settles what has no flag.
    pub const fn are_open(&self) -> bool {
        self.overrides.preset.is_none() && self.config.is_none()
    }
}

/// Stores the value of a flag in its key or keys.
macro_rules! give {
    ($overrides:ident, $name:ident, $value:expr) => {
        $overrides.$name = Some($value.into())
    };
    ($overrides:ident, $name:ident, $value:expr, $apply:path) => {
        $apply($value, $overrides)
    };
}

/// What reads the value of a flag.
macro_rules! parser {
    (u32, $accepts:expr) => {
        number::<u32>(&$accepts)
    };
    (u64, $accepts:expr) => {
        number::<u64>(&$accepts)
    };
    (f64, $accepts:expr) => {
        number::<f64>(&$accepts)
    };
    ($given:ident, $accepts:expr) => {
        value_parser!($given)
    };
}

/// Reads a number; text that is not one, or one that the type cannot hold, is refused in the words of the row.
fn number<T: FromStr>(
    accepts: &Accepts<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + use<T> {
    let text = accepts.flag_text;
    move |given| given.parse().map_err(|_other| format!("must be {text}"))
}

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $option:ident)? = $default:expr => {
        accepts: $accepts:expr,
        flag: $flag:literal $(($given:ident, $value:literal, $help:literal $(, $apply:path)?))?,
        $($rest:tt)*
    })+) => {
        /// The flags of a command, in the order of the rows.
        fn args(command: Command) -> Vec<Arg> {
            let mut args = Vec::new();
            $($(if keys::find(stringify!($name)).is_some_and(|key| key.is_offered_by(command)) {
                let arg = Arg::new(id($flag)).long(id($flag)).help($help);
                args.push(if $value.is_empty() {
                    arg.action(ArgAction::SetTrue)
                } else {
                    arg.value_name($value).value_parser(parser!($given, $accepts))
                });
            })?)+
            args
        }

        /// Stores the values of the flags that were given.
        fn take(matches: &ArgMatches, overrides: &mut Overrides) {
            $($(if let Some(value) = given::<$given>(matches, id($flag)) {
                give!(overrides, $name, value $(, $apply)?);
            })?)+
        }
    };
}
with_rows!(flags);

const fn id(flag: &'static str) -> &'static str {
    // Every flag begins with two hyphens.
    flag.split_at(2).1
}

fn given<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Option<T> {
    let value = matches.try_get_one::<T>(id).ok()??;
    let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
    is_given.then(|| value.clone())
}

impl<C: Offers> Args for KeyFlags<C> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let args = args(C::COMMAND);
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Take keys from this TOML file");
        if !C::COMMAND.takes_files() {
            return command.args(args);
        }
        // A file may name a preset: the preset comes first.
        let preset = args.iter().position(|arg| arg.get_id() == "preset");
        let (before, after) = args.split_at(preset.map_or(0, |position| position + 1));
        command.args(before).arg(file).args(after)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<C: Offers> FromArgMatches for KeyFlags<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self {
            config: None,
            overrides: Overrides::default(),
            command: PhantomData,
        };
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        take(matches, &mut self.overrides);
        self.config = given(matches, "config").or(self.config.take());
        Ok(())
    }
}
