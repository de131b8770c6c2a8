//! The line that a run leaves in the ledger: its predicted and its measured cost.

use advisor::ledger::{
    self, Entry, LargestBatch, LedgerPlace, Measured, Predicted, SCHEMA_VERSION, Shape,
};
use tch::Device;
use time::OffsetDateTime;
use torch_ext::library;

use crate::command::console;
use crate::run::outputs::{Status, Summary};
use engine::device;

/// Appends the run if it made a step and did not fail. A failed write is only a warning: the run
/// itself is saved by then.
pub(super) fn remember(
    summary: &Summary,
    on: Device,
    predicted: Predicted,
    largest_batch: LargestBatch,
) {
    let Some(status) = status(summary.status).filter(|_| summary.steps > 0) else {
        return;
    };
    let place = LedgerPlace::of_environment();
    if place == LedgerPlace::Off {
        return;
    }
    let entry = entry(summary, status, on, (predicted, largest_batch));
    match place.keep(&entry) {
        // Reported once, so that a file outside the run's folder is no surprise.
        Ok(Some(kept)) if kept.is_new => console::note(&format!(
            "ledger: predicted and measured memory and speed are kept in `{}`, on this machine \
             alone; `SNUG_LEDGER=off` keeps none, `advisor ledger` reads them",
            kept.path.display()
        )),
        Ok(Some(_)) => {}
        Ok(None) => console::warn("no home folder for the ledger of runs"),
        Err(error) => console::warn(&format!("no ledger of this run: {error}")),
    }
}

const fn status(status: Status) -> Option<&'static str> {
    match status {
        Status::Completed => Some("completed"),
        Status::EarlyStopped => Some("early-stopped"),
        Status::Stopped => Some("stopped"),
        Status::Interrupted => Some("interrupted"),
        Status::EmergencyStop => Some("emergency-stop"),
        Status::Failed => None,
    }
}

fn entry(
    summary: &Summary,
    status: &str,
    on: Device,
    (predicted, largest_batch): (Predicted, LargestBatch),
) -> Entry {
    let now = OffsetDateTime::now_utc();
    let (hour, minute, second) = now.to_hms();
    // What the process holds beside the allocator, and the most that the allocator has held.
    let process = device::bytes_in_use(on).ok().and_then(|it| it.process);
    let beside = process.map(|bytes| bytes.0.saturating_sub(device::reserved_bytes(on)));
    let peak = summary.memory.peak_reserved_bytes;
    let total_bytes = beside.zip(peak).map(|(beside, peak)| beside + peak);
    Entry {
        schema_version: SCHEMA_VERSION,
        // RFC 3339. The feature of `time` for this format would pull in a macro crate.
        date: format!("{}T{hour:02}:{minute:02}:{second:02}Z", now.date()),
        device: described(summary, on),
        libtorch: library::runtime_version(),
        shape: Shape::of(&summary.config, summary.precision, largest_batch),
        predicted,
        measured: Measured {
            allocated_bytes: summary.memory.peak_allocated_bytes,
            reserved_bytes: summary.memory.peak_reserved_bytes,
            total_bytes,
            images_per_second: summary.throughput.images_per_second,
        },
        steps: summary.steps,
        status: status.to_owned(),
    }
}

fn described(summary: &Summary, on: Device) -> ledger::Device {
    let name = &summary.device.name;
    let device = if on.is_cuda() {
        ledger::Device::gpu(name)
    } else {
        let threads = u32::try_from(tch::get_num_threads()).unwrap_or(0);
        ledger::Device::cpu(name, &library::cpu_capability(), threads)
    };
    ledger::Device {
        total_bytes: summary.device.total_bytes,
        ..device
    }
}
