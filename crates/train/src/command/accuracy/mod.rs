//! `train accuracy`: predicted peaks compared with measured ones.

mod cases;
mod on_gpu;

use std::fmt::Write as _;

use clap::Args;
use config::{Bytes, MemoryFormat, Switch};
use machine::Cpu;
use tch::Device;

use super::console;
use crate::error::Result;
use crate::usage::UsageError;
use engine::device::DeviceChoice;
use engine::{compose, device};

pub(super) use cases::policies;

use cases::Case;

#[derive(Debug, Args)]
pub(super) struct AccuracyArgs {
    /// Where to measure: cpu or cuda[:N]
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// Channels-last memory format of images and weights: on or off; a GPU measures both
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    channels_last: Switch,
    /// On the CPU: only shapes of these widths, separated by commas
    #[arg(long, value_name = "WIDTHS", value_delimiter = ',')]
    width: Vec<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A step and both of its peaks.
#[derive(Debug)]
struct AccuracyRow {
    case: Case,
    predicted_bytes: u64,
    measured_bytes: u64,
}

pub(super) fn run(args: &AccuracyArgs) -> Result<()> {
    let device = args.device.resolve()?;
    if device.is_cuda() {
        return on_gpu::run(device, args.json);
    }
    let channels_last = args.channels_last == Switch::On;
    let mut rows = Vec::new();
    for case in cases::all(channels_last) {
        if !args.width.is_empty() && !args.width.contains(&case.config.width) {
            continue;
        }
        if case.config.use_amp && !Cpu::detect().bf16 {
            continue;
        }
        compose::require_features(&case.config)?;
        // A case without a prediction is not measured.
        let Some(predicted) = case.predicted() else {
            continue;
        };
        rows.push(AccuracyRow {
            measured_bytes: case.measured_bytes()?,
            predicted_bytes: predicted.bytes,
            case,
        });
    }
    if rows.is_empty() {
        return Err(UsageError::NothingPredicted {
            capability: torch_ext::library::cpu_capability(),
        }
        .into());
    }
    console::print(&if args.json {
        figures(&rows, channels_last).to_string()
    } else {
        table(&rows, channels_last)
    });
    Ok(())
}

impl AccuracyRow {
    /// The error in percent of the measured peak; negative if the prediction is too low.
    fn error(&self) -> f64 {
        100.0 * (self.predicted_bytes as f64 / self.measured_bytes as f64 - 1.0)
    }
}

fn table(rows: &[AccuracyRow], channels_last: bool) -> String {
    let mut text = format!(
        "peak of tensor bytes of a step on {} ({}, {} threads), {}\n\n\
         | width | image | batch | classes | accumulation | constants | precision | policy | \
         measured MiB | predicted MiB | error % |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        device::name(Device::Cpu),
        torch_ext::library::cpu_capability(),
        tch::get_num_threads(),
        MemoryFormat::of(channels_last),
    );
    for row in rows {
        let config = &row.case.config;
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {:+.2} |",
            config.width,
            config.img_size,
            config.batch,
            config.classes,
            config.accumulation,
            if row.case.is_fitted {
                "fitted"
            } else {
                "held out"
            },
            row.case.precision().as_str(),
            row.case,
            Bytes(row.measured_bytes).as_mib(),
            Bytes(row.predicted_bytes).as_mib(),
            row.error(),
        );
    }
    for (name, is_fitted, trains) in [
        ("training steps held out", false, true),
        ("evaluations held out", false, false),
        ("training steps of a fitted shape", true, true),
        ("evaluations of a fitted shape", true, false),
    ] {
        let of = |row: &&AccuracyRow| {
            row.case.is_fitted == is_fitted
                && (row.case.step == cases::StepKind::Training) == trains
        };
        text.push_str(&summary(
            name,
            rows.iter().filter(of).map(AccuracyRow::error).collect(),
        ));
    }
    text
}

fn summary(name: &str, mut errors: Vec<f64>) -> String {
    errors.sort_by(f64::total_cmp);
    let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let (Some(least), Some(most), Some(median)) =
        (errors.first(), errors.last(), sizes.get(sizes.len() / 2))
    else {
        return String::new();
    };
    format!(
        "\n{} {name}: error from {least:+.2} % to {most:+.2} %, median size {median:.2} %",
        errors.len()
    )
}

fn figures(rows: &[AccuracyRow], channels_last: bool) -> serde_json::Value {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "config": row.case.config,
                "step": row.case.step.name(),
                "is_fitted": row.case.is_fitted,
                "precision": row.case.precision().as_str(),
                "peak_bytes": row.measured_bytes,
                "predicted_peak_bytes": row.predicted_bytes,
            })
        })
        .collect();
    serde_json::json!({
        "schema_version": 2,
        "device": device::name(Device::Cpu),
        "cpu_capability": torch_ext::library::cpu_capability(),
        "channels_last": channels_last,
        "threads": tch::get_num_threads(),
        "rows": rows,
    })
}
