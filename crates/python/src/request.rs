//! What Python sends, before it is checked, and what it stands for.

use advisor::{Goal, Request, place};
use config::{Overrides, RunConfig, SizeArg, resolve};
use estimator::Cpu;
use machine::Device;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Reads a request. An error names the argument that caused it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        // No argument is required, so the one at fault fails alone as well.
        let all: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let at_fault = all.into_iter().find_map(|(name, value)| {
            let alone = Value::Object(Map::from_iter([(name.clone(), value)]));
            let source = serde_json::from_value::<T>(alone).err()?;
            Some(Error::Argument { name, source })
        });
        at_fault.unwrap_or(Error::Request(error))
    })
}

/// The request for a recipe: the flags of `advisor suggest`. The keys are checked by `config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SuggestRequest {
    #[serde(alias = "memory")]
    vram: Option<String>,
    gpu: Option<String>,
    device: Where,
    goal: Goal,
    max_batch: bool,
    target_batch: Option<Value>,
    img_size: Option<Value>,
    width: Option<Value>,
    in_channels: Option<Value>,
    classes: Option<Value>,
}

/// The request for a prediction: the flags of `advisor explain`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PredictRequest {
    vram: Option<String>,
    gpu: Option<String>,
    device: Where,
    threads: Option<Value>,
    preset: Option<String>,
    keys: Map<String, Value>,
}

/// Where a step runs, if no card is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Where {
    /// On the GPU found here, or else on the CPU.
    #[default]
    Auto,
    Cpu,
}

impl SuggestRequest {
    pub(crate) fn device(&self, notes: &mut Vec<String>) -> Result<Device> {
        let card = card(self.vram.as_deref(), self.gpu.as_deref(), notes)?;
        Ok(place::asked(card, self.device == Where::Cpu, None)?)
    }

    pub(crate) fn request(self) -> Result<Request> {
        if self.max_batch && self.target_batch.is_some() {
            return Err(Error::TwoBatches);
        }
        let keys = [
            ("batch", self.target_batch),
            ("img_size", self.img_size),
            ("width", self.width),
            ("in_channels", self.in_channels),
            ("classes", self.classes),
        ];
        let given = keys
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let keys = overrides(&given.collect())?;
        Ok(Request {
            goal: self.goal,
            max_batch: self.max_batch,
            target_batch: keys.batch,
            img_size: keys.img_size,
            width: keys.width,
            in_channels: keys.in_channels,
            classes: keys.classes,
            exact_kernels: false,
        })
    }
}

impl PredictRequest {
    pub(crate) fn device(&self, notes: &mut Vec<String>) -> Result<Device> {
        let threads = self.threads.as_ref().map(threads).transpose()?;
        let card = card(self.vram.as_deref(), self.gpu.as_deref(), notes)?;
        Ok(place::asked(card, self.device == Where::Cpu, threads)?)
    }

    pub(crate) fn config(&self) -> Result<RunConfig> {
        let keys = overrides(&self.keys)?;
        Ok(resolve(self.preset.as_deref(), None, keys)?.config)
    }
}

/// The card that a request names, if any.
fn card(vram: Option<&str>, gpu: Option<&str>, notes: &mut Vec<String>) -> Result<Option<Device>> {
    let size = vram.map(str::parse::<SizeArg>).transpose()?;
    let note = size.as_ref().and_then(|size| size.note.as_ref());
    notes.extend(note.map(|note| format!("note: {note}")));
    Ok(place::named(size.map(|size| size.bytes), gpu)?)
}

fn threads(found: &Value) -> Result<u32> {
    let most = Cpu::MAX_THREADS;
    let number = found.as_u64().and_then(|it| u32::try_from(it).ok());
    number
        .filter(|threads| (1..=most).contains(threads))
        .ok_or_else(|| Error::Threads {
            found: found.clone(),
            most,
        })
}

/// Keys with their values, through the TOML that a file would hold: its errors name the accepted range.
fn overrides(keys: &Map<String, Value>) -> Result<Overrides> {
    for (name, value) in keys {
        toml::to_string(&Map::from_iter([(name.clone(), value.clone())])).map_err(|source| {
            Error::Key {
                name: name.clone(),
                source,
            }
        })?;
    }
    let text = toml::to_string(keys).map_err(Error::Keys)?;
    Ok(Overrides::from_toml(&text)?)
}
