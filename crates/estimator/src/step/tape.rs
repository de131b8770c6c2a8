//! What is held, moment by moment: the level of tensor bytes, and the moment with the most.

use schedule::Op;

use crate::EstimateError;

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Parameters,
    Optimizer,
    Gradients,
    Activations,
    Transients,
}

impl Category {
    const NUM: usize = 5;
}

/// What a step is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// An operation of the network's forward.
    Forward(Op),
    /// An operation of its backward; operations of the forward are run again there.
    Backward(Op),
    /// The loss, or its backward.
    Loss,
    /// The optimizer's step.
    Update,
    /// Nothing: before and between steps.
    Between,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forward(op) | Self::Backward(op) => op.fmt(f),
            Self::Loss => f.write_str("loss"),
            Self::Update => f.write_str("optimizer step"),
            Self::Between => f.write_str("between steps"),
        }
    }
}

/// Bytes by category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Breakdown {
    pub parameters_bytes: u64,
    pub optimizer_bytes: u64,
    pub gradients_bytes: u64,
    pub activations_bytes: u64,
    pub transients_bytes: u64,
}

/// The most that a step holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// Tensor bytes.
    pub bytes: u64,
    /// Of what.
    pub breakdown: Breakdown,
    /// During what.
    pub at: At,
}

/// What one operation holds at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The operation.
    pub at: At,
    /// Tensor bytes.
    pub bytes: u64,
}

/// A step, operation by operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepMemory {
    /// The most that it holds.
    pub peak: Peak,
    /// In order.
    pub timeline: Vec<Moment>,
}

/// A tensor on the tape; [`Tape::release`] takes it off.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a tensor that is dropped is still on the tape"]
pub(super) struct Held {
    bytes: u64,
    category: Category,
}

/// The level, and the most that it has been.
#[derive(Debug)]
pub(super) struct Tape {
    by: [u64; Category::NUM],
    peak: Peak,
    timeline: Vec<Moment>,
    /// A sum went past 64 bits.
    overflow: bool,
}

impl Tape {
    pub(super) const fn new() -> Self {
        Self {
            by: [0; Category::NUM],
            peak: Peak {
                bytes: 0,
                breakdown: Breakdown {
                    parameters_bytes: 0,
                    optimizer_bytes: 0,
                    gradients_bytes: 0,
                    activations_bytes: 0,
                    transients_bytes: 0,
                },
                at: At::Between,
            },
            timeline: Vec::new(),
            overflow: false,
        }
    }

    pub(super) fn enter(&mut self, at: At) {
        self.timeline.push(Moment { at, bytes: 0 });
        self.touch(0);
    }

    pub(super) fn hold(&mut self, bytes: u64, category: Category) -> Held {
        let sum = self.by[category as usize].checked_add(bytes);
        self.overflow |= sum.is_none();
        self.by[category as usize] = sum.unwrap_or(u64::MAX);
        self.touch(0);
        Held { bytes, category }
    }

    /// Held to the end of the step.
    pub(super) fn keep(&mut self, bytes: u64, category: Category) {
        let Held { .. } = self.hold(bytes, category);
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "who releases a tensor has it no longer"
    )]
    pub(super) fn release(&mut self, held: Held) {
        let level = &mut self.by[held.category as usize];
        *level = level.saturating_sub(held.bytes);
    }

    /// Bytes that are held for a moment on top of all else.
    pub(super) fn touch(&mut self, transient: u64) {
        let [parameters, optimizer, gradients, activations, transients] = self.by;
        let sum = self
            .by
            .iter()
            .try_fold(transient, |sum, bytes| sum.checked_add(*bytes));
        let Some(bytes) = sum else {
            self.overflow = true;
            return;
        };
        let mut at = At::Between;
        if let Some(moment) = self.timeline.last_mut() {
            moment.bytes = moment.bytes.max(bytes);
            at = moment.at;
        }
        if bytes > self.peak.bytes {
            self.peak = Peak {
                bytes,
                breakdown: Breakdown {
                    parameters_bytes: parameters,
                    optimizer_bytes: optimizer,
                    gradients_bytes: gradients,
                    activations_bytes: activations,
                    transients_bytes: transients + transient,
                },
                at,
            };
        }
    }

    /// Bytes held now.
    pub(super) fn level(&self) -> u64 {
        self.by
            .iter()
            .fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// The most since the last [`Self::forget_peak`].
    pub(super) const fn peak_bytes(&self) -> u64 {
        self.peak.bytes
    }

    pub(super) fn forget_peak(&mut self) {
        self.peak.bytes = 0;
        self.touch(0);
    }

    pub(super) fn finish(self, width: u32) -> Result<StepMemory, EstimateError> {
        if self.overflow {
            return Err(EstimateError::TooLarge {
                what: "bytes",
                width,
            });
        }
        Ok(StepMemory {
            peak: self.peak,
            timeline: self.timeline,
        })
    }
}
