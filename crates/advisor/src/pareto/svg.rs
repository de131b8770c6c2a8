//! Draws a front: every plan that no other beats, the named policies among them, and the device's
//! limit.

use config::Bytes;
use figures::scatter::{Better, Group, Mark, Point as Place, Scatter};
use figures::{Color, Language};

use super::text::work;
use super::{Pareto, Point};
use crate::target::Target;

/// Draws the front.
pub fn to_svg(device: &str, target: &Target, pareto: &Pareto) -> String {
    let room = pareto.most_bytes.map_or(String::new(), |bytes| {
        format!(", which has room for {} of tensors", Bytes(bytes))
    });
    let subtitle = format!("{}; predicted for {device}{room}", work(target, pareto));
    let plans = pareto.front.iter().filter(|it| it.policy.is_none());
    let points = pareto.policies.iter().chain(plans).map(place).collect();
    let scatter = Scatter {
        title: title(pareto),
        subtitle,
        axis: "time of a step, as a multiple of the fastest".to_owned(),
        better: Better::Less,
        groups: vec![Group {
            front: format!("the {} plans that no other beats", pareto.front.len()),
            marks: None,
            mark: Mark::Disc,
            points,
        }],
        colors: vec![(Color::RED, "policies with a name".to_owned())],
        room_bytes: pareto.most_bytes,
    };
    scatter.to_svg(Language::spoken())
}

/// States how much memory checkpointing saves, and how much time it costs.
fn title(pareto: &Pareto) -> String {
    let (Some(fastest), Some(smallest)) = (pareto.front.first(), pareto.front.last()) else {
        return "memory against time of a training step".to_owned();
    };
    let saved = 1.0 - smallest.allocated_bytes as f64 / fastest.allocated_bytes.max(1) as f64;
    format!(
        "gradient checkpointing: up to {:.0} % less memory, for up to {:.0} % more time",
        100.0 * saved,
        100.0 * (smallest.relative_time - 1.0)
    )
}

fn place(point: &Point) -> Place {
    Place {
        label: point.policy.map(|policy| policy.to_string()),
        hint: format!(
            "{}: {}, {:.3} of the fastest's time",
            point.name(),
            Bytes(point.allocated_bytes),
            point.relative_time
        ),
        bytes: point.allocated_bytes,
        value: point.relative_time,
        color: Color::RED,
    }
}
