//! Who set what in a run, for its report.

use advisor::Change;
use config::{Origins, RunConfig, Source};
use serde::{Deserialize, Serialize};

use crate::run::chosen::Chosen;
use crate::run::outputs::Fallback;

/// Who decided on a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum By {
    /// A flag or a file of the user.
    You,
    /// The preset.
    Preset,
    /// Nobody set it: it has its default.
    Default,
    /// The images and masks.
    Data,
    /// The device.
    Machine,
    /// The advisor, before the run.
    Advisor,
    /// The ladder, during it.
    Ladder,
    /// The run that this one continues.
    Earlier,
}

/// A key of the configuration with its value, as in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Setting {
    key: String,
    value: String,
    by: By,
    /// The value that it replaced.
    from: Option<String>,
    why: Option<String>,
}

/// The value of a key that has none any more.
const UNSET: &str = "unset";

/// All settings, as they are decided one after the other.
#[derive(Debug)]
pub(super) struct Settings(Vec<Setting>);

impl Settings {
    /// As given; a run that `goes_on` has most from before.
    pub(super) fn of(config: &RunConfig, origins: &Origins, goes_on: bool) -> Self {
        let by = |key: &str| match origins.of(key) {
            Source::Flag(_) | Source::File(_) => By::You,
            _ if goes_on => By::Earlier,
            Source::Preset(_) => By::Preset,
            Source::Default => By::Default,
        };
        let rows = values(config).into_iter().map(|(key, value)| Setting {
            by: by(&key),
            key,
            value,
            from: None,
            why: None,
        });
        Self(rows.collect())
    }

    /// What has other values in `config` was changed by `by`.
    pub(super) fn differ(&mut self, config: &RunConfig, by: By) {
        let mut values = values(config);
        for row in &mut self.0 {
            let place = values.iter().position(|(key, _)| *key == row.key);
            let value = place.map_or_else(|| UNSET.to_owned(), |at| values.swap_remove(at).1);
            if row.value != value {
                row.from = Some(std::mem::replace(&mut row.value, value));
                row.by = by;
                row.why = None;
            }
        }
        self.0
            .extend(values.into_iter().map(|(key, value)| Setting {
                key,
                value,
                by,
                from: None,
                why: None,
            }));
    }

    /// Why the data led to some of the values.
    pub(super) fn chosen(&mut self, all: &[Chosen]) {
        for it in all {
            self.explain(it.key, By::Data, &it.why);
        }
    }

    /// Why the advisor changed values.
    pub(super) fn changed(&mut self, all: &[Change]) {
        for it in all {
            self.explain(it.what, By::Advisor, &it.why);
        }
    }

    fn explain(&mut self, key: &str, by: By, why: &str) {
        if let Some(row) = self.0.iter_mut().find(|it| it.key == key) {
            row.by = by;
            row.why = Some(why.to_owned());
        }
    }

    pub(super) fn into_rows(self) -> Vec<Setting> {
        self.0
    }
}

/// A rung of the ladder, as a row.
pub(super) fn of_ladder(fallback: &Fallback) -> Setting {
    Setting {
        key: "recipe".to_owned(),
        value: fallback.to.clone(),
        by: By::Ladder,
        from: Some(fallback.from.clone()),
        why: Some(format!("step {}: {}", fallback.step + 1, fallback.failure)),
    }
}

/// Takes over from `earlier` who set what, where the run only goes on. Returns the rungs of then.
pub(super) fn remember(now: &mut [Setting], earlier: Vec<Setting>) -> Vec<Setting> {
    let (rungs, earlier): (Vec<_>, Vec<_>) =
        earlier.into_iter().partition(|it| it.by == By::Ladder);
    for row in now.iter_mut().filter(|it| it.by == By::Earlier) {
        if let Some(same) = earlier
            .iter()
            .find(|it| it.key == row.key && it.value == row.value)
        {
            row.clone_from(same);
        }
    }
    rungs
}

/// Keys and values of a configuration, in its order.
fn values(config: &RunConfig) -> Vec<(String, String)> {
    let text = config.to_toml();
    let lines = text.lines().filter_map(|line| line.split_once(" = "));
    let lines = lines.filter(|(key, _)| *key != "schema_version");
    let plain = |value: &str| value.trim_matches('"').to_owned();
    lines
        .map(|(key, value)| (key.to_owned(), plain(value)))
        .collect()
}
