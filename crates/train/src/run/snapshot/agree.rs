//! The settings that may change when a run is continued.
//!
//! Settings that determine what is learnt, from which data and how must stay: the network, the data's
//! size and order, the learning rate, the precision. The length of the run may change, and so may the
//! way a step is computed, as long as the result is the same.

use config::keys::{KEYS, Key, Resume};
use config::{Resolved, RunConfig};

use crate::error::{Error, Result};
use crate::run::snapshot::Snapshot;
use crate::usage::UsageError;

/// The configuration of `snapshot` with the flags and the file in `given` applied, and a description
/// of the resulting changes.
///
/// # Errors
/// [`Error::Snapshot`] if its own configuration cannot be read, [`Error::Refused`] with the setting
/// that must not change, [`Error::Config`] if settings contradict each other.
pub fn merged(snapshot: &Snapshot, given: &Resolved) -> Result<(RunConfig, Vec<String>)> {
    let text = &snapshot.state().config;
    let mut table = table(text);
    let now = self::table(&given.config.to_toml());
    let asked = self::table(&snapshot.state().asked);
    let user = |key: &str| given.origins.given_by_user(key);
    // The keys of checkpointing belong together, and are taken together.
    let goes_along = |key: &Key| key.resume == Resume::WithCheckpointing;
    let checkpointing = KEYS.iter().any(|key| goes_along(key) && user(key.name));
    let wanted = |key: &&Key| user(key.name) || (checkpointing && goes_along(key));
    let mut changes = Vec::new();
    for key in KEYS.iter().filter(wanted) {
        let name = key.name;
        let (was, is) = (table.get(name).cloned(), now.get(name).cloned());
        if was == is || asked.get(name) == is.as_ref() {
            continue;
        }
        if key.resume == Resume::Fixed {
            return Err(refused(snapshot, key, was.as_ref(), is.as_ref()));
        }
        changes.push(format!(
            "`{name}` {} -> {}",
            shown(was.as_ref()),
            shown(is.as_ref())
        ));
        match is {
            Some(value) => drop(table.insert(name.to_owned(), value)),
            None => drop(table.remove(name)),
        }
    }
    Ok((RunConfig::from_toml(&table.to_string())?, changes))
}

/// The table of a text that `to_toml` wrote; an empty table for any other text, which `from_toml`
/// reports.
fn table(text: &str) -> toml::Table {
    toml::from_str(text).unwrap_or_default()
}

fn shown(value: Option<&toml::Value>) -> String {
    value.map_or_else(|| "unset".to_owned(), ToString::to_string)
}

fn refused(
    snapshot: &Snapshot,
    key: &Key,
    was: Option<&toml::Value>,
    is: Option<&toml::Value>,
) -> Error {
    UsageError::FixedSetting {
        snapshot: snapshot.path().to_owned(),
        key: key.name,
        flag: key.flag,
        was: shown(was),
        is: shown(is),
    }
    .into()
}
