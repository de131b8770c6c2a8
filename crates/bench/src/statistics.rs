//! A ratio of two measurements, with its interval.

use figures::numbers::median;
use serde::{Deserialize, Serialize};

/// How two things compare, from pairs that were measured one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// Median of the pairs' ratios.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Number of pairs.
    pub pairs: usize,
}

impl Ratio {
    /// The ratio of each of `values` to its partner in `base`. The interval is that of the sign test:
    /// the ratios so far from each end that the true median lies outside with a probability of 5 % at
    /// most, whatever the ratios' distribution. Fewer than six pairs cannot say that much, and have
    /// their range. `None` without pairs.
    pub fn of(values: &[f64], base: &[f64]) -> Option<Self> {
        let mut ratios: Vec<f64> = values.iter().zip(base).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        let outside = outside(ratios.len());
        Some(Self {
            median: median(&ratios)?,
            low: *ratios.get(outside)?,
            high: *ratios.iter().nth_back(outside)?,
            pairs: ratios.len(),
        })
    }
}

/// Of `num` values in order, how many at each end lie outside of the interval. From the k-th to the
/// k-th from the end holds the median unless fewer than k of as many coins show heads, or fewer than
/// k tails: the most k for which 2 P(B < k) <= 5 %.
fn outside(num: usize) -> usize {
    const LEVEL: f64 = 0.05;
    let coins = num as f64;
    let (mut k, mut below, mut exactly) = (0_usize, 0.0, 0.5_f64.powf(coins));
    while exactly > 0.0 && 2 * k < num {
        below += exactly;
        if 2.0 * below > LEVEL {
            break;
        }
        k += 1;
        exactly *= (coins - k as f64 + 1.0) / k as f64;
    }
    k.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_outlier_moves_a_median_little() {
        let base = [1.0; 9];
        let mut values = [0.9; 9];
        values[4] = 30.0;
        let ratio = Ratio::of(&values, &base).unwrap();
        assert!((ratio.median - 0.9).abs() < 1e-12);
        assert!(ratio.low <= ratio.median && ratio.high < 1.0);
    }

    /// Tables of the sign test.
    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        for (pairs, expected) in [
            (1, 0),
            (3, 0),
            (5, 0),
            (6, 0),
            (8, 0),
            (9, 1),
            (11, 1),
            (12, 2),
            (20, 5),
        ] {
            assert_eq!(outside(pairs), expected, "{pairs}");
        }
        // 0.5^2000 is no number any more; the interval is then the range, never a wrong one.
        assert_eq!(outside(2000), 0);
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
