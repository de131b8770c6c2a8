//! Derives corrections of predictions for a device from the runs on it.

use config::Bytes;
use figures::numbers::median;
use serde::Serialize;

use super::entry::{Device, Entry};
use super::statistics::ratio;

/// Fewer runs than this yield no correction.
pub const MIN_RUNS: usize = 3;

/// How to correct predictions for a device. The default corrects nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Corrections {
    /// The factor for the predicted time of a step: the median of measured over predicted.
    pub time_factor: Option<f64>,
    /// The bytes to add to the predicted reserved bytes on CUDA: the median of measured minus
    /// predicted. It is 0 if less was measured than predicted, so that no correction makes a run
    /// look smaller than predicted.
    pub reserved_bytes: u64,
    /// The bytes to add to the predicted bytes that the process holds on the device. It is at least
    /// the correction of the reserved bytes, which are a part of them.
    pub total_bytes: u64,
    /// The number of runs with a figure that was both predicted and measured, whether or not it is
    /// enough for a correction.
    #[serde(skip)]
    pub num_compared: usize,
}

impl Corrections {
    /// Derives the corrections from the runs on a similar device (see [`Device::is_like`]). Each
    /// correction needs [`MIN_RUNS`] runs in which its figure was both predicted and measured.
    pub fn of(entries: &[Entry], device: &Device) -> Self {
        let runs = || entries.iter().filter(|it| it.device.is_like(device));
        let times: Vec<f64> = runs()
            .filter_map(|it| {
                // The time per image is the inverse of the speed.
                ratio(
                    it.predicted.images_per_second,
                    it.measured.images_per_second,
                )
            })
            .collect();
        let num_compared = runs().filter(|it| it.is_compared()).count();
        let enough = times.len() >= MIN_RUNS;
        let time_factor = median(&times).filter(|_| enough);
        // Errors in tensor bytes must be fixed in the estimator, and what a CPU holds besides
        // tensors is not predicted.
        if device.kind != "cuda" {
            return Self {
                time_factor,
                num_compared,
                ..Self::default()
            };
        }
        let reserved_bytes =
            lacking(runs().map(|it| (it.predicted.reserved_bytes, it.measured.reserved_bytes)));
        let total_bytes =
            lacking(runs().map(|it| (it.predicted.total_bytes, it.measured.total_bytes)));
        Self {
            time_factor,
            reserved_bytes,
            total_bytes: total_bytes.max(reserved_bytes),
            num_compared,
        }
    }

    /// Corrects predicted reserved bytes.
    #[must_use]
    pub fn reserved(&self, predicted: Bytes) -> Bytes {
        Bytes(predicted.0.saturating_add(self.reserved_bytes))
    }

    /// Corrects the predicted bytes of the process on the device.
    #[must_use]
    pub fn total(&self, predicted: Bytes) -> Bytes {
        Bytes(predicted.0.saturating_add(self.total_bytes))
    }

    /// Corrects a predicted speed.
    #[must_use]
    pub fn images_per_second(&self, predicted: f64) -> f64 {
        predicted / self.time_factor.unwrap_or(1.0)
    }
}

/// The median of measured minus predicted, or 0 if it is negative.
fn lacking(pairs: impl Iterator<Item = (Option<u64>, Option<u64>)>) -> u64 {
    let mut all: Vec<i128> = pairs
        .filter_map(|(predicted, measured)| Some(i128::from(measured?) - i128::from(predicted?)))
        .collect();
    if all.len() < MIN_RUNS {
        return 0;
    }
    all.sort_unstable();
    // For an even number, this takes the larger of the middle two: too much memory is safer than too little.
    all.get(all.len() / 2)
        .map_or(0, |bytes| u64::try_from(*bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::statistics::tests::{entry, on_gpu};

    #[test]
    fn fewer_than_three_runs_teach_nothing() {
        let gpu = Device::gpu("card");
        let run = on_gpu(entry(100, 100), (1000, 1300), (8.0, 4.0));
        let runs = vec![run; 3];
        let of_two = Corrections {
            num_compared: 2,
            ..Corrections::default()
        };
        assert_eq!(Corrections::of(&runs[..2], &gpu), of_two);
        let learnt = Corrections::of(&runs, &gpu);
        assert_eq!(learnt.time_factor, Some(2.0));
        assert_eq!((learnt.reserved_bytes, learnt.total_bytes), (300, 300));
        assert_eq!(learnt.reserved(Bytes(1)), Bytes(301));
        assert!((learnt.images_per_second(8.0) - 4.0).abs() < 1e-12);
        assert_eq!(learnt.total(Bytes(u64::MAX)), Bytes(u64::MAX));
        // Another card, or the same name with another kind.
        assert_eq!(
            Corrections::of(&runs, &Device::gpu("other")),
            Corrections::default()
        );
        assert_eq!(
            Corrections::of(&runs, &Device::cpu("card", "AVX2", 1)),
            Corrections::default()
        );
    }

    #[test]
    fn memory_is_never_corrected_downwards() {
        let gpu = Device::gpu("card");
        let runs: Vec<_> = [900, 950, 1001]
            .map(|measured| on_gpu(entry(100, 100), (1000, measured), (1.0, 1.0)))
            .into();
        let learnt = Corrections::of(&runs, &gpu);
        assert_eq!((learnt.reserved_bytes, learnt.total_bytes), (0, 0));
        let most = on_gpu(entry(0, 0), (0, u64::MAX), (1.0, 1.0));
        assert_eq!(
            Corrections::of(&[most.clone(), most.clone(), most], &gpu).reserved_bytes,
            u64::MAX
        );
    }

    #[test]
    fn the_middle_run_speaks() {
        let gpu = Device::gpu("card");
        let speeds = [
            (1.0, 1.0),
            (1.0, 0.5),
            (1.0, 0.001),
            (0.0, 5.0),
            (f64::NAN, 1.0),
        ];
        let runs: Vec<_> = speeds
            .map(|speeds| on_gpu(entry(100, 100), (10, 10), speeds))
            .into();
        // Zero and non-finite speeds are left out.
        assert_eq!(Corrections::of(&runs, &gpu).time_factor, Some(2.0));
    }
}
