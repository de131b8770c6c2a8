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

/// The `card`, or the CPU if `is_cpu` or a number of libtorch's threads asks for it, or else the device found here.
///
/// # Errors
/// [`AdviceError::CpuAndCard`] if both are asked for.
pub fn asked(
    card: Option<Device>,
    is_cpu: bool,
    threads: Option<u32>,
) -> Result<Device, AdviceError> {
    let flag = match (is_cpu, threads) {
        (true, _) => "--device cpu",
        (false, Some(_)) => "--threads",
        (false, None) => return Ok(card.unwrap_or_else(found)),
    };
    if card.is_some() {
        return Err(AdviceError::CpuAndCard { flag });
    }
    let mut device = Device::this_cpu("`--device cpu`".to_owned());
    if let (Device::Cpu { cpu, .. }, Some(threads)) = (&mut device, threads) {
        cpu.threads = threads;
    }
    Ok(device)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_and_the_cpu_exclude_each_other() {
        let card = || named(Some(Bytes(8 * Bytes::GIB)), None).unwrap();
        assert_eq!(asked(card(), false, None).unwrap(), card().unwrap());
        for (is_cpu, threads, flag) in [
            (true, None, "--device cpu"),
            (true, Some(2), "--device cpu"),
            (false, Some(2), "--threads"),
        ] {
            let error = asked(card(), is_cpu, threads).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{flag}` is for the CPU")),
                "{error}"
            );
            let Device::Cpu { cpu, .. } = asked(None, is_cpu, threads).unwrap() else {
                panic!("not the CPU");
            };
            assert!(threads.is_none_or(|it| it == cpu.threads));
        }
    }
}
