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
    /// Nobody: it is the default.
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
        for (key, value) in values(config) {
            match self.0.iter_mut().find(|it| it.key == key) {
                Some(row) if row.value == value => {}
                Some(row) => {
                    row.from = Some(std::mem::replace(&mut row.value, value));
                    row.by = by;
                    row.why = None;
                }
                None => self.0.push(Setting {
                    key,
                    value,
                    by,
                    from: None,
                    why: None,
                }),
            }
        }
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
        why: Some(format!("step {}: {}", fallback.step, fallback.failure)),
    }
}

/// Takes over from `earlier` who set what, where the run only goes on.
pub(super) fn remember(now: &mut [Setting], earlier: &[Setting]) {
    for row in now.iter_mut().filter(|it| it.by == By::Earlier) {
        if let Some(same) = earlier
            .iter()
            .find(|it| it.key == row.key && it.value == row.value)
        {
            row.clone_from(same);
        }
    }
}

/// Keys and values of a configuration, in its order.
fn values(config: &RunConfig) -> Vec<(String, String)> {
    let text = config.to_toml();
    let lines = text.lines().filter_map(|line| line.split_once(" = "));
    let plain = |value: &str| value.trim_matches('"').to_owned();
    lines
        .map(|(key, value)| (key.to_owned(), plain(value)))
        .collect()
}
