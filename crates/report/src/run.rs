//! Reads a run's folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::page::name as quoted;
use crate::wire::{Report, Row, Shown, Summary, without_nulls};

/// The newest schema of `summary.json` and `report.json`.
const SCHEMA: u32 = 1;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A run as its folder describes it, complete or not.
#[derive(Clone, Debug)]
pub struct Run {
    /// The folder, as it was named.
    pub(crate) dir: PathBuf,
    /// The folder's name.
    pub(crate) name: String,
    /// Missing while the run is going on, and after it was killed.
    pub(crate) summary: Option<Summary>,
    pub(crate) rows: Vec<Row>,
    pub(crate) events: Vec<Map<String, Value>>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) report: Report,
    pub(crate) pictures: Vec<Picture>,
    /// Whether there is a snapshot to resume from.
    pub(crate) has_snapshot: bool,
}

/// A validation image with its pictures as data URIs; a missing file is named instead.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Picture {
    pub(crate) shown: Shown,
    pub(crate) parts: Vec<(&'static str, String, Option<String>)>,
}

impl Run {
    /// Reads the folder of a run. Only one of `summary.json` and `metrics.jsonl` must exist.
    ///
    /// # Errors
    /// Fails if the folder holds no run, or if one of its files cannot be read or is damaged.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let (summary, rows) = results(dir)?;
        let report: Option<Report> = document(&dir.join("report.json"))?;
        let report = report.unwrap_or_default();
        let shown = report.images.shown.iter();
        let pictures = shown.map(|it| picture(dir, it)).collect::<Result<_>>()?;
        // The name of `.` and of a link is that of the folder itself.
        let full = dir.canonicalize().map_err(Error::io("read", dir))?;
        let name = full.file_name().map_or_else(
            || "run".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(Self {
            dir: dir.to_owned(),
            name,
            config: config(&dir.join("config.toml"), summary.as_ref())?,
            rows: rows.into_iter().map(|(row, _)| row).collect(),
            summary,
            events: lines(&dir.join("events.jsonl"))?,
            report,
            pictures,
            has_snapshot: dir.join("last/snapshot.safetensors").exists(),
        })
    }

    /// What the user called it, or the folder's name.
    pub(crate) fn title(&self) -> &str {
        self.report.title.as_deref().unwrap_or(&self.name)
    }

    /// The value of a setting.
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    /// Whether there is one class beside the background.
    pub(crate) fn is_binary(&self) -> bool {
        self.setting("classes").is_none_or(|it| it == "1")
    }

    /// The row of the best validation.
    pub(crate) fn best(&self) -> Option<&Row> {
        let said = self
            .summary
            .as_ref()
            .and_then(|it| it.validation.best_epoch);
        let by_score = |a: &&Row, b: &&Row| {
            let score = |it: &Row| it.val_iou.unwrap_or(f64::NEG_INFINITY);
            score(a).total_cmp(&score(b)).then(b.epoch.cmp(&a.epoch))
        };
        let scored = self.rows.iter().filter(|it| it.val_iou.is_some());
        self.rows
            .iter()
            .find(|it| Some(it.epoch) == said)
            .or_else(|| scored.max_by(by_score))
    }

    /// The name of a class as a text says it: one that users gave stands in quotes.
    pub(crate) fn class_name(&self, class: usize) -> String {
        let names = &self.report.data.class_names;
        let configured = self.summary.as_ref().and_then(|it| {
            let names = it.config.get("class_names")?.as_array()?;
            names.get(class)?.as_str()
        });
        let is_binary = self.is_binary();
        match (names.get(class).map(String::as_str).or(configured), class) {
            (Some(name), _) if is_ours(name) => name.to_owned(),
            (Some(name), _) => quoted(name),
            (None, 0) if is_binary => "background".to_owned(),
            (None, 1) if is_binary => "foreground".to_owned(),
            _ => format!("class {class}"),
        }
    }
}

/// The values of each epoch of the run in `dir`, under their names in `metrics.jsonl`. A page shows some of them.
///
/// # Errors
/// As [`Run::open`], which reads more files.
pub fn epochs(dir: impl AsRef<Path>) -> Result<Vec<Map<String, Value>>> {
    let (_, rows) = results(dir.as_ref())?;
    Ok(rows.into_iter().map(|(_, values)| values).collect())
}

/// A row of `metrics.jsonl` with all its values.
type Values = (Row, Map<String, Value>);

/// The summary, and a row for each epoch.
fn results(dir: &Path) -> Result<(Option<Summary>, Vec<Values>)> {
    let (summary, metrics) = (dir.join("summary.json"), dir.join("metrics.jsonl"));
    if !summary.exists() && !metrics.exists() {
        return Err(Error::NotARun {
            path: dir.to_owned(),
        });
    }
    let summary = document(&summary)?;
    let rows = lines(&metrics)?.into_iter().zip(lines(&metrics)?);
    let rows = by_epoch(rows, summary.as_ref());
    Ok((summary, rows))
}

/// Whether a class has this name because users gave it none.
fn is_ours(name: &str) -> bool {
    let number = name
        .strip_prefix("class ")
        .or_else(|| name.strip_prefix("value "));
    ["background", "foreground"].contains(&name)
        || number.is_some_and(|it| it.parse::<u32>().is_ok())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

fn parsed<T: DeserializeOwned>(path: &Path, bytes: &[u8], line: Option<usize>) -> Result<T> {
    let fail = |source: serde_json::Error| Error::Json {
        path: path.to_owned(),
        line,
        source,
    };
    let mut value: Value = serde_json::from_slice(bytes)
        // The cause counts lines, too, so a line is read where it stands in its file.
        .or_else(|_| serde_json::from_slice(&[&vec![b'\n'; line.unwrap_or(1) - 1], bytes].concat()))
        .map_err(fail)?;
    without_nulls(&mut value);
    if let Some(found) = value.get("schema_version").and_then(Value::as_u64)
        && found > u64::from(SCHEMA)
    {
        return Err(Error::Schema {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: SCHEMA,
        });
    }
    serde_json::from_value(value).map_err(fail)
}

fn document<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = read(path)?;
    bytes.map(|it| parsed(path, &it, None)).transpose()
}

/// The lines of a log. The last one is left out if it was not written to its end.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let bytes = read(path)?.unwrap_or_default();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| line.ends_with(b"\n") && !line.trim_ascii().is_empty())
        .map(|(index, line)| parsed(path, line, Some(index + 1)))
        .collect()
}

/// One row for each epoch. A run that was resumed in the middle of an epoch has validated it twice: the later row
/// counts, unless the best weights are those of the earlier one.
fn by_epoch(rows: impl Iterator<Item = Values>, summary: Option<&Summary>) -> Vec<Values> {
    let best = summary.map(|it| (it.validation.best_epoch, it.validation.best_iou));
    let is_best = |(it, _): &Values| best == Some((Some(it.epoch), it.val_iou));
    let mut last = BTreeMap::new();
    for row in rows {
        if last.get(&row.0.epoch).is_none_or(|it| !is_best(it)) {
            last.insert(row.0.epoch, row);
        }
    }
    last.into_values().collect()
}

/// The settings in words: of the configuration's file, or of the summary.
fn config(path: &Path, summary: Option<&Summary>) -> Result<BTreeMap<String, String>> {
    let plain = |text: String| text.trim_matches('"').to_owned();
    let Some(bytes) = read(path)? else {
        let settings = summary.iter().flat_map(|it| &it.config);
        return Ok(settings
            .map(|(key, it)| (key.clone(), plain(it.to_string())))
            .collect());
    };
    let table: toml::Table = toml::from_slice(&bytes).map_err(|source| Error::Toml {
        path: path.to_owned(),
        source,
    })?;
    let settings = table.into_iter().filter(|(key, _)| key != "schema_version");
    Ok(settings
        .map(|(key, it)| (key, plain(it.to_string())))
        .collect())
}

fn picture(dir: &Path, shown: &Shown) -> Result<Picture> {
    let parts = [
        ("image", &shown.image),
        ("mask", &shown.truth),
        ("prediction", &shown.answer),
        ("errors", &shown.errors),
    ];
    let embedded = |(what, path): (&'static str, &String)| {
        let fail = |problem| Error::Picture {
            path: path.into(),
            problem,
        };
        let mut parts = Path::new(path).components();
        if !parts.all(|it| matches!(it, Component::Normal(_) | Component::CurDir)) {
            return Err(fail("which is not in the run's folder"));
        }
        let file = dir.join(path);
        let bytes = if path.is_empty() { None } else { read(&file)? };
        match bytes {
            Some(bytes) if !bytes.starts_with(PNG) => Err(fail("which is not a PNG file")),
            Some(bytes) => {
                let uri = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
                Ok((what, path.clone(), Some(uri)))
            }
            None => Ok((what, path.clone(), None)),
        }
    };
    Ok(Picture {
        shown: shown.clone(),
        parts: parts.into_iter().map(embedded).collect::<Result<_>>()?,
    })
}
