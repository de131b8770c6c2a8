//! `train accuracy --device cuda`: predicted bytes compared with those of the caching allocator.

use std::fmt::Write as _;

use config::{Bytes, CheckpointPolicy, ImageSize, MaskValue, Precision, RunConfig};
use estimator::{EstimateError, Forecast};
use figures::Table;
use serde_json::json;
use tch::Device;
use torch_ext::device_info;

use super::super::console;
use super::cases::Shape;
use super::{policies, summary};
use crate::error::Result;
use crate::lab::measure::GpuProbe;
use engine::{compose, device};

/// None was used to find a constant of the estimator.
const SHAPES: [Shape; 8] = [
    (64, (448, 512), 7, 1, 1),
    (64, (384, 512), 5, 1, 1),
    (32, (256, 256), 4, 1, 1),
    (48, (256, 384), 6, 1, 1),
    (64, (256, 256), 16, 1, 1),
    (32, (640, 480), 3, 4, 1),
    (64, (512, 512), 12, 1, 1),
    (16, (512, 512), 4, 1, 4),
];

const PRECISIONS: [Precision; 3] = [Precision::Fp16, Precision::Fp32, Precision::Bf16];

/// The number of cases: each precision and memory format four times.
const NUM_CASES: usize = 24;

/// One recipe, with what it takes as predicted and as measured.
#[derive(Debug)]
struct GpuRow {
    config: RunConfig,
    precision: Precision,
    /// Of a step after the first.
    training: Pair,
    validation: Pair,
    /// Of a step after the policy changed in mid-run.
    changed: Pair,
    /// The most of all steps, the first and a smaller one included.
    reserved: Pair,
}

/// Bytes as predicted and as measured.
#[derive(Debug, Clone, Copy)]
struct Pair {
    predicted_bytes: u64,
    measured_bytes: u64,
}

impl Pair {
    /// In percent of the measured bytes; negative if too few are predicted.
    fn error(self) -> f64 {
        100.0 * (self.predicted_bytes as f64 / self.measured_bytes.max(1) as f64 - 1.0)
    }

    fn cells(self) -> [String; 2] {
        let mib = format!("{:.0}", Bytes(self.measured_bytes).as_mib());
        [mib, format!("{:+.2}", self.error())]
    }

    fn json(self) -> serde_json::Value {
        json!({"predicted_bytes": self.predicted_bytes, "measured_bytes": self.measured_bytes})
    }
}

/// Shapes, policies, precisions and formats in turn, each with its own period, so that few cases meet all.
fn cases() -> Vec<(RunConfig, Precision)> {
    let policies: Vec<_> = policies().collect();
    let case = |nth: usize| {
        let (width, (height, columns), batch, classes, accumulation) = SHAPES[nth % SHAPES.len()];
        // A period of 9 policies and one of 8 shapes meet after 72 cases.
        let (policy, split_concat) = policies[nth % policies.len()];
        // Another one with each pass over the policies.
        let precision = PRECISIONS[(nth + nth / policies.len()) % PRECISIONS.len()];
        let config = RunConfig {
            width,
            img_size: ImageSize::new(height, columns),
            batch,
            classes,
            // Ignored pixels have tensors of their own.
            ignore: (classes > 1).then(|| vec![MaskValue::Number(255)]),
            accumulation,
            split_concat,
            use_channels_last: (nth / PRECISIONS.len()).is_multiple_of(2),
            ..RunConfig::default()
                .with_policy(policy)
                .with_precision(precision)
        };
        (config, precision)
    };
    let guides = [
        (CheckpointPolicy::Off, Precision::Fp32),
        (CheckpointPolicy::Off, Precision::Fp16),
    ];
    let guides = guides.map(|(policy, precision)| {
        let config = RunConfig::default()
            .with_policy(policy)
            .with_precision(precision);
        (RunConfig { batch: 8, ..config }, precision)
    });
    guides.into_iter().chain((0..NUM_CASES).map(case)).collect()
}

pub(super) fn run(on: Device, json: bool) -> Result<()> {
    let processor = device::processor(on);
    let mut rows = Vec::new();
    let mut left_out = Vec::new();
    for (config, precision) in cases() {
        compose::require_features(&config)?;
        if device::require_precision(on, precision).is_err() {
            continue;
        }
        let predicted = Forecast::of(&config, &processor).map_err(|error| refused(&error))?;
        let free = device::obtainable_bytes(on).unwrap_or(u64::MAX);
        if predicted.reserved_bytes.is_some_and(|bytes| bytes > free) {
            left_out.push(format!(
                "{}, {}",
                config.workload(),
                config.recipe(precision)
            ));
            continue;
        }
        rows.push(measured(config, precision, on, &predicted)?);
    }
    console::print(&if json {
        figures(&rows, &left_out, on).to_string()
    } else {
        table(&rows, &left_out, on)
    });
    Ok(())
}

fn refused(error: &EstimateError) -> crate::Error {
    engine::Error::Tensor(torch_ext::Error::InvalidArgument(error.to_string())).into()
}

fn measured(
    config: RunConfig,
    precision: Precision,
    on: Device,
    predicted: &Forecast,
) -> Result<GpuRow> {
    let mut probe = GpuProbe::new(&config, on, precision)?;
    let first = probe.step()?;
    let second = probe.step()?;
    let validation = probe.validate()?;
    let smaller = probe.smaller_step()?;
    let after = probe.step()?;
    let steps = [first, second, validation, smaller, after];
    let reserved = steps.iter().filter_map(|peak| peak.reserved_bytes).max();
    let other = match config.checkpoint_policy() {
        CheckpointPolicy::Selective => CheckpointPolicy::Off,
        _ => CheckpointPolicy::Selective,
    };
    let other = config.clone().with_policy(other);
    probe.adopt(&other, precision)?;
    probe.step()?;
    let changed = probe.step()?;
    let processor = device::processor(on);
    let of_other = Forecast::of(&other, &processor).map_err(|error| refused(&error))?;
    Ok(GpuRow {
        training: Pair {
            predicted_bytes: predicted.training.bytes,
            measured_bytes: second.allocated_bytes,
        },
        validation: Pair {
            predicted_bytes: predicted.validation.bytes,
            measured_bytes: validation.allocated_bytes,
        },
        changed: Pair {
            predicted_bytes: of_other.training.bytes,
            measured_bytes: changed.allocated_bytes,
        },
        reserved: Pair {
            predicted_bytes: predicted.reserved_bytes.unwrap_or_default(),
            measured_bytes: reserved.unwrap_or_default(),
        },
        config,
        precision,
    })
}

impl GpuRow {
    /// The four comparisons, by name.
    const fn pairs(&self) -> [(&'static str, Pair); 4] {
        [
            ("training", self.training),
            ("validation", self.validation),
            ("after a change of policy", self.changed),
            ("reserved", self.reserved),
        ]
    }

    fn recipe(&self) -> String {
        let Self {
            config, precision, ..
        } = self;
        format!("{}, {}", config.workload(), config.recipe(*precision))
    }
}

fn table(rows: &[GpuRow], left_out: &[String], on: Device) -> String {
    let mut table = Table::new(&[
        "recipe",
        "training MiB",
        "error %",
        "validation MiB",
        "error %",
        "changed MiB",
        "error %",
        "reserved MiB",
        "error %",
    ]);
    for row in rows {
        let cells = row.pairs().map(|(_, pair)| pair.cells()).concat();
        table.row([row.recipe()].into_iter().chain(cells));
    }
    let mut text = format!(
        "bytes of libtorch's caching allocator on {}, as predicted and as measured\n\n{}",
        device::name(on),
        table.to_markdown()
    );
    for (nth, name) in [
        "training",
        "validation",
        "after a change of policy",
        "reserved",
    ]
    .into_iter()
    .enumerate()
    {
        let errors = rows.iter().map(|row| row.pairs()[nth].1.error());
        text.push_str(&summary(name, errors.collect()));
    }
    for recipe in left_out {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\nmore than is free: {recipe}");
    }
    text
}

fn figures(rows: &[GpuRow], left_out: &[String], on: Device) -> serde_json::Value {
    let capability = match on {
        Device::Cuda(index) => device_info::compute_capability(index).map(|it| it.to_string()),
        _ => None,
    };
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "config": row.config,
                "precision": row.precision,
                "recipe": row.recipe(),
                "training": row.training.json(),
                "validation": row.validation.json(),
                "changed": row.changed.json(),
                "reserved": row.reserved.json(),
            })
        })
        .collect();
    json!({
        "schema_version": 2,
        "device": device::name(on),
        "compute_capability": capability,
        "rows": rows,
        "left_out": left_out,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_cases_meet_everything() {
        let cases = cases();
        let of = |what: fn(&(RunConfig, Precision)) -> String| {
            cases.iter().map(what).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(cases.len(), NUM_CASES + 2);
        assert_eq!(
            of(|(config, _)| config.checkpointing().to_string()),
            policies().count()
        );
        let computed = of(|(config, precision)| format!("{precision} {}", config.memory_format()));
        assert_eq!(computed, 6);
        // The guide's shape, and those above.
        assert_eq!(
            of(|(config, _)| config.workload().to_string()),
            1 + SHAPES.len()
        );
    }
}
