//! What each stage keeps of its forward for its backward: a checkpoint policy as data.

use std::fmt;

use config::{Keep, Network};

use crate::ScheduleError;

/// What every stage keeps, and how the decoder joins its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Per stage, in the order in which they run: downs, bottleneck, ups.
    pub stages: Vec<Keep>,
    /// Convolve the two halves of `[up, skip]` and add, instead of concatenating first: no
    /// buffer of both halves. Sums are rounded in another order, so results are equal within
    /// rounding, not bit for bit.
    pub split_concat: bool,
}

impl Plan {
    /// A plan without a split concatenation.
    pub fn new(stages: Vec<Keep>) -> Self {
        Self {
            stages,
            split_concat: false,
        }
    }

    /// One way for all stages.
    pub fn uniform(network: &Network, keep: Keep) -> Self {
        Self {
            stages: vec![keep; network.num_stages()],
            split_concat: false,
        }
    }

    /// Convolution outputs alone are kept, everywhere: the policy `selective`.
    pub fn selective(network: &Network) -> Self {
        Self::uniform(network, Keep::Convs)
    }

    /// The policy `mixed` where no plan is given. For the guide's five levels: the plan with the
    /// smallest peak among those that add at most a fifth to the operations of a step, for
    /// [`Target::CPU`](crate::Target::CPU) and a batch of eight, with what oneDNN allocates for the
    /// gradient of a weight; a test tries all others that differ in up to two stages. For other depths: one convolution
    /// output a stage, and both of the last, which backward meets while all else is still held.
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

    /// The same plan with the concatenation split, or not.
    #[must_use]
    pub fn with_split_concat(mut self, split: bool) -> Self {
        self.split_concat = split;
        self
    }

    /// Refuses a plan for another network.
    ///
    /// # Errors
    /// [`ScheduleError::Stages`].
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
    /// The stages with a comma between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.stages.iter().map(|keep| keep.as_str()).collect();
        f.write_str(&names.join(", "))?;
        if self.split_concat {
            f.write_str("; split concat")?;
        }
        Ok(())
    }
}
