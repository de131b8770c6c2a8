//! The search for two rates.

use estimator::{EstimateError, Speed};

/// A measurement further off than this (in log ratio) counts linearly instead of quadratically, so
/// that one bad row does not distort the fit.
const OUTLIER: f64 = 0.3;
/// The penalty for moving a rate away from its default, relative to the cost of the measurements.
/// If the measurements cannot tell the two rates apart, as with a single recipe, both move alike.
const STAY: f64 = 1e-3;
/// The first and last step sizes of the search, in the logarithm of the rates.
const FIRST_STEP: f64 = 0.7;
const LAST_STEP: f64 = 1e-3;
/// A fitted rate stays within this factor of its default.
const MOST: f64 = 1e3;

/// Finds the rates that minimise the squared log ratios of predicted over measured time.
pub(super) fn fit(
    start: Speed,
    measured: &[f64],
    predict: impl Fn(&Speed) -> Result<Vec<f64>, EstimateError>,
) -> Result<Speed, EstimateError> {
    let speed = |[conv, memory]: [f64; 2]| Speed {
        conv_flops: start.conv_flops * conv.exp(),
        memory_bytes_per_second: start.memory_bytes_per_second * memory.exp(),
        ..start
    };
    let cost = |at: [f64; 2]| -> Result<f64, EstimateError> {
        let predicted = predict(&speed(at))?;
        let errors = predicted.iter().zip(measured).map(|(predicted, measured)| {
            let error = (predicted / measured).ln().abs();
            if error <= OUTLIER {
                error * error
            } else {
                OUTLIER * (2.0 * error - OUTLIER)
            }
        });
        let mean = errors.sum::<f64>() / measured.len().max(1) as f64;
        Ok(mean + STAY * (at[0] * at[0] + at[1] * at[1]))
    };
    let (mut best, mut step) = ([0.0; 2], FIRST_STEP);
    let mut least = cost(best)?;
    while step > LAST_STEP {
        let before = least;
        for (conv, memory) in DIRECTIONS {
            let at = [best[0] + step * conv, best[1] + step * memory];
            if at.iter().any(|it| it.abs() > MOST.ln()) {
                continue;
            }
            let found = cost(at)?;
            if found < least {
                (best, least) = (at, found);
            }
        }
        if least >= before {
            step /= 2.0;
        }
    }
    Ok(speed(best))
}

const DIRECTIONS: [(f64, f64); 8] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, 1.0),
    (0.0, -1.0),
    (1.0, 1.0),
    (-1.0, -1.0),
    (1.0, -1.0),
    (-1.0, 1.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    const START: Speed = Speed {
        conv_flops: 1e11,
        memory_bytes_per_second: 1e10,
        kernel_seconds: 0.0,
    };
    /// The FLOP and the bytes of a few steps.
    const STEPS: [(f64, f64); 4] = [(1e12, 1e11), (2e12, 1e11), (1e12, 3e11), (5e12, 1e10)];

    fn predict(speed: &Speed) -> Vec<f64> {
        let seconds = |(flops, bytes): (f64, f64)| {
            flops / speed.conv_flops + bytes / speed.memory_bytes_per_second
        };
        STEPS.into_iter().map(seconds).collect()
    }

    fn found(measured: &[f64]) -> (f64, f64) {
        let found = fit(START, measured, |speed| Ok(predict(speed))).unwrap();
        (found.conv_flops / 3e11, found.memory_bytes_per_second / 4e9)
    }

    /// The fit recovers one rate scaled by 3 and the other by 2/5, and nearly does so when one
    /// measurement is three times too slow.
    #[test]
    fn rates_come_back() {
        let mut measured = predict(&Speed {
            conv_flops: 3e11,
            memory_bytes_per_second: 4e9,
            ..START
        });
        let near = |(conv, memory): (f64, f64), by: f64| {
            (conv - 1.0).abs() < by && (memory - 1.0).abs() < by
        };
        assert!(near(found(&measured), 0.02), "{:?}", found(&measured));
        measured[1] *= 3.0;
        assert!(near(found(&measured), 0.5), "{:?}", found(&measured));
    }
}
