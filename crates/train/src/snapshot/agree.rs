//! Which settings a run may be continued with.
//!
//! A setting that says what is learnt, from what and how stays: the network, the data's size and
//! order, the rate, the precision. What may change is how long the run goes on, and how a step is
//! computed as long as it computes the same.

use config::keys::{KEYS, Key, Resume};
use config::{Resolved, RunConfig};

use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::usage::UsageError;

/// The configuration of `snapshot` with what `given` has of flags and of a file, and what was
/// changed by that, in words.
///
/// # Errors
/// [`Error::Snapshot`] where its own configuration cannot be read, [`Error::Refused`] with the setting
/// that must not change, [`Error::Config`] where settings contradict each other.
pub fn merged(snapshot: &Snapshot, given: &Resolved) -> Result<(RunConfig, Vec<String>)> {
    let text = &snapshot.state().config;
    let mut table = table(text);
    let now = self::table(&given.config.to_toml());
    let asked = self::table(&snapshot.state().asked);
    let user = |key: &str| given.origins.given_by_user(key);
    // The keys of checkpointing speak of one thing, and are taken together.
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

/// Of text that `to_toml` wrote; of other text nothing, and `from_toml` says so then.
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
