//! What each stage keeps from its forward for its backward: a checkpoint policy as data.

use std::fmt;

use config::{Keep, Network, PlanLetters};

use crate::ScheduleError;

/// What every stage keeps, and how the decoder combines its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// What each stage keeps, in the order in which stages run: downs, bottleneck, ups.
    pub stages: Vec<Keep>,
    /// Whether to convolve the two halves of `[up, skip]` separately and add the results, without a
    /// buffer for the concatenation. Sums are rounded in a different order, so results are equal
    /// within rounding, not bit for bit.
    pub split_concat: bool,
}

impl Plan {
    /// A plan that does not split concatenations.
    pub fn new(stages: Vec<Keep>) -> Self {
        Self {
            stages,
            split_concat: false,
        }
    }

    /// A plan that keeps the same tensors in every stage.
    pub fn uniform(network: &Network, keep: Keep) -> Self {
        Self {
            stages: vec![keep; network.num_stages()],
            split_concat: false,
        }
    }

    /// The policy `selective`: every stage keeps only its convolution outputs, and the first stage only that of its
    /// second convolution. The other is as large as any tensor of the network and the cheapest to compute again, from the
    /// few channels of the images.
    pub fn selective(network: &Network) -> Self {
        let mut plan = Self::uniform(network, Keep::Convs);
        if let Some(first) = plan.stages.first_mut() {
            *first = Keep::LastConv;
        }
        plan
    }

    /// The policy `mixed` without a given plan. For the guide's five levels, this is the plan with
    /// the smallest peak among those that add at most a fifth to the operations of a step, for
    /// [`Target::CPU`](crate::Target::CPU) and a batch of eight, including what oneDNN allocates
    /// for the gradient of a weight; a test tries all plans that differ in up to two stages. For
    /// other depths, every stage keeps one convolution output, except that the last stage keeps
    /// both, because backward reaches it while all other tensors are still held.
    pub fn mixed(network: &Network, split_concat: bool) -> Self {
        use Keep::{Convs, LastConv, Nothing};
        const WHOLE: [Keep; 9] = [
            Nothing, Nothing, Nothing, LastConv, Convs, Convs, Nothing, LastConv, Convs,
        ];
        const SPLIT: [Keep; 9] = [
            Nothing, Nothing, Nothing, Nothing, LastConv, Convs, Nothing, Convs, Convs,
        ];
        let tuned = if split_concat { SPLIT } else { WHOLE };
        let plan = if tuned.len() == network.num_stages() {
            Self::new(tuned.to_vec())
        } else {
            let mut plan = Self::uniform(network, LastConv);
            if let Some(last) = plan.stages.last_mut() {
                *last = Convs;
            }
            plan
        };
        plan.with_split_concat(split_concat)
    }

    /// The same plan, with concatenations split or not.
    #[must_use]
    pub fn with_split_concat(mut self, split: bool) -> Self {
        self.split_concat = split;
        self
    }

    /// Returns an error if the plan is for another network.
    ///
    /// # Errors
    /// [`ScheduleError::Stages`] if the number of stages differs.
    pub fn check(&self, network: &Network) -> Result<(), ScheduleError> {
        let (found, expected) = (self.stages.len(), network.num_stages());
        if found == expected {
            Ok(())
        } else {
            Err(ScheduleError::Stages { found, expected })
        }
    }
}

impl fmt::Display for Plan {
    /// A letter for each stage: `NNNNNNLNC`, `NNNNNNLNC + split`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = PlanLetters(self.stages.clone());
        let split = if self.split_concat { " + split" } else { "" };
        write!(f, "{letters}{split}")
    }
}
