//! What Python sends, before it is checked, and what it stands for.

use advisor::{Goal, Request, place};
use config::{Overrides, RunConfig, SizeArg, resolve};
use estimator::Cpu;
use machine::Device;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

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
    threads: Option<i64>,
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
        device(
            self.vram.as_deref(),
            self.gpu.as_deref(),
            self.device,
            notes,
        )
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
        let threads = self.threads.map(threads).transpose()?;
        let on = threads.map_or(self.device, |_| Where::Cpu);
        let mut device = device(self.vram.as_deref(), self.gpu.as_deref(), on, notes)?;
        if let (Device::Cpu { cpu, .. }, Some(threads)) = (&mut device, threads) {
            cpu.threads = threads;
        }
        Ok(device)
    }

    pub(crate) fn config(&self) -> Result<RunConfig> {
        let keys = overrides(&self.keys)?;
        Ok(resolve(self.preset.as_deref(), None, keys)?.config)
    }
}

fn device(
    vram: Option<&str>,
    gpu: Option<&str>,
    on: Where,
    notes: &mut Vec<String>,
) -> Result<Device> {
    let size = vram.map(str::parse::<SizeArg>).transpose()?;
    let note = size.as_ref().and_then(|size| size.note.as_ref());
    notes.extend(note.map(|note| format!("note: {note}")));
    let named = place::named(size.map(|size| size.bytes), gpu)?;
    Ok(named.unwrap_or_else(|| match on {
        Where::Auto => place::found(),
        Where::Cpu => Device::this_cpu("`--device cpu`".to_owned()),
    }))
}

fn threads(found: i64) -> Result<u32> {
    let most = Cpu::MAX_THREADS;
    u32::try_from(found)
        .ok()
        .filter(|threads| (1..=most).contains(threads))
        .ok_or(Error::Threads { found, most })
}

/// Keys with their values, through the TOML that a file would hold: its errors name the accepted range.
fn overrides(keys: &Map<String, Value>) -> Result<Overrides> {
    Ok(Overrides::from_toml(&toml::to_string(keys)?)?)
}
