//! Computes how far predictions were off, device by device.

use figures::numbers::median;
use serde::Serialize;

use super::corrections::Corrections;
use super::entry::{Device, Entry};

/// Statistics of the runs on a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// The device, as the last run recorded it.
    pub device: Device,
    /// The number of runs, with or without a prediction.
    pub num_runs: usize,
    /// The error of the predicted tensor bytes: predicted over measured, minus 1. It is negative if
    /// the prediction was too low, and `None` if no run has both figures.
    pub allocated_bytes_error: Option<Spread>,
    /// Likewise for the bytes that the allocator held.
    pub reserved_bytes_error: Option<Spread>,
    /// Likewise for the bytes that the process held on the device.
    pub total_bytes_error: Option<Spread>,
    /// Measured over predicted speed.
    pub images_per_second_ratio: Option<Spread>,
    /// The corrections that follow.
    pub corrections: Corrections,
}

/// The spread of a figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Spread {
    pub num_runs: usize,
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Statistics {
    /// Computes the statistics of each device, in the order of the devices' first runs.
    pub fn of(entries: &[Entry]) -> Vec<Self> {
        let mut devices: Vec<&Device> = Vec::new();
        for entry in entries {
            match devices.iter_mut().find(|it| it.is_like(&entry.device)) {
                Some(device) => *device = &entry.device,
                None => devices.push(&entry.device),
            }
        }
        devices
            .into_iter()
            .map(|device| Self::of_device(entries, device))
            .collect()
    }

    /// Whether any figure was both predicted and measured.
    pub fn has_predictions(&self) -> bool {
        let errors = [
            self.allocated_bytes_error,
            self.reserved_bytes_error,
            self.total_bytes_error,
        ];
        errors.iter().any(Option::is_some) || self.images_per_second_ratio.is_some()
    }

    fn of_device(entries: &[Entry], device: &Device) -> Self {
        let runs: Vec<_> = entries
            .iter()
            .filter(|it| it.device.is_like(device))
            .collect();
        let error = |figures: fn(&Entry) -> [Option<u64>; 2]| {
            let errors = runs.iter().filter_map(|it| {
                let [predicted, measured] = figures(it).map(|bytes| bytes.map(|it| it as f64));
                Some(ratio(predicted, measured)? - 1.0)
            });
            Spread::of(errors.collect())
        };
        Self {
            device: device.clone(),
            num_runs: runs.len(),
            allocated_bytes_error: error(|it| {
                [it.predicted.allocated_bytes, it.measured.allocated_bytes]
            }),
            reserved_bytes_error: error(|it| {
                [it.predicted.reserved_bytes, it.measured.reserved_bytes]
            }),
            total_bytes_error: error(|it| [it.predicted.total_bytes, it.measured.total_bytes]),
            images_per_second_ratio: Spread::of(
                runs.iter()
                    .filter_map(|it| {
                        ratio(
                            it.measured.images_per_second,
                            it.predicted.images_per_second,
                        )
                    })
                    .collect(),
            ),
            corrections: Corrections::of(entries, device),
        }
    }
}

impl Spread {
    /// `None` of nothing.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            num_runs: values.len(),
            min: *values.first()?,
            median: median(&values)?,
            max: *values.last()?,
        })
    }
}

/// One figure over the other, if both are finite and positive.
pub(super) fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    let [one, other] = [one, other].map(|it| it.filter(|it| it.is_finite() && *it > 0.0));
    Some(one? / other?)
}

#[cfg(test)]
pub(super) mod tests {
    use config::RunConfig;

    use super::*;
    use crate::ledger::{LargestBatch, Measured, Predicted, SCHEMA_VERSION, Shape};

    /// A run on a CPU with these tensor bytes.
    pub(crate) fn entry(predicted: u64, measured: u64) -> Entry {
        Entry {
            schema_version: SCHEMA_VERSION,
            date: "2026-01-02T03:04:05Z".to_owned(),
            device: Device::cpu("cpu", "AVX512", 2),
            libtorch: "2.11.0".to_owned(),
            shape: Shape::of(
                &RunConfig::default(),
                config::Precision::Bf16,
                LargestBatch::of(12, 5, 20),
            ),
            predicted: Predicted {
                allocated_bytes: Some(predicted),
                ..Predicted::default()
            },
            measured: Measured {
                allocated_bytes: Some(measured),
                ..Measured::default()
            },
            steps: 4,
            status: "completed".to_owned(),
        }
    }

    /// Moves the run to a card, with predicted and measured reserved bytes and speeds.
    pub(crate) fn on_gpu(mut entry: Entry, reserved: (u64, u64), speeds: (f64, f64)) -> Entry {
        entry.device = Device::gpu("card");
        entry.predicted.reserved_bytes = Some(reserved.0);
        entry.measured.reserved_bytes = Some(reserved.1);
        entry.predicted.images_per_second = Some(speeds.0);
        entry.measured.images_per_second = Some(speeds.1);
        entry
    }

    #[test]
    fn errors_are_signed_and_by_device() {
        let mut unknown = entry(0, 100);
        unknown.predicted.allocated_bytes = None;
        let mut other = entry(100, 100);
        other.device.threads = Some(8);
        let runs = [
            entry(99, 100),
            on_gpu(entry(50, 100), (10, 5), (1.0, 2.0)),
            entry(110, 100),
            unknown,
            entry(102, 100),
            other,
        ];
        let all = Statistics::of(&runs);
        assert_eq!(all.len(), 3, "threads are a device's own");
        let spread = all[0].allocated_bytes_error.unwrap();
        assert_eq!((all[0].num_runs, spread.num_runs), (4, 3));
        for (found, expected) in [
            (spread.min, -0.01),
            (spread.median, 0.02),
            (spread.max, 0.1),
        ] {
            assert!((found - expected).abs() < 1e-12, "{spread:?}");
        }
        assert_eq!(all[0].reserved_bytes_error, None);
        let of_one = |value| Spread {
            num_runs: 1,
            min: value,
            median: value,
            max: value,
        };
        assert_eq!(all[1].images_per_second_ratio, Some(of_one(2.0)));
        assert_eq!(all[1].reserved_bytes_error, Some(of_one(1.0)));
        let compared = Corrections {
            num_compared: 1,
            ..Corrections::default()
        };
        assert_eq!(all[1].corrections, compared);
    }
}
