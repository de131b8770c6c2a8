//! Turns the settings of a block into TOML, a command and notes.

use std::collections::BTreeMap;

use config::{ConfigError, ImageSize, Overrides, RunConfig, keys, resolve};

use super::counterparts::{self, Counterpart};
use super::{Block, Converted, Note, Setting, Value};
use crate::error::{Error, Result};

/// Keys whose values a reader of the converted file should know even if the block does not set them.
const TOLD: [&str; 7] = [
    "img_size",
    "batch",
    "use_amp",
    "use_grad_checkpoint",
    "use_channels_last",
    "epochs",
    "lr",
];

/// Converts one block of the file `name`, which is the block `number` if there are several.
pub(super) fn assemble(block: Block, name: &str, number: Option<usize>) -> Result<Converted> {
    let mut sorter = Sorter {
        notes: block.notes,
        ..Sorter::default()
    };
    for setting in last_of_each(&block.settings) {
        sorter.sort(setting);
    }
    let Sorter {
        keys,
        folder,
        flags,
        mut notes,
    } = sorter;
    let lines: Vec<&str> = keys.values().map(|(_, toml)| toml.as_str()).collect();
    let refused = |source: ConfigError| Error::Refused {
        name: name.to_owned(),
        line: block.line,
        source,
    };
    let given = Overrides::from_toml(&lines.join("\n")).map_err(refused)?;
    resolve(None, None, given.clone()).map_err(refused)?;

    notes.extend(defaults(&keys).filter(|_| block.is_whole).map(|text| Note {
        line: block.line,
        text,
    }));
    notes.sort_by_key(|note| note.line);
    let file = file_name(name, number);
    let words = [
        "snug",
        "train",
        folder.as_deref().unwrap_or("DIR"),
        "--config",
        &file,
    ];
    let command = words.into_iter().map(str::to_owned);
    let flags = flags
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value]);
    Ok(Converted {
        line: block.line,
        command: command.chain(flags).collect(),
        toml: given.to_toml(),
        file,
        notes,
    })
}

/// A later setting of the same name replaces an earlier one, as in Python.
fn last_of_each(settings: &[Setting]) -> impl Iterator<Item = &Setting> {
    let indices = settings.iter().zip(0..);
    let last: BTreeMap<&str, usize> = indices
        .map(|(it, index)| (it.key.as_str(), index))
        .collect();
    let settings = settings.iter().zip(0..);
    settings
        .filter(move |(it, index)| last[it.key.as_str()] == *index)
        .map(|(it, _)| it)
}

/// Where the settings of a block go.
#[derive(Default)]
struct Sorter {
    /// The setting as it was written, and its line of TOML, by key.
    keys: BTreeMap<&'static str, (String, String)>,
    folder: Option<String>,
    flags: BTreeMap<&'static str, String>,
    notes: Vec<Note>,
}

impl Sorter {
    fn sort(&mut self, setting: &Setting) {
        let counterpart = counterparts::of(&setting.key);
        let value = match (counterpart, &setting.value) {
            (Counterpart::Nothing(reason), _) => return self.note(setting, reason),
            (Counterpart::Unknown, _) => {
                let nearest = keys::nearest_key(&setting.key);
                let nearest = nearest.map(|key| format!("; did you mean `{key}`?"));
                let text = format!("not a setting of Snug{}", nearest.unwrap_or_default());
                return self.note(setting, &text);
            }
            (Counterpart::Flag("--device"), None) => {
                let text = "without `--device`, Snug trains on a GPU if there is one";
                return self.note(setting, text);
            }
            (_, None) => {
                let text = "not written out as a plain value, so it was not read; add it by hand";
                return self.note(setting, text);
            }
            (_, Some(Value::None)) => return,
            (_, Some(value)) => value.clone(),
        };
        match counterpart {
            Counterpart::Key(key) => self.key(key, value, setting),
            Counterpart::Folder => self.folder = self.word(value, setting).or(self.folder.take()),
            Counterpart::Flag(flag) => {
                if let Some(word) = self.word(value, setting) {
                    self.flags.insert(flag, word);
                }
            }
            Counterpart::Nothing(_) | Counterpart::Unknown => {}
        }
    }

    fn key(&mut self, key: &'static str, value: Value, setting: &Setting) {
        let (value, remark) = in_our_terms(key, value);
        let Some(toml) = value.to_toml() else {
            return self.note(setting, "`None` within a list has no counterpart");
        };
        let line = format!("{key} = {toml}");
        if let Err(error) = Overrides::from_toml(&line) {
            let hint = error.hint().map(|hint| format!("; {hint}"));
            let text = format!("left out, because {error}{}", hint.unwrap_or_default());
            return self.note(setting, &text);
        }
        if let Some(remark) = remark {
            self.note(setting, remark);
        }
        if let Some((other, _)) = self.keys.insert(key, (setting.shown.clone(), line)) {
            self.note(
                setting,
                &format!("this replaces `{other}`: both are `{key}`"),
            );
        }
    }

    /// The value of a flag; an empty one and a switch that is off are as good as none.
    fn word(&mut self, value: Value, setting: &Setting) -> Option<String> {
        match value {
            Value::Bool(false) => None,
            Value::Bool(true) if setting.key.to_lowercase().starts_with("resume") => {
                Some("auto".to_owned())
            }
            Value::Str(text) if text.is_empty() => None,
            Value::Str(_) | Value::Int(_) => Some(value.to_string()),
            Value::None | Value::Bool(_) | Value::Float(_) | Value::List(_) => {
                self.note(setting, "left out, because a name or a path is expected");
                None
            }
        }
    }

    fn note(&mut self, setting: &Setting, text: &str) {
        let text = format!("`{}`: {text}", setting.shown);
        self.notes.push(Note {
            line: setting.line,
            text,
        });
    }
}

/// The value as Snug writes it, and a remark if it could mean something else in another script.
fn in_our_terms(key: &str, value: Value) -> (Value, Option<&'static str>) {
    match (key, value) {
        ("img_size", Value::Int(side)) => {
            (Value::List(vec![Value::Int(side), Value::Int(side)]), None)
        }
        ("img_size", Value::Str(text)) => match text.parse::<ImageSize>() {
            Ok(size) => in_our_terms(
                key,
                Value::List(
                    [size.height, size.width]
                        .map(|it| Value::Int(it.into()))
                        .into(),
                ),
            ),
            Err(_) => (Value::Str(text), None),
        },
        ("img_size", Value::List(sides)) => {
            let is_square = sides.first() == sides.last();
            let remark = "read as (height, width), as in the guide's script; swap them if this script means \
                          (width, height)";
            (Value::List(sides), (!is_square).then_some(remark))
        }
        ("val_percent", Value::Float(share)) if share > 0.0 && share < 1.0 => {
            // In decimal digits, so that 0.07 becomes 7.
            let percent = format!("{share}e2").parse().unwrap_or(share * 100.0);
            (
                Value::Float(percent),
                Some("read as a fraction; Snug writes it in percent"),
            )
        }
        ("amp_dtype", Value::Str(text)) => {
            let dtype = match text.strip_prefix("torch.").unwrap_or(&text) {
                "float16" | "half" => "fp16".to_owned(),
                "bfloat16" => "bf16".to_owned(),
                _ => text,
            };
            (Value::Str(dtype), None)
        }
        (key, Value::Int(it @ 0..=1)) if is_switch(key) => (Value::Bool(it == 1), None),
        (_, value) => (value, None),
    }
}

fn is_switch(key: &str) -> bool {
    Overrides::from_toml(&format!("{key} = true")).is_ok()
}

/// What holds for the keys that a reader should know.
fn defaults(keys: &BTreeMap<&'static str, (String, String)>) -> Option<String> {
    let all = RunConfig::default().to_toml();
    let is_told = |line: &&str| {
        let key = line.split(" = ").next().unwrap_or_default();
        TOLD.contains(&key) && !keys.contains_key(key)
    };
    let unset: Vec<_> = all.lines().filter(is_told).collect();
    (!unset.is_empty()).then(|| {
        format!(
            "not set here, so Snug's defaults apply: `{}`",
            unset.join("`, `")
        )
    })
}

/// The name of the TOML file beside the file `name`.
fn file_name(name: &str, number: Option<usize>) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    // A file whose name begins with a hyphen would be taken for a flag.
    let stem = match stem.trim_start_matches('-') {
        "" => "converted",
        stem => stem,
    };
    match number {
        None => format!("{stem}.toml"),
        Some(number) => format!("{stem}-{number}.toml"),
    }
}
