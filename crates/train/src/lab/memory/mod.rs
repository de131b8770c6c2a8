//! The tensors that hold the bytes of a training step, moment by moment: a record of allocations sorted
//! into categories.

use std::collections::HashMap;

use config::{BytesByCategory, Category};
use engine::learner::Phase;
use estimator::{At, StepMemory};
use figures::timeline::{MemoryTimeline, Sample};

use crate::lab::measure::Recorded;

/// Tensors that are live at the peak, by the operation that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The operation, in words if it belongs to a schedule.
    pub made_by: String,
    /// Their purpose.
    pub category: Category,
    /// The number of tensors.
    pub count: usize,
    /// Their total bytes.
    pub bytes: u64,
}

/// The moment of the peak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peak {
    /// The time, in microseconds.
    pub at_us: u64,
    /// Bytes held at that moment.
    pub bytes: BytesByCategory,
    /// The operation whose allocation made it the peak.
    pub operation: String,
    /// The phase.
    pub phase: Phase,
    /// The holders, largest first, without parameters and optimizer.
    pub holders: Vec<Holder>,
}

impl Peak {
    /// All categories together.
    pub fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }
}

/// A step, moment by moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The bytes held; the first sample is the state before the step.
    pub memory: MemoryTimeline,
    /// The moment of the peak.
    pub peak: Peak,
}

impl Timeline {
    /// Sorts the events of a step.
    pub fn of(recorded: &Recorded) -> Self {
        let events = &recorded.record.events;
        let mark = |phase| {
            let found = recorded.marks.iter().find(|(p, _)| *p == phase);
            found.map_or(events.len(), |(_, index)| *index)
        };
        let (backward, update) = (mark(Phase::Backward), mark(Phase::Update));
        let mut freed_at: HashMap<u64, usize> = HashMap::new();
        for (index, event) in events.iter().enumerate().filter(|(_, e)| e.released) {
            freed_at.insert(event.id, index);
        }
        let category = |made: usize, id: u64| {
            let freed = freed_at.get(&id).copied().unwrap_or(usize::MAX);
            if made < backward && freed >= backward {
                Category::Activations
            } else if (backward..update).contains(&made) && freed >= update {
                Category::Gradients
            } else {
                Category::Transients
            }
        };

        let mut bytes = BytesByCategory::default();
        bytes[Category::Parameters.index()] = recorded.held.parameters_bytes;
        bytes[Category::Optimizer.index()] = recorded.held.optimizer_bytes;
        bytes[Category::Activations.index()] = recorded.held.batch_bytes;
        let mut samples = vec![Sample { at_ms: 0.0, bytes }];
        let mut live: HashMap<u64, (Category, usize)> = HashMap::new();
        let mut peak = (bytes, None);
        for (index, event) in events.iter().enumerate() {
            if event.released {
                // Memory allocated before the step and freed during it was never counted.
                if let Some((category, _)) = live.remove(&event.id) {
                    bytes[category.index()] -= event.bytes;
                }
            } else {
                let category = category(index, event.id);
                live.insert(event.id, (category, index));
                bytes[category.index()] += event.bytes;
            }
            samples.push(Sample {
                at_ms: millis(event.at),
                bytes,
            });
            if bytes.iter().sum::<u64>() > peak.0.iter().sum() {
                peak = (bytes, Some(index));
            }
        }
        let phases = recorded
            .marks
            .iter()
            .map(|(phase, index)| {
                let at = events.get(*index).or(events.last());
                (phase.name(), at.map_or(0.0, |e| millis(e.at)))
            })
            .collect();
        Self {
            memory: MemoryTimeline {
                end_ms: samples.last().map_or(0.0, |it| it.at_ms),
                samples,
                phases,
            },
            peak: describe(recorded, peak, &category),
        }
    }
}

/// Describes the live tensors at an event and the operations that made them.
fn describe(
    recorded: &Recorded,
    (bytes, index): (BytesByCategory, Option<usize>),
    category: &impl Fn(usize, u64) -> Category,
) -> Peak {
    let events = &recorded.record.events;
    let upto = index.map_or(0, |index| index + 1);
    let mut live: HashMap<u64, usize> = HashMap::new();
    for (made, event) in events[..upto].iter().enumerate() {
        if event.released {
            live.remove(&event.id);
        } else {
            live.insert(event.id, made);
        }
    }
    let mut holders: Vec<Holder> = Vec::new();
    let mut made: Vec<usize> = live.into_values().collect();
    made.sort_unstable();
    for index in made {
        let event = &events[index];
        let (made_by, category) = (operation(recorded, index), category(index, event.id));
        let known = holders
            .iter_mut()
            .find(|h| h.made_by == made_by && h.category == category);
        match known {
            Some(holder) => {
                holder.count += 1;
                holder.bytes += event.bytes;
            }
            None => holders.push(Holder {
                made_by,
                category,
                count: 1,
                bytes: event.bytes,
            }),
        }
    }
    holders.sort_by_key(|h| std::cmp::Reverse(h.bytes));
    let phase = recorded
        .marks
        .iter()
        .rev()
        .find(|(_, from)| index.is_some_and(|index| *from <= index))
        .map_or(Phase::Forward, |(phase, _)| *phase);
    Peak {
        at_us: index.map_or(0, |index| micros(events[index].at)),
        bytes,
        operation: index.map_or_else(String::new, |index| operation(recorded, index)),
        phase,
        holders,
    }
}

/// The schedule's name for the operation, or else the operator.
fn operation(recorded: &Recorded, index: usize) -> String {
    let event = &recorded.record.events[index];
    let name = |number: u32| {
        let names = &recorded.record.names;
        names.get(number as usize).map_or("", String::as_str)
    };
    let label = name(event.label);
    if !label.is_empty() {
        return label.to_owned();
    }
    match name(event.operator) {
        "" => "outside of operators".to_owned(),
        operator => operator.trim_start_matches("aten::").to_owned(),
    }
}

/// A predicted step with the phases of a record; `seconds` are the times of its moments.
pub fn predicted(memory: &StepMemory, seconds: &[f64]) -> MemoryTimeline {
    let mut phase = Phase::Forward;
    let moments = memory
        .timeline
        .iter()
        .zip(seconds)
        .map(|(moment, seconds)| {
            phase = match moment.at {
                At::Forward(_) => Phase::Forward,
                At::Backward(_) => Phase::Backward,
                At::Update => Phase::Update,
                At::Loss | At::Upload | At::Scores | At::Between => phase,
            };
            (phase.name(), 1e3 * seconds, moment.by)
        });
    MemoryTimeline::of_moments(moments)
}

fn millis(at: std::time::Duration) -> f64 {
    1e3 * at.as_secs_f64()
}

fn micros(at: std::time::Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
