//! Memory over time: what a training step holds from moment to moment, stacked by category.
//!
//! A prediction and a record have the same form, a [`MemoryTimeline`], so that one can be drawn over the
//! other.

mod chart;
mod draw;
mod panels;

use config::{BytesByCategory, Category};

pub use chart::{Bar, Chart};
pub use panels::{Panel, Panels};

/// The memory held from one moment on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the step began.
    pub at_ms: f64,
    /// The bytes by category, in the order of [`Category::ALL`].
    pub bytes: BytesByCategory,
}

impl Sample {
    /// All categories together.
    pub fn total(&self) -> u64 {
        self.bytes.iter().fold(0, |sum, it| sum.saturating_add(*it))
    }
}

/// The memory of a step, moment by moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryTimeline {
    /// The samples, in order of time.
    pub samples: Vec<Sample>,
    /// The name of each phase, and when it begins.
    pub phases: Vec<(&'static str, f64)>,
    /// When the step ends.
    pub end_ms: f64,
}

impl MemoryTimeline {
    /// Builds a timeline from moments in order: the phase, the duration of the moment, and the bytes
    /// held in it.
    pub fn of_moments(
        moments: impl IntoIterator<Item = (&'static str, f64, BytesByCategory)>,
    ) -> Self {
        let mut timeline = Self::default();
        for (phase, ms, bytes) in moments {
            let at_ms = timeline.end_ms;
            if timeline
                .phases
                .last()
                .is_none_or(|(last, _)| *last != phase)
            {
                timeline.phases.push((phase, at_ms));
            }
            timeline.samples.push(Sample { at_ms, bytes });
            timeline.end_ms += ms;
        }
        timeline
    }

    /// The sample with the most bytes; if several have as many, the first.
    pub fn peak(&self) -> Option<&Sample> {
        let most = self.samples.iter().map(Sample::total).max();
        self.samples.iter().find(|it| Some(it.total()) == most)
    }

    /// Returns the same bytes with the times of `other`: each phase is stretched to its duration there. If
    /// the phases differ, only the total length is adapted.
    #[must_use]
    pub fn in_time_of(&self, other: &Self) -> Self {
        let names = |it: &Self| it.phases.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let ends = |it: &Self| {
            let starts = it.phases.iter().map(|(_, at)| *at);
            starts.chain([it.end_ms]).collect::<Vec<f64>>()
        };
        let (from, to) = if names(self) == names(other) {
            (ends(self), ends(other))
        } else {
            (vec![0.0, self.end_ms], vec![0.0, other.end_ms])
        };
        let moved = |at: f64| {
            let pairs = || from.windows(2).zip(to.windows(2));
            let found = pairs()
                .find(|(from, _)| at < from[1])
                .or(pairs().next_back());
            found.map_or(at, |(from, to)| {
                let share = (at - from[0]) / (from[1] - from[0]).max(f64::MIN_POSITIVE);
                to[0] + share.clamp(0.0, 1.0) * (to[1] - to[0])
            })
        };
        let samples = self.samples.iter().map(|it| Sample {
            at_ms: moved(it.at_ms),
            ..*it
        });
        Self {
            samples: samples.collect(),
            phases: self
                .phases
                .iter()
                .map(|(name, at)| (*name, moved(*at)))
                .collect(),
            end_ms: other.end_ms,
        }
    }

    /// The categories that are visible in a chart, where they fill at least a 250th of the area below the peak.
    fn categories(&self) -> Vec<Category> {
        let ends = self.samples.iter().skip(1).map(|it| it.at_ms);
        let lasts: Vec<(&Sample, f64)> = (self.samples.iter())
            .zip(ends.chain([self.end_ms]))
            .map(|(sample, end)| (sample, end - sample.at_ms))
            .collect();
        let least = self.peak().map_or(0, Sample::total) as f64 * self.end_ms / 250.0;
        let holds = |it: &Category| {
            let area = lasts
                .iter()
                .map(|(sample, ms)| sample.bytes[it.index()] as f64 * ms);
            area.sum::<f64>() > least
        };
        Category::ALL.into_iter().filter(holds).collect()
    }
}

#[cfg(test)]
mod tests;
