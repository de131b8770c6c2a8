//! From bytes and times to the page, and where the lines of its grid are.

use config::Bytes;

use super::svg::{BOTTOM, LEFT, PLOT_HEIGHT, PLOT_WIDTH};
use super::{Pareto, Point};

/// From bytes and relative time to the page.
pub(super) struct Scale {
    /// In units.
    pub(super) memory: (f64, f64),
    pub(super) memory_step: f64,
    pub(super) unit: (f64, &'static str),
    pub(super) time: (f64, f64),
    pub(super) time_step: f64,
}

impl Scale {
    pub(super) fn of(pareto: &Pareto) -> Self {
        let points = || pareto.front.iter().chain(&pareto.policies);
        let bytes = points().map(|it| it.allocated_bytes as f64);
        let (mut least, mut most) = bytes.fold((f64::INFINITY, 1.0_f64), |(least, most), it| {
            (least.min(it), most.max(it))
        });
        // What the device has is shown where it is not far off.
        if let Some(budget) = pareto.most_bytes.map(|it| it as f64)
            && (least / 1.5..most * 1.5).contains(&budget)
        {
            (least, most) = (least.min(budget), most.max(budget));
        }
        let unit = if most >= 2.0 * Bytes::GIB as f64 {
            (Bytes::GIB as f64, "GiB")
        } else {
            (Bytes::MIB as f64, "MiB")
        };
        let (least, most) = (least.min(most) / unit.0, most / unit.0);
        let room = 0.06 * (most - least).max(0.01 * most);
        let memory = ((least - room).max(0.0), most + room);
        let slowest = points().map(|it| it.relative_time).fold(1.01, f64::max);
        // So much below 1 that a mark there is whole.
        let time = (
            1.0 - 0.06 * (slowest - 1.0),
            slowest + 0.1 * (slowest - 1.0),
        );
        Self {
            memory,
            memory_step: tick(memory.1 - memory.0),
            unit,
            time,
            time_step: tick(time.1 - time.0),
        }
    }

    pub(super) fn x(&self, bytes: f64) -> f64 {
        let (low, high) = self.memory;
        LEFT + PLOT_WIDTH * (bytes / self.unit.0 - low) / (high - low)
    }

    pub(super) fn y(&self, time: f64) -> f64 {
        let (low, high) = self.time;
        BOTTOM - PLOT_HEIGHT * (time - low) / (high - low)
    }

    pub(super) fn place(&self, point: &Point) -> (f64, f64) {
        (
            self.x(point.allocated_bytes as f64),
            self.y(point.relative_time),
        )
    }
}

/// 1, 2 or 5 times a power of ten of which at most ten fit.
fn tick(range: f64) -> f64 {
    let power = 10_f64.powf((range / 10.0).log10().floor());
    let fits = |step: &f64| range / step <= 10.0;
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    steps.into_iter().find(fits).unwrap_or(10.0 * power)
}

/// Multiples of a step within a range.
pub(super) fn ticks((low, high): (f64, f64), step: f64) -> impl Iterator<Item = f64> {
    let first = (low / step - 1e-6).ceil();
    (0..=20_u32)
        .map(move |index| (first + f64::from(index)) * step)
        .take_while(move |at| *at <= high)
}

/// A multiple of a step, with the step's digits.
pub(super) fn said(at: f64, step: f64) -> String {
    let digits = if step >= 1.0 {
        0
    } else if step >= 0.1 {
        1
    } else if step >= 0.01 {
        2
    } else {
        3
    };
    format!("{at:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_round() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(tick(57.0), 10.0) && close(tick(0.8), 0.1) && close(tick(15.0), 2.0));
        let at: Vec<f64> = ticks((0.97, 1.32), 0.05).collect();
        assert_eq!(at.len(), 7);
        assert!(close(at[0], 1.0) && close(at[6], 1.3));
        assert_eq!(said(1.0, 0.05), "1.00");
    }
}
