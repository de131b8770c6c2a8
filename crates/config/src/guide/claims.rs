//! The guide's claims about its three switches, as data, and the verdict on each.
//!
//! No verdict is written by hand: a claim is a range of percentages, and a predicted or measured
//! figure lies inside that range or outside it.

use serde::Serialize;

use super::{ALL, AMP, AMP_CL, BASELINE, CHECKPOINT, SMALL, SPEED, Setup};

/// The quantity that a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Memory: the saving against the other setup, in percent.
    Memory,
    /// Speed: in percent of the other setup's speed.
    Speed,
    /// Time: the increase over the other setup, in percent.
    Time,
}

/// A range that the guide states for one setup compared with another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// A short name.
    pub about: &'static str,
    /// The quantity that is compared.
    pub quantity: Quantity,
    /// The setup that the claim is about.
    pub of: Setup,
    /// The setup that it is compared with.
    pub against: Setup,
    /// The low end and the high end of the range.
    pub percent: (f64, f64),
}

const fn claim(
    about: &'static str,
    quantity: Quantity,
    of: Setup,
    against: Setup,
    percent: (f64, f64),
) -> Claim {
    Claim {
        about,
        quantity,
        of,
        against,
        percent,
    }
}

const LARGER: Setup = Setup {
    batch: 12,
    ..BASELINE
};
const BEST_BALANCE: Setup = Setup {
    batch: 12,
    ..AMP_CL
};
const MAX_MEMORY: Setup = Setup {
    img_size: SMALL.img_size,
    batch: SMALL.batch,
    ..ALL
};

/// The guide's claims. Its patterns 2 and 3 both list channels-last as on; pattern 2 is taken
/// without it, as its title says.
#[rustfmt::skip]
pub const CLAIMS: [Claim; 15] = {
    use Quantity::{Memory, Speed, Time};
    [
        claim("AMP", Memory, AMP, BASELINE, (35.0, 50.0)),
        claim("AMP", Speed, AMP, BASELINE, (95.0, 105.0)),
        claim("checkpointing", Memory, CHECKPOINT, BASELINE, (20.0, 40.0)),
        claim("checkpointing", Time, CHECKPOINT, BASELINE, (20.0, 50.0)),
        claim("channels-last", Memory, SPEED, BASELINE, (5.0, 10.0)),
        claim("channels-last", Speed, SPEED, BASELINE, (105.0, 115.0)),
        claim("AMP + channels-last", Memory, AMP_CL, BASELINE, (40.0, 55.0)),
        claim("AMP + channels-last", Speed, AMP_CL, BASELINE, (100.0, 110.0)),
        claim("all three", Memory, ALL, BASELINE, (60.0, 70.0)),
        claim("all three", Speed, ALL, BASELINE, (70.0, 85.0)),
        claim("preset best-balance", Memory, BEST_BALANCE, LARGER, (40.0, 50.0)),
        claim("preset max-memory", Memory, MAX_MEMORY, SMALL, (60.0, 70.0)),
        claim("preset max-memory", Speed, MAX_MEMORY, SMALL, (70.0, 85.0)),
        claim("preset speed", Memory, SPEED, BASELINE, (5.0, 10.0)),
        claim("preset speed", Speed, SPEED, BASELINE, (105.0, 110.0)),
    ]
};

/// Rounding of the guide's figures, in percentage points.
const ROUNDING: f64 = 1.0;

/// The verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The figure lies in the range that the guide states.
    Holds,
    /// The figure lies beyond the good end of the range.
    Better,
    /// The figure lies beyond the bad end of the range.
    DoesNotHold,
    /// No figure is available.
    NotPredicted,
}

impl Verdict {
    /// The verdict in words, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Better => "better than stated",
            Self::DoesNotHold => "does not hold",
            Self::NotPredicted => "not predicted",
        }
    }
}

impl Claim {
    /// The claim with this name about this quantity.
    pub fn find(about: &str, quantity: Quantity) -> Option<&'static Self> {
        CLAIMS
            .iter()
            .find(|claim| claim.about == about && claim.quantity == quantity)
    }

    /// The verdict on the claim, given a predicted or measured figure in the claim's percentage.
    pub fn judge(&self, percent: Option<f64>) -> Verdict {
        let Some(percent) = percent else {
            return Verdict::NotPredicted;
        };
        let (low, high) = self.percent;
        let more_is_good = self.quantity != Quantity::Time;
        match (percent < low - ROUNDING, percent > high + ROUNDING) {
            (false, false) => Verdict::Holds,
            (below, _) if below != more_is_good => Verdict::Better,
            _ => Verdict::DoesNotHold,
        }
    }

    /// The claim's percentage from two figures: bytes for memory, otherwise images per second.
    pub fn percent_of(&self, of: f64, against: f64) -> f64 {
        match self.quantity {
            Quantity::Memory => 100.0 * (1.0 - of / against),
            Quantity::Speed => 100.0 * of / against,
            Quantity::Time => 100.0 * (against / of - 1.0),
        }
    }

    /// The stated range, for people.
    pub fn stated(&self) -> String {
        let (low, high) = self.percent;
        match self.quantity {
            Quantity::Memory => format!("-{low:.0} to {high:.0} %"),
            Quantity::Speed => format!("{low:.0} to {high:.0} %"),
            Quantity::Time => format!("+{low:.0} to {high:.0} %"),
        }
    }

    /// A figure in the claim's percentage, for people.
    pub fn shown(&self, percent: f64) -> String {
        match self.quantity {
            // Adding to 0 avoids `-0`.
            Quantity::Memory => format!("{:+.0} %", 0.0 - percent.round()),
            Quantity::Speed => format!("{percent:.0} %"),
            Quantity::Time => format!("{percent:+.0} %"),
        }
    }
}

impl Quantity {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Speed => "speed",
            Self::Time => "time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_a_range_with_a_good_end() {
        let of = |quantity, percent| {
            let claim = claim("x", quantity, AMP, BASELINE, (20.0, 50.0));
            claim.judge(Some(percent))
        };
        for quantity in [Quantity::Memory, Quantity::Time] {
            assert_eq!(of(quantity, 19.2), Verdict::Holds);
            assert_eq!(of(quantity, 50.9), Verdict::Holds);
        }
        assert_eq!(of(Quantity::Memory, 60.0), Verdict::Better);
        assert_eq!(of(Quantity::Memory, 10.0), Verdict::DoesNotHold);
        assert_eq!(of(Quantity::Time, 60.0), Verdict::DoesNotHold);
        assert_eq!(of(Quantity::Time, 10.0), Verdict::Better);
        assert_eq!(CLAIMS[0].judge(None), Verdict::NotPredicted);
    }
}
