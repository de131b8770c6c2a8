//! Draws a predicted step: what it holds from moment to moment, under one policy or under each.

use config::{Bytes, CheckpointPolicy, RunConfig};
use estimator::{Batch, EstimateError, StepMemory};
use figures::Language;
use figures::timeline::{Chart, MemoryTimeline, Panel, Panels, Sample};

use super::{On, network, phase, recipe};
use crate::target::Target;

/// Turns a predicted step into a timeline; `seconds` are the durations of its moments.
fn timeline(memory: &StepMemory, seconds: &[f64]) -> MemoryTimeline {
    let moments = memory.timeline.iter().zip(seconds);
    MemoryTimeline::of_moments(moments.map(|(it, seconds)| (it.at.phase(), 1e3 * seconds, it.by)))
}

/// Draws the step; `seconds` are the durations of its moments.
pub fn to_svg(config: &RunConfig, on: &On, memory: &StepMemory, seconds: &[f64]) -> String {
    let peak = &memory.peak;
    let phase_of = phase(peak.at).map_or(String::new(), |phase| format!("{phase}: "));
    let timeline = timeline(memory, seconds);
    let hints: Vec<(f64, String)> = memory
        .timeline
        .iter()
        .zip(&timeline.samples)
        .enumerate()
        .map(|(index, (moment, sample))| {
            let phase = phase(moment.at).map_or(String::new(), |phase| format!("{phase}: "));
            let (number, bytes) = (index + 1, Bytes(moment.bytes));
            (
                sample.at_ms,
                format!("{phase}{}\n{number}: {bytes}", moment.at),
            )
        })
        .collect();
    let title = match phase(peak.at) {
        Some(phase) => format!(
            "the step needs the most memory in {phase}: {}",
            Bytes(peak.bytes)
        ),
        None => format!("the step needs at most {}", Bytes(peak.bytes)),
    };
    Chart {
        title: &title,
        lines: &[
            format!("{}; {}", network(config, on), recipe(config, on)),
            format!("predicted {}", on.of(config)),
        ],
        timeline: &timeline,
        predicted: None,
        peak_at: &format!("{phase_of}{}", peak.at),
        bars: &[],
        holders: &[],
        hints: &hints,
        time_axis: "time, ms (predicted)",
    }
    .to_svg(Language::spoken())
}

/// Draws the step under each named policy, side by side.
///
/// # Errors
/// As [`Target::predict`].
pub fn policies_to_svg(
    config: &RunConfig,
    on: &On,
    target: &Target,
) -> Result<String, EstimateError> {
    let mut panels = Vec::new();
    for policy in CheckpointPolicy::NAMED {
        let config = config.clone().with_policy(*policy);
        let steps = target.steps(&config)?;
        let memory = steps.training.memory(steps.machine, Batch::HandedOver)?;
        let seconds = target.moment_seconds(&config, &memory)?;
        panels.push(Panel {
            name: policy.to_string(),
            timeline: timeline(&memory, &seconds),
        });
    }
    let panels = Panels {
        title: trade(&panels),
        lines: vec![
            network(config, on),
            format!(
                "predicted {}; the same batch under each policy",
                on.of(config)
            ),
        ],
        panels,
    };
    Ok(panels.to_svg(Language::spoken()))
}

/// States the cost of the fastest policy that saves a quarter of the memory, and of the smallest policy.
fn trade(panels: &[Panel]) -> String {
    let bytes = |it: &Panel| it.timeline.peak().map_or(0, Sample::total);
    let ms = |it: &Panel| it.timeline.end_ms;
    let said = |it: &Panel, off: &Panel| {
        let more = 100.0 * (ms(it) / ms(off).max(f64::MIN_POSITIVE) - 1.0);
        format!("{} for {more:.0} % more time", Bytes(bytes(it)))
    };
    let start = "gradient checkpointing cuts a training step";
    let Some((off, others)) = panels.split_first() else {
        return start.to_owned();
    };
    let saves = |it: &&Panel| 4 * bytes(it) <= 3 * bytes(off);
    let quickest = others
        .iter()
        .filter(saves)
        .min_by(|a, b| ms(a).total_cmp(&ms(b)));
    let smallest = others.iter().min_by_key(|it| bytes(it));
    match (quickest, smallest) {
        (Some(quickest), Some(smallest)) if quickest != smallest => format!(
            "{start} from {} to {}, or to {}",
            Bytes(bytes(off)),
            said(quickest, off),
            said(smallest, off)
        ),
        (_, Some(smallest)) => format!(
            "{start} from {} to {}",
            Bytes(bytes(off)),
            said(smallest, off)
        ),
        (_, None) => start.to_owned(),
    }
}
