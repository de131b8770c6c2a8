//! The guide's claims, each beside what was measured. Nothing here is a verdict by hand: a claim is a
//! range, and the rows of the group `guide` are in it or not.

use config::CheckpointPolicy;

use crate::case::{Implementation, MemoryFormat};
use crate::matrix::Work;
use crate::results::{Results, Row, Status};

/// Rounding of the guide's figures, in points of a percentage.
const ROUNDING: f64 = 1.0;

/// A claim and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// What it is about.
    pub about: &'static str,
    /// What the guide says.
    pub stated: String,
    /// What was measured.
    pub measured: String,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// In the range that the guide states.
    Holds,
    /// Beyond its good end.
    Better,
    /// Beyond its bad end.
    No,
}

impl Verdict {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Better => "better than stated",
            Self::No => "**does not hold**",
        }
    }

    /// `more` is the good direction.
    fn of(measured: f64, (low, high): (f64, f64), more_is_good: bool) -> Self {
        let (below, above) = (measured < low - ROUNDING, measured > high + ROUNDING);
        match (below, above, more_is_good) {
            (false, false, _) => Self::Holds,
            (true, _, false) | (_, true, true) => Self::Better,
            _ => Self::No,
        }
    }
}

/// A recipe of the guide by its switches: AMP, checkpointing, channels-last.
type Switches = (bool, bool, bool);

const NONE: Switches = (false, false, false);
const CHANNELS_LAST: Switches = (false, false, true);
const AMP: Switches = (true, false, false);
const AMP_CL: Switches = (true, false, true);
const ALL: Switches = (true, true, true);

/// The claims that the rows of `results` can answer.
pub fn claims(results: &Results) -> Vec<Claim> {
    let memory = |about, of, against, range| {
        let rows = row(results, of).zip(row(results, against));
        rows.and_then(|(of, against)| saved(about, of, against, range))
    };
    let speed = |about, of, range| {
        let rows = row(results, of).zip(row(results, NONE));
        rows.and_then(|(of, against)| speed(about, of, against, range))
    };
    let mut all = vec![
        absolute(results),
        memory("memory of AMP", AMP, NONE, (35.0, 50.0)),
        memory(
            "memory of AMP and channels-last",
            AMP_CL,
            NONE,
            (40.0, 55.0),
        ),
        memory("memory of all three", ALL, NONE, (60.0, 70.0)),
        memory("memory of checkpointing", ALL, AMP_CL, (20.0, 40.0)),
        memory("memory of channels-last", CHANNELS_LAST, NONE, (5.0, 10.0)),
        speed("speed of AMP", AMP, (95.0, 105.0)),
        speed("speed of AMP and channels-last", AMP_CL, (100.0, 110.0)),
        speed("speed of all three", ALL, (70.0, 85.0)),
        speed("speed of channels-last", CHANNELS_LAST, (105.0, 115.0)),
    ];
    all.push(
        row(results, ALL)
            .zip(row(results, AMP_CL))
            .and_then(|(of, against)| {
                let more = 100.0 * (ms_per_image(of)? / ms_per_image(against)? - 1.0);
                Some(Claim {
                    about: "time of checkpointing",
                    stated: "+20 to 50 %".to_owned(),
                    measured: format!("{more:+.0} %"),
                    verdict: Verdict::of(more, (20.0, 50.0), false),
                })
            }),
    );
    all.into_iter().flatten().collect()
}

/// The row of a recipe, of the size of work of the first row.
fn row(results: &Results, (amp, checkpoint, channels_last): Switches) -> Option<&Row> {
    let first = results.group("guide").next()?;
    results.group("guide").find(|row| {
        row.implementation == Implementation::Snug
            && row.status == Status::Ok
            && (row.img_size, row.batch) == (first.img_size, first.batch)
            && row.precision.is_amp() == amp
            && (row.policy != CheckpointPolicy::Off.as_str()) == checkpoint
            && (row.memory_format == MemoryFormat::ChannelsLast) == channels_last
    })
}

/// The one figure in GB of which all others are shares; only of the guide's own work.
fn absolute(results: &Results) -> Option<Claim> {
    const STATED_GB: f64 = 2.8;
    let row = row(results, NONE)?;
    let guides = (row.size(), row.width, row.batch)
        == (Work::GUIDE.img_size, Work::GUIDE.width, Work::GUIDE.batch);
    let bytes = row.peak_allocated_bytes.filter(|_| guides)?;
    let gb = bytes as f64 / 1e9;
    Some(Claim {
        about: "memory of the baseline, 512x512, batch 8",
        stated: format!("{STATED_GB} GB"),
        measured: format!("{gb:.1} GB"),
        // A tenth for what the guide may have counted otherwise.
        verdict: if gb > STATED_GB * 1.1 {
            Verdict::No
        } else if gb < STATED_GB * 0.9 {
            Verdict::Better
        } else {
            Verdict::Holds
        },
    })
}

fn saved(about: &'static str, of: &Row, against: &Row, range: (f64, f64)) -> Option<Claim> {
    let bytes = |row: &Row| row.peak_allocated_bytes.map(|bytes| bytes as f64);
    let less = 100.0 * (1.0 - bytes(of)? / bytes(against)?);
    Some(Claim {
        about,
        stated: format!("-{:.0} to {:.0} %", range.0, range.1),
        measured: format!("{:+.0} %", -less),
        verdict: Verdict::of(less, range, true),
    })
}

fn speed(about: &'static str, of: &Row, against: &Row, range: (f64, f64)) -> Option<Claim> {
    let percent = 100.0 * ms_per_image(against)? / ms_per_image(of)?;
    Some(Claim {
        about,
        stated: format!("{:.0} to {:.0} % of the baseline's", range.0, range.1),
        measured: format!("{percent:.0} %"),
        verdict: Verdict::of(percent, range, true),
    })
}

fn ms_per_image(row: &Row) -> Option<f64> {
    row.step_ms_median
        .map(|ms| ms / f64::from(row.batch.max(1)))
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    use super::*;

    /// The same claim about other work, or of other figures, has another verdict.
    #[test]
    fn verdicts_follow_the_figures() {
        let verdict = |width, factor, about: &str| {
            let all = claims(&fixture::results(width, factor));
            all.into_iter()
                .find(|c| c.about == about)
                .map(|c| c.verdict)
        };
        let baseline = "memory of the baseline, 512x512, batch 8";
        assert_eq!(verdict(64, 1.0, baseline), Some(Verdict::No));
        // 2.8 GB is what the guide's own work never has; of other work the figure says nothing.
        assert_eq!(verdict(16, 1.0, baseline), None);
        assert_eq!(verdict(64, 1.0, "memory of AMP"), Some(Verdict::Holds));
        assert_eq!(verdict(64, 1.5, "memory of AMP"), Some(Verdict::No));
        assert_eq!(verdict(64, 0.5, "memory of AMP"), Some(Verdict::Better));
        assert_eq!(
            verdict(64, 1.0, "time of checkpointing"),
            Some(Verdict::Holds)
        );
        let nothing = Results {
            rows: Vec::new(),
            ..fixture::results(64, 1.0)
        };
        assert_eq!(claims(&nothing), []);
    }

    #[test]
    fn a_claim_is_a_range_with_a_good_end() {
        let range = (35.0, 50.0);
        let of = |measured, more_is_good| Verdict::of(measured, range, more_is_good);
        assert_eq!(of(45.0, true), Verdict::Holds);
        assert_eq!(of(34.2, true), Verdict::Holds);
        assert_eq!(of(30.0, true), Verdict::No);
        assert_eq!(of(60.0, true), Verdict::Better);
        assert_eq!(of(30.0, false), Verdict::Better);
        assert_eq!(of(60.0, false), Verdict::No);
    }
}
