//! The device of a prediction: named by a person or found here, and corrected by the measurements
//! made on it.

use std::env;

use config::Bytes;
use machine::nvml::detect;
use machine::{Device, Hardware};

use crate::ledger::{self, Contents, Corrections, LedgerPlace};
use crate::recommend::AdviceError;
use crate::target::Target;

/// The value that tells CUDA programs which devices to see. A value that is not Unicode names no device.
pub fn visible_devices() -> Option<String> {
    let value = env::var_os("CUDA_VISIBLE_DEVICES")?;
    Some(value.to_string_lossy().into_owned())
}

/// The device that a CUDA program would use here, or the CPU.
pub fn found() -> Device {
    detect(visible_devices().as_deref())
}

/// The card with this name, this much free memory, or both. `None` if neither is given.
///
/// # Errors
/// [`AdviceError::Card`] if the name matches no card, or several.
pub fn named(memory: Option<Bytes>, gpu: Option<&str>) -> Result<Option<Device>, AdviceError> {
    let Some(name) = gpu else {
        return Ok(memory.map(|memory| Device::Given { memory, card: None }));
    };
    let card = match memory {
        Some(memory) => Hardware::lookup_with_memory(name, memory),
        None => Hardware::lookup(name),
    };
    let card = card.ok_or_else(|| AdviceError::Card {
        name: name.to_owned(),
        near: Hardware::near(name),
    })?;
    Ok(Some(Device::Given {
        memory: memory.unwrap_or(card.memory),
        card: Some(card),
    }))
}

/// A device, corrected by the measurements made on it, and what a person should know about them. An
/// unreadable ledger is such a note, and predictions then stay uncorrected.
pub fn tuned(device: &Device) -> (Target, Vec<String>) {
    let target = Target::of(device);
    let Some(device) = ledger::Device::of(device) else {
        return (target, Vec::new());
    };
    let place = LedgerPlace::of_environment();
    let mut notes = Vec::new();
    notes.extend(earlier_calibration(&place).map(|note| format!("note: {note}")));
    let ledger = place.read().unwrap_or_else(|error| {
        notes.push(format!("warning: nothing is corrected: {error}"));
        Contents::default()
    });
    let corrections = Corrections::of(&ledger.entries, &device);
    let target = target
        .with_rates(&ledger.rates, &device)
        .with_corrections(corrections);
    (target, notes)
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
