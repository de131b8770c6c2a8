//! Medians, quartiles, and the interval of a ratio.

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Resamples of the bootstrap: enough for two figures of the interval's ends.
const RESAMPLES: usize = 4000;

/// The median; `None` of nothing. Of an even number, the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The `q`-quantile, `q` in [0, 1], between neighbours in a straight line; `None` of nothing.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (index(at.floor()), index(at.ceil()));
    let (a, b) = (*sorted.get(below)?, *sorted.get(above)?);
    Some(a + (b - a) * (at - at.floor()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rounded index of a slice"
)]
fn index(at: f64) -> usize {
    at as usize
}

/// How two things compare, from pairs that were measured one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// Median of the pairs' ratios.
    pub median: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Number of pairs.
    pub pairs: usize,
}

impl Ratio {
    /// The ratio of each of `values` to its partner in `base`. The interval is that of the medians
    /// of resampled pairs (percentile bootstrap), the same for the same pairs. `None` without pairs.
    pub fn of(values: &[f64], base: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = values.iter().zip(base).map(|(a, b)| a / b).collect();
        let middle = median(&ratios)?;
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut resample = || {
            let drawn: Vec<f64> = (0..ratios.len())
                .map(|_| ratios[rng.random_range(0..ratios.len())])
                .collect();
            median(&drawn).unwrap_or(middle)
        };
        let medians: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
        Some(Self {
            median: middle,
            low: quantile(&medians, 0.025)?,
            high: quantile(&medians, 0.975)?,
            pairs: ratios.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_known_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[0.0, 10.0], 0.25), Some(2.5));
        assert_eq!(quantile(&[5.0, 1.0, 3.0], 1.0), Some(5.0));
    }

    #[test]
    fn an_outlier_moves_a_median_little() {
        let base = [1.0; 9];
        let mut values = [0.9; 9];
        values[4] = 30.0;
        let ratio = Ratio::of(&values, &base).unwrap();
        assert!((ratio.median - 0.9).abs() < 1e-12);
        assert!(ratio.low <= ratio.median && ratio.high < 1.0);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_median(values in prop::collection::vec(0.1_f64..10.0, 1..20)) {
            let base = vec![2.0; values.len()];
            let ratio = Ratio::of(&values, &base).unwrap();
            prop_assert!(ratio.low <= ratio.median && ratio.median <= ratio.high);
            prop_assert_eq!(ratio.pairs, values.len());
            prop_assert_eq!(Some(ratio), Ratio::of(&values, &base));
        }
    }
}
