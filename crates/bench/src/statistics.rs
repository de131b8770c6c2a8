//! A ratio of two measurements, with its interval.

use figures::numbers::median;
use serde::{Deserialize, Serialize};

/// The ratio of two quantities, from pairs that were measured one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The median of the pairs' ratios.
    pub median: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// The number of pairs.
    pub pairs: usize,
}

impl Ratio {
    /// Computes the ratio of each of `values` to its partner in `base`. The interval comes from the
    /// sign test: the true median lies outside with a probability of at most 5 %, whatever the
    /// distribution of the ratios. Fewer than six pairs cannot guarantee that, so their interval is
    /// their range. Returns `None` without pairs.
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

/// How many of `num` sorted values lie outside the interval at each end. The range from the k-th
/// value to the k-th from the end holds the median unless, of `num` coin tosses, fewer than k show
/// heads or fewer than k show tails. This is the largest k with 2 P(B < k) <= 5 %.
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

    /// The values come from tables of the sign test.
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
        // 0.5^2000 underflows to zero; the interval is then the whole range and never wrong.
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
