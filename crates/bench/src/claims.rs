//! Judges the guide's claims ([`config::guide`]) by measurements: the rows of the group `guide` are
//! either within a claim's range or not.

use config::guide::{BASELINE, Claim, Quantity, Setup, Stated, TABLE, Verdict};
use config::{CheckpointPolicy, MemoryFormat};

use crate::case::Implementation;
use crate::matrix::Work;
use crate::results::{Results, Row, Status};

/// A claim and its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The subject of the claim.
    pub about: String,
    /// What the guide states.
    pub stated: String,
    /// What was measured.
    pub measured: String,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Judges the claims that the rows of `results` cover: memory, then speed, then time.
pub fn claims(results: &Results) -> Vec<Checked> {
    const ABOUT: [&str; 5] = [
        "AMP",
        "AMP + channels-last",
        "all three",
        "checkpointing",
        "channels-last",
    ];
    let mut all: Vec<Checked> = baseline(results).into_iter().collect();
    for quantity in [Quantity::Memory, Quantity::Speed, Quantity::Time] {
        let claims = ABOUT.iter().filter_map(|it| Claim::find(it, quantity));
        all.extend(claims.filter_map(|claim| check(results, claim)));
    }
    all
}

fn check(results: &Results, claim: &Claim) -> Option<Checked> {
    let figure = |row: &Row| match claim.quantity {
        Quantity::Memory => row.peak_allocated_bytes.map(|bytes| bytes as f64),
        Quantity::Speed | Quantity::Time => row
            .step_ms_median
            .map(|ms| f64::from(row.batch.max(1)) / ms),
    };
    let pair = |of: &Setup, against: &Setup| row(results, of).zip(row(results, against));
    // The guide's table has no row with checkpointing alone, so it is compared with both other switches on.
    let with_others = |setup: &Setup| Setup {
        use_amp: true,
        use_channels_last: true,
        ..*setup
    };
    let (of, against) = if claim.of.use_grad_checkpoint && !claim.of.use_amp {
        pair(&with_others(&claim.of), &with_others(&claim.against))?
    } else {
        pair(&claim.of, &claim.against)?
    };
    let percent = claim.percent_of(figure(of)?, figure(against)?);
    let whose = if claim.quantity == Quantity::Speed {
        " of the baseline's"
    } else {
        ""
    };
    Some(Checked {
        about: format!(
            "{} of {}",
            claim.quantity.as_str(),
            claim.about.replace(" + ", " and ")
        ),
        stated: claim.stated() + whose,
        measured: claim.shown(percent),
        verdict: claim.judge(Some(percent)),
    })
}

/// The row with the switches of a setup and the same size of work as the first row.
fn row<'a>(results: &'a Results, setup: &Setup) -> Option<&'a Row> {
    let first = results.group("guide").next()?;
    results.group("guide").find(|row| {
        row.implementation == Implementation::Snug
            && row.status == Status::Ok
            && (row.img_size, row.batch) == (first.img_size, first.batch)
            && row.precision.is_half() == setup.use_amp
            && (row.policy != CheckpointPolicy::Off.as_str()) == setup.use_grad_checkpoint
            && (row.memory_format == MemoryFormat::ChannelsLast) == setup.use_channels_last
    })
}

/// The figure in GB that all others are shares of. It is only judged on the guide's own work.
fn baseline(results: &Results) -> Option<Checked> {
    let stated_gb = TABLE[0].stated_gb;
    let row = row(results, &BASELINE)?;
    let guides = (row.size(), row.width, row.batch)
        == (Work::GUIDE.img_size, Work::GUIDE.width, Work::GUIDE.batch);
    let bytes = row.peak_allocated_bytes.filter(|_| guides)?;
    let gb = bytes as f64 / 1e9;
    Some(Checked {
        about: "memory of the baseline, 512x512, batch 8".to_owned(),
        stated: format!("{stated_gb} GB"),
        measured: format!("{gb:.1} GB"),
        verdict: match Stated::of(stated_gb, gb) {
            Stated::Holds => Verdict::Holds,
            Stated::TooLow(_) => Verdict::DoesNotHold,
            Stated::TooHigh(_) => Verdict::Better,
        },
    })
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    use super::*;

    /// The verdict on a claim depends on the work and on the figures.
    #[test]
    fn verdicts_follow_the_figures() {
        let verdict = |width, factor, about: &str| {
            let all = claims(&fixture::results(width, factor));
            let claim = all.into_iter().find(|it| it.about == about);
            claim.map(|it| it.verdict)
        };
        let baseline = "memory of the baseline, 512x512, batch 8";
        assert_eq!(verdict(64, 1.0, baseline), Some(Verdict::DoesNotHold));
        // The guide's own work never takes 2.8 GB, and the figure says nothing about other work.
        assert_eq!(verdict(16, 1.0, baseline), None);
        let amp = |factor| verdict(64, factor, "memory of AMP");
        assert_eq!(amp(1.0), Some(Verdict::Holds));
        assert_eq!(amp(1.5), Some(Verdict::DoesNotHold));
        assert_eq!(amp(0.5), Some(Verdict::Better));
        let time = verdict(64, 1.0, "time of checkpointing");
        assert_eq!(time, Some(Verdict::Holds));
        let nothing = Results {
            rows: Vec::new(),
            ..fixture::results(64, 1.0)
        };
        assert_eq!(claims(&nothing), []);
    }
}
