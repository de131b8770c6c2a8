//! Fits the two rates of a device to the steps that `train bench` measured on it.

mod fit;
mod text;

use bench::results::{self, Results};
use config::{ImageSize, RunConfig};
use estimator::{EstimateError, Speed};
use machine::{Cpu, Hardware, Processor};
use serde::Serialize;

use crate::ledger::{Device, Fitted, SCHEMA_VERSION, Source};
use crate::target::Target;

pub use text::{to_json, to_text};

/// A recipe, measured and predicted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// The policy and the workload, in a few words.
    pub recipe: String,
    /// The median measured time.
    pub measured_seconds: f64,
    /// The time predicted with Snug's default rates.
    pub before_seconds: f64,
    /// The time predicted with the fitted rates.
    pub after_seconds: f64,
    #[serde(skip)]
    work: (ImageSize, u32, u32),
}

/// How far predicted times are from measured ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// The root of the mean square of the logarithm of predicted over measured.
    pub spread: f64,
    /// The worst relative error: predicted over measured, minus 1.
    pub worst: f64,
    /// The number of pairs of recipes with the same workload.
    pub num_pairs: usize,
    /// The number of pairs in which the recipe measured as faster is not predicted to be faster.
    pub num_inverted: usize,
}

/// The rows for one device, precision and memory format.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The fitted rates.
    pub fitted: Fitted,
    /// Snug's default FLOP/s within convolutions.
    pub before_conv_flops: f64,
    /// Snug's default bytes per second.
    pub before_memory_bytes_per_second: f64,
    /// The measurements that the rates are fitted to.
    pub samples: Vec<Sample>,
    /// Errors with the default rates.
    pub before: Errors,
    /// Errors with the fitted rates.
    pub after: Errors,
}

/// A measured recipe.
struct Measured {
    config: RunConfig,
    seconds: Vec<f64>,
}

/// The measurements of one group, with the target that predicts them.
struct Rows {
    device: Device,
    precision: String,
    memory_format: String,
    date: String,
    target: Target,
    measured: Vec<Measured>,
}

/// Fits each group of rows in the files. The result is empty if no row is usable.
///
/// # Errors
/// Fails if a size overflows.
pub fn calibrate(files: &[Results]) -> Result<Vec<Group>, EstimateError> {
    let mut all: Vec<Rows> = Vec::new();
    for results in files {
        let device = device(&results.device);
        for row in results.good() {
            let (Some(config), Some(ms)) = (row.config(), row.step_ms_median) else {
                continue;
            };
            if !(ms.is_finite() && ms > 0.0) {
                continue;
            }
            let same = all.iter().position(|it| {
                it.device.is_like(&device)
                    && (it.precision.as_str(), it.memory_format.as_str())
                        == (row.precision.as_str(), row.memory_format.as_str())
            });
            let index = same.unwrap_or_else(|| {
                all.push(Rows {
                    device: device.clone(),
                    precision: row.precision.as_str().to_owned(),
                    memory_format: row.memory_format.as_str().to_owned(),
                    date: String::new(),
                    target: target(&results.device),
                    measured: Vec::new(),
                });
                all.len() - 1
            });
            all[index].take(config, ms / 1e3, &results.date);
        }
    }
    all.iter().map(Rows::fit).collect()
}

fn device(of: &results::Device) -> Device {
    if of.kind == "cuda" {
        Device::gpu(&of.name)
    } else {
        Device::cpu(&of.name, &of.cpu_capability, threads(of))
    }
}

fn threads(of: &results::Device) -> u32 {
    u32::try_from(of.threads).unwrap_or(u32::MAX)
}

/// The target that predicts steps on the device.
fn target(of: &results::Device) -> Target {
    if of.kind == "cuda" {
        let card = Hardware::lookup(&of.name);
        let capability = card.map(|card| card.compute_capability);
        let rates = card.map(|card| card.rates);
        return Target::new(Processor::gpu(capability, rates), None);
    }
    Target::new(Processor::Cpu(Cpu::avx512(threads(of))), None)
}

impl Rows {
    fn take(&mut self, config: RunConfig, seconds: f64, date: &str) {
        // ISO dates sort lexicographically.
        self.date = self.date.as_str().max(date).to_owned();
        match self.measured.iter_mut().find(|it| it.config == config) {
            Some(it) => it.seconds.push(seconds),
            None => self.measured.push(Measured {
                config,
                seconds: vec![seconds],
            }),
        }
    }

    fn fit(&self) -> Result<Group, EstimateError> {
        let Some(first) = self.measured.first() else {
            return Err(EstimateError::Schedule);
        };
        let before = self.target.speed(&first.config);
        let measured: Vec<f64> = self.measured.iter().map(Measured::median).collect();
        let predict = |speed: &Speed| -> Result<Vec<f64>, EstimateError> {
            let seconds = |it: &Measured| self.target.seconds(&it.config, speed);
            self.measured.iter().map(seconds).collect()
        };
        let after = fit::fit(before, &measured, predict)?;
        let (before_seconds, after_seconds) = (predict(&before)?, predict(&after)?);
        let samples: Vec<Sample> = self
            .measured
            .iter()
            .zip(measured)
            .zip(before_seconds.into_iter().zip(after_seconds))
            .map(
                |((row, measured_seconds), (before_seconds, after_seconds))| Sample {
                    recipe: recipe(&row.config),
                    work: (row.config.img_size, row.config.width, row.config.batch),
                    measured_seconds,
                    before_seconds,
                    after_seconds,
                },
            )
            .collect();
        Ok(Group {
            fitted: Fitted {
                schema_version: SCHEMA_VERSION,
                source: Source::Bench,
                device: self.device.clone(),
                precision: self.precision.clone(),
                memory_format: self.memory_format.clone(),
                conv_flops: after.conv_flops,
                memory_bytes_per_second: after.memory_bytes_per_second,
                num_measurements: samples.len(),
                date: self.date.clone(),
            },
            before_conv_flops: before.conv_flops,
            before_memory_bytes_per_second: before.memory_bytes_per_second,
            before: Errors::of(&samples, |it| it.before_seconds),
            after: Errors::of(&samples, |it| it.after_seconds),
            samples,
        })
    }
}

impl Measured {
    /// The median over several tables; for an even number, the faster of the middle two.
    fn median(&self) -> f64 {
        let mut all = self.seconds.clone();
        all.sort_by(f64::total_cmp);
        all.get((all.len().max(1) - 1) / 2)
            .copied()
            .unwrap_or(f64::NAN)
    }
}

impl Errors {
    fn of(samples: &[Sample], predicted: impl Fn(&Sample) -> f64) -> Self {
        let ratio = |it: &Sample| predicted(it) / it.measured_seconds;
        let squares: f64 = samples.iter().map(|it| ratio(it).ln().powi(2)).sum();
        let worst = samples.iter().map(ratio);
        let worst = worst.max_by(|a, b| a.ln().abs().total_cmp(&b.ln().abs()));
        let (mut num_pairs, mut num_inverted) = (0, 0);
        for (index, one) in samples.iter().enumerate() {
            for other in samples[index + 1..].iter().filter(|it| it.work == one.work) {
                num_pairs += 1;
                let measured = one.measured_seconds < other.measured_seconds;
                num_inverted += usize::from(measured != (predicted(one) < predicted(other)));
            }
        }
        Self {
            spread: (squares / samples.len().max(1) as f64).sqrt(),
            worst: worst.unwrap_or(1.0) - 1.0,
            num_pairs,
            num_inverted,
        }
    }
}

fn recipe(config: &RunConfig) -> String {
    format!("{}, {}", config.workload(), config.checkpointing())
}
