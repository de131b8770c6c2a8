//! Maps numbers to coordinates on the page.

/// A linear axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The numbers at its ends.
    pub range: (f64, f64),
    /// The coordinates of its ends on the page.
    page: (f64, f64),
    /// The distance between two lines of the grid.
    step: f64,
}

impl Scale {
    /// An axis over a range.
    pub fn new(range: (f64, f64), page: (f64, f64)) -> Self {
        let width = (range.1 - range.0).max(f64::MIN_POSITIVE);
        Self {
            range: (range.0, range.0 + width),
            page,
            step: step(width),
        }
    }

    /// An axis that covers all `values` with a margin. It starts at zero unless that would leave most of
    /// it empty.
    pub fn of(values: impl Iterator<Item = f64>, page: (f64, f64)) -> Self {
        let all = values.filter(|it| it.is_finite());
        let (least, most) = all.fold((f64::INFINITY, 0.0_f64), |(least, most), it| {
            (least.min(it), most.max(it))
        });
        let (least, most) = (least.min(most), if most > 0.0 { most } else { 1.0 });
        let range = if least > 0.6 * most {
            let room = 0.08 * (most - least).max(0.01 * most);
            (least - room, most + room)
        } else {
            (0.0, 1.08 * most)
        };
        Self::new(range, page)
    }

    /// The axis with lines at whole numbers only, as for epochs.
    #[must_use]
    pub fn whole(self) -> Self {
        let step = self.step.max(1.0);
        Self { step, ..self }
    }

    /// The coordinate of a number.
    pub fn at(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        let share = (value - low) / (high - low);
        self.page.0 + (self.page.1 - self.page.0) * share
    }

    /// The lines of the grid, each with its number.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let (scale, digits) = (*self, digits(self.step));
        let first = (self.range.0 / self.step - 1e-6).ceil();
        (0..=20_u32)
            .map(move |index| (first + f64::from(index)) * scale.step)
            .take_while(move |at| *at <= scale.range.1 + 1e-9 * scale.step)
            .map(move |at| {
                let said = if scale.step < 1e7 {
                    format!("{at:.digits$}")
                } else {
                    format!("{at:e}")
                };
                (scale.at(at), said)
            })
    }
}

/// The step of the grid: 1, 2 or 5 times a power of ten, of which at most eight fit.
fn step(range: f64) -> f64 {
    let power = 10_f64.powf((range / 8.0).log10().floor());
    let fits = |step: &f64| range / step <= 8.0;
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    steps.into_iter().find(fits).unwrap_or(10.0 * power)
}

fn digits(step: f64) -> usize {
    match step {
        1.0.. => 0,
        0.099.. => 1,
        0.0099.. => 2,
        0.000_99.. => 3,
        0.000_099.. => 4,
        0.000_009_9.. => 5,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(scale: &Scale) -> Vec<String> {
        scale.ticks().map(|(_, said)| said).collect()
    }

    #[test]
    fn lines_are_few_and_round() {
        let page = (0.0, 100.0);
        let of = |values: &[f64]| said(&Scale::of(values.iter().copied(), page));
        assert_eq!(of(&[10.0, 52.0]), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(
            of(&[1.0, 1.3]),
            ["1.00", "1.05", "1.10", "1.15", "1.20", "1.25", "1.30"]
        );
        assert_eq!(of(&[]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert!(of(&[7.0]).contains(&"7.000".to_owned()));
        assert_eq!(said(&Scale::new((1.0, 3.0), page).whole()), ["1", "2", "3"]);
        let small = Scale::new((0.0, 0.0002), page);
        assert_eq!(said(&small)[1], "0.00005");
        assert_eq!(said(&Scale::new((0.0, 2e9), page))[1], "5e8");
        assert!((Scale::new((0.0, 50.0), page).at(25.0) - 50.0).abs() < 1e-9);
    }
}
