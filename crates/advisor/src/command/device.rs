//! The flags that name a device, which several commands share.

use std::env;
use std::process::ExitCode;

use crate::Target;
use crate::ledger::{self, Contents, Corrections, LedgerPlace};
use config::SizeArg;
use machine::nvml::detect;
use machine::{Device, Hardware};

use super::{log, refuse, visible_devices};

#[derive(Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// For a card with this much free memory, such as `8GiB`
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    vram: Option<SizeArg>,
    /// For this card, such as `RTX 3060`
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
}

impl DeviceArgs {
    /// The device that the flags name, or else the one found here.
    pub(super) fn or_found(&self) -> Result<Device, ExitCode> {
        let named = self.named()?;
        Ok(named.unwrap_or_else(|| detect(visible_devices().as_deref())))
    }

    /// The device that the flags name, or else a typical card, which is the same on every machine.
    pub(super) fn or_typical(&self) -> Result<Device, ExitCode> {
        let named = self.named()?;
        Ok(match (named, Hardware::typical()) {
            (Some(device), _) => device,
            (None, Some(card)) => Device::Given {
                memory: card.memory,
                card: Some(card),
            },
            (None, None) => detect(visible_devices().as_deref()),
        })
    }

    pub(super) const fn is_named(&self) -> bool {
        self.vram.is_some() || self.gpu.is_some()
    }

    fn named(&self) -> Result<Option<Device>, ExitCode> {
        if let Some(note) = self.vram.as_ref().and_then(|size| size.note.as_ref()) {
            log(&format!("note: {note}"));
        }
        let memory = self.vram.as_ref().map(|size| size.bytes);
        let Some(name) = &self.gpu else {
            return Ok(memory.map(|memory| Device::Given { memory, card: None }));
        };
        let card = match memory {
            Some(memory) => Hardware::lookup_with_memory(name, memory),
            None => Hardware::lookup(name),
        };
        if let Some(card) = card {
            return Ok(Some(Device::Given {
                memory: memory.unwrap_or(card.memory),
                card: Some(card),
            }));
        }
        let near = Hardware::near(name);
        let hint = if near.is_empty() {
            "`--vram 8GiB` takes any card by its memory".to_owned()
        } else {
            format!("similar names: {}", near.join(", "))
        };
        let message = format!("`--gpu {name}` matches no card, or several");
        Err(refuse(&message, Some(&hint)))
    }
}

/// A device, corrected by the measurements made on it. An unreadable ledger is a warning, and
/// predictions then stay uncorrected.
pub(super) fn tuned(device: &Device) -> Target {
    let target = Target::of(device);
    let Some(device) = ledger::Device::of(device) else {
        return target;
    };
    let place = LedgerPlace::of_environment();
    if let Some(note) = earlier_calibration(&place) {
        log(&format!("note: {note}"));
    }
    let ledger = place.read().unwrap_or_else(|error| {
        log(&format!("warning: nothing is corrected: {error}"));
        Contents::default()
    });
    let corrections = Corrections::of(&ledger.entries, &device);
    target
        .with_rates(&ledger.rates, &device)
        .with_corrections(corrections)
}

/// Names the calibration that an earlier version kept in a separate file, if there is one.
fn earlier_calibration(place: &LedgerPlace) -> Option<String> {
    const INSTEAD: &str =
        "is no longer read: `advisor calibrate FILE... --write` adds the rates to the ledger";
    if env::var_os("SNUG_CALIBRATION").is_some_and(|value| !value.is_empty()) {
        return Some(format!("`SNUG_CALIBRATION` {INSTEAD}"));
    }
    let LedgerPlace::File(ledger) = place else {
        return None;
    };
    let file = ledger.with_file_name("calibration.json");
    let name = file.display();
    file.exists()
        .then(|| format!("`{name}` {INSTEAD}; then remove it"))
}
