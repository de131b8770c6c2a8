//! A checkpoint plan as letters: `NNNNNNLNC`.

use std::fmt;
use std::str::FromStr;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::choices::Keep;
use crate::error::ConfigError;

/// What each stage keeps. Written as a letter for each stage, in the order in which stages run;
/// read as letters or as a list of names.
///
/// ```
/// use config::{Keep, PlanLetters};
///
/// let plan: PlanLetters = "NLC".parse()?;
/// assert_eq!(plan.0, [Keep::Nothing, Keep::LastConv, Keep::Convs]);
/// assert_eq!("nothing,last-conv,convs".parse::<PlanLetters>()?, plan);
/// assert_eq!(plan.to_string(), "NLC");
/// # Ok::<(), config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlanLetters(pub Vec<Keep>);

impl Keep {
    /// The letter of this choice in a plan.
    pub const fn letter(self) -> char {
        match self {
            Self::Everything => 'E',
            Self::Convs => 'C',
            Self::LastConv => 'L',
            Self::Nothing => 'N',
        }
    }

    /// The choice of a letter.
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|keep| keep.letter() == letter)
    }
}

impl PlanLetters {
    /// What a text holds, letter by letter; `None` where it holds anything else.
    pub(crate) fn of_letters(text: &str) -> Option<Self> {
        let stages: Option<Vec<_>> = text.chars().map(Keep::of_letter).collect();
        stages.filter(|stages| !stages.is_empty()).map(Self)
    }
}

impl fmt::Display for PlanLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: String = self.0.iter().map(|keep| keep.letter()).collect();
        f.pad(&letters)
    }
}

impl FromStr for PlanLetters {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(plan) = Self::of_letters(text.trim()) {
            return Ok(plan);
        }
        let stages = text.split(',').map(|stage| stage.trim().parse());
        stages.collect::<Result<_, _>>().map(Self)
    }
}

impl From<PlanLetters> for Vec<Keep> {
    fn from(plan: PlanLetters) -> Self {
        plan.0
    }
}

impl Serialize for PlanLetters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A plan in a file, before it is checked: a name for each stage, from letters or from a list.
#[derive(Clone, Debug)]
pub(crate) struct WirePlan(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for WirePlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LettersOrNames;

        impl<'de> Visitor<'de> for LettersOrNames {
            type Value = WirePlan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a letter or a name for each stage")
            }

            fn visit_str<E>(self, text: &str) -> Result<WirePlan, E> {
                Ok(WirePlan(match PlanLetters::of_letters(text) {
                    Some(plan) => plan.0.iter().map(ToString::to_string).collect(),
                    None => vec![text.to_owned()],
                }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<WirePlan, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                Ok(WirePlan(all))
            }
        }

        deserializer.deserialize_any(LettersOrNames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_names_round_trip() {
        let all: PlanLetters = "ECLN".parse().unwrap();
        assert_eq!(all.0, Keep::ALL);
        assert_eq!(all.to_string(), "ECLN");
        let names = "everything, convs,last-conv ,nothing";
        assert_eq!(names.parse::<PlanLetters>().unwrap(), all);
        for wrong in ["", "NX", "nlc", "N,L"] {
            assert!(wrong.parse::<PlanLetters>().is_err(), "{wrong}");
        }
    }
}
