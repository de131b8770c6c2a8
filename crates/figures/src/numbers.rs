//! Formats numbers and durations, and computes medians and quantiles.

use std::time::Duration;

/// The median; for an even number of values, the mean of the middle two. Returns `None` for an empty slice.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The `q`-quantile for `q` in [0, 1], interpolated between neighbours. Returns `None` for an empty slice.
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

/// Formats a non-negative number with three or four significant digits.
pub fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Formats a loss or a rate, which may be tiny or huge, with three digits after the point where these say enough.
pub fn small(value: f64) -> String {
    if value == 0.0 || (0.01..100.0).contains(&value.abs()) {
        format!("{value:.3}")
    } else if (100.0..1e5).contains(&value.abs()) {
        format!("{value:.1}")
    } else {
        format!("{value:.1e}")
    }
}

/// Formats a share as a percentage: `49 %`.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// Formats a duration: `1h02m`, `3m20s` or `12s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

/// Formats a share as a signed percentage with this many digits after the point: `+3 %`, `-0.12 %`.
/// A change that rounds to zero has a plus sign.
pub fn change(share: f64, digits: usize) -> String {
    let text = format!("{:+.digits$} %", 100.0 * share);
    if text.contains(|c: char| ('1'..='9').contains(&c)) {
        text
    } else {
        text.replace('-', "+")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[0.0, 10.0], 0.25), Some(2.5));
        assert_eq!(quantile(&[5.0, 1.0, 3.0], 1.0), Some(5.0));
    }

    #[test]
    fn figures_are_few() {
        assert_eq!(
            [0.5, 9.994, 12.34, 1234.5].map(short),
            ["0.50", "9.99", "12.3", "1234"]
        );
        assert_eq!(
            [0.0, 0.5, 171.8, 0.000_96, 3e9].map(small),
            ["0.000", "0.500", "171.8", "9.6e-4", "3.0e9"]
        );
    }

    #[test]
    fn durations_are_short() {
        let texts = [12, 200, 3_725].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(texts, ["12s", "3m20s", "1h02m"]);
    }

    #[test]
    fn a_change_of_nothing_has_no_minus() {
        assert_eq!(change(-0.000_04, 2), "+0.00 %");
        assert_eq!(change(-0.001_24, 2), "-0.12 %");
        assert_eq!(change(0.031, 0), "+3 %");
    }
}
