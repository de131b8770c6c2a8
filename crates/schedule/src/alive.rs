//! Which tensors of a step are alive: a set of [`Value`]s, stored as some bits per stage.

use crate::op::{Nth, Value};

/// A set of tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    stages: Vec<u16>,
    /// The tensors that belong to no stage.
    others: u16,
}

impl Alive {
    /// The empty set, for a network with this many stages.
    pub fn new(num_stages: usize) -> Self {
        Self {
            stages: vec![0; num_stages],
            others: 0,
        }
    }

    /// Whether a tensor is in the set.
    pub fn contains(&self, value: Value) -> bool {
        let (stage, bit) = place(value);
        let bits = match stage {
            Some(stage) => self.stages.get(stage).copied().unwrap_or(0),
            None => self.others,
        };
        bits & bit != 0
    }

    /// Every tensor in the set.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        let others = [Value::Image, Value::Logits, Value::GradLogits];
        let of_stages = (0..self.stages.len()).flat_map(|s| {
            let [first, second] = [Nth::First, Nth::Second];
            [
                Value::Input(s),
                Value::Up(s),
                Value::GradInput(s),
                Value::GradUp(s),
                Value::Conv(s, first),
                Value::Conv(s, second),
                Value::Act(s, first),
                Value::Act(s, second),
                Value::GradConv(s, first),
                Value::GradConv(s, second),
                Value::GradAct(s, first),
                Value::GradAct(s, second),
            ]
        });
        let all = others.into_iter().chain(of_stages);
        all.filter(|value| self.contains(*value))
    }

    /// Adds a tensor. Returns whether it was absent before.
    pub(crate) fn insert(&mut self, value: Value) -> bool {
        let (bits, bit) = self.bits(value);
        let was_there = *bits & bit != 0;
        *bits |= bit;
        !was_there
    }

    /// Removes a tensor. Returns whether it was present before.
    pub(crate) fn remove(&mut self, value: Value) -> bool {
        let (bits, bit) = self.bits(value);
        let was_there = *bits & bit != 0;
        *bits &= !bit;
        was_there
    }

    fn bits(&mut self, value: Value) -> (&mut u16, u16) {
        let (stage, bit) = place(value);
        let bits = match stage {
            Some(stage) => &mut self.stages[stage],
            None => &mut self.others,
        };
        (bits, bit)
    }
}

/// The stage, and the tensor's bit within it.
const fn place(value: Value) -> (Option<usize>, u16) {
    match value {
        Value::Image => (None, 1),
        Value::Logits => (None, 1 << 1),
        Value::GradLogits => (None, 1 << 2),
        Value::Input(s) => (Some(s), 1),
        Value::Up(s) => (Some(s), 1 << 1),
        Value::GradInput(s) => (Some(s), 1 << 2),
        Value::GradUp(s) => (Some(s), 1 << 3),
        Value::Conv(s, n) => (Some(s), bit(1 << 4, n)),
        Value::Act(s, n) => (Some(s), bit(1 << 6, n)),
        Value::GradConv(s, n) => (Some(s), bit(1 << 8, n)),
        Value::GradAct(s, n) => (Some(s), bit(1 << 10, n)),
    }
}

const fn bit(first: u16, nth: Nth) -> u16 {
    match nth {
        Nth::First => first,
        Nth::Second => first << 1,
    }
}
