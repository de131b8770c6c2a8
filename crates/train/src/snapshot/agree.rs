//! Which settings a run may be continued with.
//!
//! A setting that says what is learnt, from what and how stays: the network, the data's size and
//! order, the rate, the precision. What may change is how long the run goes on, and how a step is
//! computed as long as it computes the same.

use config::keys::{self, KEYS, Key, Resume};
use config::{Resolved, RunConfig};

use crate::error::{Error, Result};
use crate::snapshot::Snapshot;

/// The configuration of `snapshot` with what `given` has of flags and of a file, and what was
/// changed by that, in words.
///
/// # Errors
/// [`Error::Snapshot`] where its own configuration cannot be read, [`Error::Usage`] with the setting
/// that must not change, [`Error::Config`] where settings contradict each other.
pub fn merged(snapshot: &Snapshot, given: &Resolved) -> Result<(RunConfig, Vec<String>)> {
    let text = &snapshot.state().config;
    let mut table = table(text);
    let now = self::table(&given.config.to_toml());
    let asked = self::table(&snapshot.state().asked);
    let user = |key: &str| given.origins.given_by_user(key);
    // The keys of checkpointing speak of one thing, and are taken together.
    let goes_along = |resume| resume == Resume::WithCheckpointing;
    let checkpointing = KEYS.iter().any(|k| goes_along(k.resume) && user(k.name));
    let wanted = |k: &&Key| user(k.name) || (checkpointing && goes_along(k.resume));
    let mut changes = Vec::new();
    for Key {
        name: key, resume, ..
    } in KEYS.iter().filter(wanted)
    {
        let (was, is) = (table.get(*key).cloned(), now.get(*key).cloned());
        if was == is || asked.get(*key) == is.as_ref() {
            continue;
        }
        if *resume == Resume::Fixed {
            return Err(refused(snapshot, key, was.as_ref(), is.as_ref()));
        }
        changes.push(format!(
            "`{key}` {} -> {}",
            shown(was.as_ref()),
            shown(is.as_ref())
        ));
        match is {
            Some(value) => drop(table.insert((*key).to_owned(), value)),
            None => drop(table.remove(*key)),
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
    key: &str,
    was: Option<&toml::Value>,
    is: Option<&toml::Value>,
) -> Error {
    let flag = keys::find(key).map_or("--config", |k| k.flag);
    Error::Usage {
        message: format!(
            "`{}` is of a run with `{key}` = {}, and cannot go on with {} (`{flag}`)",
            snapshot.path().display(),
            shown(was),
            shown(is)
        ),
        hint: "leave the setting out to continue the run; to change it, start a new run from its \
               weights: `--resume FILE`"
            .to_owned(),
    }
}
