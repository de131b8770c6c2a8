//! `train accuracy`: predicted peaks beside measured ones, on the CPU.

use std::fmt::Write as _;

use clap::Args;
use config::{CheckpointPolicy, ImageSize, RunConfig};
use estimator::Batch;
use tch::Device;

use super::console;
use crate::error::{Error, Result};
use crate::measure::Subject;
use crate::precision::{CpuSupport, Precision};
use crate::{compose, device, prediction};

const MIB: f64 = 1_048_576.0;

#[derive(Debug, Args)]
pub(super) struct AccuracyArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A step and both of its peaks.
#[derive(Debug)]
struct Row {
    config: RunConfig,
    precision: Precision,
    predicted_bytes: u64,
    measured_bytes: u64,
}

/// Width, image, batch, classes, accumulation.
type Shape = (u32, (u32, u32), u32, u32, u32);

/// The estimator's constants were read off other steps (widths 16, 24 and 64, images of 64x96, 96x160
/// and 128x192), but for one that the second of these helped to find.
const SHAPES: [Shape; 7] = [
    (8, (256, 256), 2, 1, 1),
    (20, (160, 96), 3, 1, 1),
    (32, (128, 128), 4, 1, 1),
    (48, (192, 80), 1, 1, 1),
    (16, (320, 192), 1, 1, 2),
    (12, (144, 144), 8, 1, 4),
    (16, (128, 160), 2, 4, 1),
];

const POLICIES: [(CheckpointPolicy, bool); 6] = [
    (CheckpointPolicy::Off, false),
    (CheckpointPolicy::Block, false),
    (CheckpointPolicy::Stage, false),
    (CheckpointPolicy::Selective, false),
    (CheckpointPolicy::Mixed, false),
    (CheckpointPolicy::Mixed, true),
];

pub(super) fn run(args: &AccuracyArgs) -> Result<()> {
    let mut rows = Vec::new();
    for config in configs() {
        let precision = if config.use_amp {
            Precision::Bf16
        } else {
            Precision::Fp32
        };
        if config.use_amp && !CpuSupport::detect().bf16 {
            continue;
        }
        if let Some(feature) = compose::missing_feature(&config) {
            return Err(Error::MissingFeature { feature });
        }
        let predicted = prediction::peak(&config, Device::Cpu, precision, Batch::Kept);
        let predicted = predicted.ok_or_else(|| Error::Usage {
            message: format!(
                "peaks are predicted for CPUs with AVX512, and this one has {}",
                torch_ext::library::cpu_capability()
            ),
            hint: "`train memory` measures them on any CPU".to_owned(),
        })?;
        let mut subject = Subject::new(&config, Device::Cpu, precision)?;
        // Libraries allocate in their first step.
        subject.step(|_| ())?;
        rows.push(Row {
            measured_bytes: subject.peak_bytes()?.peak_bytes,
            predicted_bytes: predicted.bytes,
            config,
            precision,
        });
    }
    console::print(&if args.json {
        figures(&rows).to_string()
    } else {
        table(&rows)
    });
    Ok(())
}

fn configs() -> Vec<RunConfig> {
    let mut all = Vec::new();
    for (width, (height, columns), batch, classes, accumulation) in SHAPES {
        for (policy, split_concat) in POLICIES {
            for use_amp in [false, true] {
                all.push(RunConfig {
                    width,
                    img_size: ImageSize::new(height, columns),
                    batch,
                    classes,
                    accumulation,
                    use_amp,
                    use_grad_checkpoint: policy != CheckpointPolicy::Off,
                    grad_checkpoint_policy: Some(policy),
                    split_concat,
                    use_channels_last: true,
                    ..RunConfig::default()
                });
            }
        }
    }
    all
}

impl Row {
    /// In percent of the measured peak; below zero where the prediction is too low.
    fn error(&self) -> f64 {
        100.0 * (self.predicted_bytes as f64 / self.measured_bytes as f64 - 1.0)
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "peak of tensor bytes of a training step on {} ({}, {} threads), channels-last\n\n\
         | width | image | batch | classes | accumulation | precision | policy | measured MiB | \
         predicted MiB | error % |\n|---|---|---|---|---|---|---|---|---|---|\n",
        device::name(Device::Cpu),
        torch_ext::library::cpu_capability(),
        tch::get_num_threads(),
    );
    for row in rows {
        let config = &row.config;
        let split = if config.split_concat { " +split" } else { "" };
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {}{split} | {:.1} | {:.1} | {:+.2} |",
            config.width,
            config.img_size,
            config.batch,
            config.classes,
            config.accumulation,
            row.precision.name(),
            config.checkpoint_policy(),
            row.measured_bytes as f64 / MIB,
            row.predicted_bytes as f64 / MIB,
            row.error(),
        );
    }
    let mut errors: Vec<f64> = rows.iter().map(Row::error).collect();
    errors.sort_by(f64::total_cmp);
    let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    if let (Some(least), Some(most), Some(median)) =
        (errors.first(), errors.last(), sizes.get(sizes.len() / 2))
    {
        let _ = write!(
            text,
            "\n{} steps, error from {least:+.2} % to {most:+.2} %, median size {median:.2} %",
            rows.len()
        );
    }
    text
}

fn figures(rows: &[Row]) -> serde_json::Value {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "config": row.config,
                "precision": row.precision.name(),
                "peak_bytes": row.measured_bytes,
                "predicted_peak_bytes": row.predicted_bytes,
            })
        })
        .collect();
    serde_json::json!({
        "schema_version": 1,
        "device": device::name(Device::Cpu),
        "cpu_capability": torch_ext::library::cpu_capability(),
        "threads": tch::get_num_threads(),
        "rows": rows,
    })
}
