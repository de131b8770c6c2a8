//! The guide's claims about its three switches, as data, and what predictions make of each.
//!
//! Nothing here is a verdict by hand: a claim is a range of percent, and what is predicted is in it
//! or not.

use serde::Serialize;

use super::{ALL, AMP, AMP_CL, CHECKPOINT, NONE, Recipe, SMALL, SPEED};

/// What a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Memory, less than the other recipe's by so many percent.
    Memory,
    /// Speed, in percent of the other recipe's.
    Speed,
    /// Time, more than the other recipe's by so many percent.
    Time,
}

/// A range that the guide states of one recipe beside another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// A short name.
    pub about: &'static str,
    /// What is compared.
    pub quantity: Quantity,
    /// The recipe that it is about.
    pub of: Recipe,
    /// The recipe beside it.
    pub against: Recipe,
    /// From the low end to the high one.
    pub percent: (f64, f64),
}

const fn claim(
    about: &'static str,
    quantity: Quantity,
    of: Recipe,
    against: Recipe,
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

const LARGER: Recipe = Recipe { batch: 12, ..NONE };

/// The guide's claims. Its patterns 2 and 3 both list channels-last as on; the second is taken
/// without it, as its title says.
pub const CLAIMS: [Claim; 15] = {
    use Quantity::{Memory, Speed, Time};
    [
        claim("AMP", Memory, AMP, NONE, (35.0, 50.0)),
        claim("AMP", Speed, AMP, NONE, (95.0, 105.0)),
        claim("checkpointing", Memory, CHECKPOINT, NONE, (20.0, 40.0)),
        claim("checkpointing", Time, CHECKPOINT, NONE, (20.0, 50.0)),
        claim("channels-last", Memory, SPEED, NONE, (5.0, 10.0)),
        claim("channels-last", Speed, SPEED, NONE, (105.0, 115.0)),
        claim("AMP + channels-last", Memory, AMP_CL, NONE, (40.0, 55.0)),
        claim("AMP + channels-last", Speed, AMP_CL, NONE, (100.0, 110.0)),
        claim("all three", Memory, ALL, NONE, (60.0, 70.0)),
        claim("all three", Speed, ALL, NONE, (70.0, 85.0)),
        claim(
            "preset best-balance",
            Memory,
            Recipe {
                batch: 12,
                ..AMP_CL
            },
            LARGER,
            (40.0, 50.0),
        ),
        claim(
            "preset max-memory",
            Memory,
            Recipe {
                img_size: SMALL.img_size,
                batch: SMALL.batch,
                ..ALL
            },
            SMALL,
            (60.0, 70.0),
        ),
        claim(
            "preset max-memory",
            Speed,
            Recipe {
                img_size: SMALL.img_size,
                batch: SMALL.batch,
                ..ALL
            },
            SMALL,
            (70.0, 85.0),
        ),
        claim("preset speed", Memory, SPEED, NONE, (5.0, 10.0)),
        claim("preset speed", Speed, SPEED, NONE, (105.0, 110.0)),
    ]
};

/// Rounding of the guide's figures, in points of a percentage.
const ROUNDING: f64 = 1.0;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimVerdict {
    /// In the range that the guide states.
    Holds,
    /// Beyond its good end.
    Better,
    /// Beyond its bad end.
    DoesNotHold,
    /// The model of time has no say.
    NotPredicted,
}

/// A claim beside a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClaimCheck {
    /// What the guide says.
    pub claim: Claim,
    /// What is predicted, in the claim's percent: of memory that of tensor bytes. Where [`Claim::is_predicted`] is false, that of the
    /// other switches alone, or `None` where there are none.
    pub predicted_percent: Option<f64>,
    /// Of memory, what a process is predicted to hold of the card: with what the allocator holds
    /// beside tensors, of which cuDNN's part is an upper figure.
    pub predicted_total_percent: Option<f64>,
    /// Whether it holds.
    pub verdict: ClaimVerdict,
    /// What was measured, where both recipes were.
    pub measured_percent: Option<f64>,
}

impl ClaimVerdict {
    /// For people.
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
    /// Whether predictions have a say: the model of time is of one memory format.
    pub const fn is_predicted(&self) -> bool {
        matches!(self.quantity, Quantity::Memory)
            || self.of.use_channels_last == self.against.use_channels_last
    }

    /// Whether the recipes differ in something but the memory format.
    pub fn has_other_switches(&self) -> bool {
        (self.of.use_amp, self.of.use_grad_checkpoint)
            != (self.against.use_amp, self.against.use_grad_checkpoint)
    }

    /// The claim's percent of two figures: bytes for memory, images per second otherwise.
    pub fn percent_of(&self, of: f64, against: f64) -> f64 {
        match self.quantity {
            Quantity::Memory => 100.0 * (1.0 - of / against),
            Quantity::Speed => 100.0 * of / against,
            Quantity::Time => 100.0 * (against / of - 1.0),
        }
    }

    /// What becomes of it.
    pub fn verdict(&self, percent: Option<f64>) -> ClaimVerdict {
        let Some(percent) = percent.filter(|_| self.is_predicted()) else {
            return ClaimVerdict::NotPredicted;
        };
        let (low, high) = self.percent;
        let more_is_good = self.quantity != Quantity::Time;
        match (percent < low - ROUNDING, percent > high + ROUNDING) {
            (false, false) => ClaimVerdict::Holds,
            (below, _) if below != more_is_good => ClaimVerdict::Better,
            _ => ClaimVerdict::DoesNotHold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_a_range_with_a_good_end() {
        let of = |quantity, percent| {
            let claim = claim("x", quantity, AMP, NONE, (20.0, 50.0));
            claim.verdict(Some(percent))
        };
        for quantity in [Quantity::Memory, Quantity::Time] {
            assert_eq!(of(quantity, 19.2), ClaimVerdict::Holds);
            assert_eq!(of(quantity, 50.9), ClaimVerdict::Holds);
        }
        assert_eq!(of(Quantity::Memory, 60.0), ClaimVerdict::Better);
        assert_eq!(of(Quantity::Memory, 10.0), ClaimVerdict::DoesNotHold);
        assert_eq!(of(Quantity::Time, 60.0), ClaimVerdict::DoesNotHold);
        assert_eq!(of(Quantity::Time, 10.0), ClaimVerdict::Better);
    }

    #[test]
    fn what_a_memory_format_does_to_speed_is_not_predicted() {
        let claim = claim("x", Quantity::Speed, SPEED, NONE, (105.0, 115.0));
        assert_eq!(claim.verdict(Some(110.0)), ClaimVerdict::NotPredicted);
        assert!(!claim.has_other_switches());
    }
}
