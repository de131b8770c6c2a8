use std::time::Duration;

use torch_ext::record::{Event, Record};

use super::*;
use crate::lab::measure::HeldBytes;

fn event(at: u64, id: u64, bytes: u64, released: bool, operator: u32, label: u32) -> Event {
    Event {
        id,
        bytes,
        at: Duration::from_micros(at),
        released,
        operator,
        label,
    }
}

/// A step with one tensor of each kind.
fn step() -> Recorded {
    let names = ["", "aten::conv2d", "aten::convolution_backward", "rebuilt"];
    Recorded {
        held: HeldBytes {
            parameters_bytes: 100,
            optimizer_bytes: 200,
            batch_bytes: 10,
        },
        marks: vec![
            (Phase::Forward, 0),
            (Phase::Backward, 3),
            (Phase::Update, 7),
        ],
        record: Record {
            events: vec![
                event(1, 7, 30, false, 1, 0),
                event(2, 8, 5, false, 1, 0),
                event(3, 8, 5, true, 1, 0),
                event(4, 9, 50, false, 2, 3),
                event(5, 10, 40, false, 2, 0),
                event(6, 9, 50, true, 2, 3),
                event(7, 7, 30, true, 0, 0),
                event(8, 10, 40, true, 0, 0),
            ],
            names: names.map(str::to_owned).to_vec(),
            marks: Vec::new(),
        },
    }
}

#[test]
fn tensors_are_sorted_by_when_they_live() {
    let timeline = Timeline::of(&step());
    let totals: Vec<u64> = timeline.memory.samples.iter().map(Sample::total).collect();
    assert_eq!(totals, [310, 340, 345, 340, 390, 430, 380, 350, 310]);
    let peak = &timeline.peak;
    assert_eq!(peak.bytes, [100, 200, 40, 40, 50, 0]);
    assert_eq!(peak.total(), 430);
    assert_eq!((peak.at_us, peak.phase), (5, Phase::Backward));
    assert_eq!(peak.operation, "convolution_backward");
    let holders: Vec<_> = peak
        .holders
        .iter()
        .map(|h| (h.made_by.as_str(), h.category, h.bytes))
        .collect();
    assert_eq!(
        holders,
        [
            ("rebuilt", Category::Transients, 50),
            ("convolution_backward", Category::Gradients, 40),
            ("conv2d", Category::Activations, 30),
        ]
    );
}

#[test]
fn a_step_without_events_has_a_timeline() {
    let mut empty = step();
    empty.record.events.clear();
    empty.marks = vec![
        (Phase::Forward, 0),
        (Phase::Backward, 0),
        (Phase::Update, 0),
    ];
    let timeline = Timeline::of(&empty);
    assert_eq!(timeline.peak.total(), 310);
    assert_eq!(timeline.memory.samples.len(), 1);
}
