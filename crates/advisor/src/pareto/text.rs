//! Prints the front for a terminal, as CSV and as JSON.

use std::fmt::Write as _;

use config::{Bytes, Keep};
use figures::Table;
use figures::numbers::short;
use machine::Device;
use serde_json::{Value, json};

use super::{Pareto, Point};
use crate::json;
use crate::report::describe;
use crate::target::Target;

/// The number of plans of the front that the table shows in addition to the policies.
const SHOWN: usize = 15;

/// The network, the batch and the switches.
pub(super) fn work(target: &Target, pareto: &Pareto) -> String {
    let config = &pareto.config;
    let precision = target.precision(config);
    let split = if config.split_concat { " + split" } else { "" };
    format!("{}, {precision}{split}", config.workload())
}

/// Formats a table from the largest to the smallest: the policies, and some of the plans between them.
pub fn to_text(device: &Device, target: &Target, pareto: &Pareto) -> String {
    let mut text = format!("memory against time: {}\n", work(target, pareto));
    // Writing to a `String` cannot fail.
    for line in describe(device, target) {
        let _ = writeln!(text, "{line}");
    }
    text.push('\n');
    let mut points: Vec<&Point> = shown(&pareto.front).collect();
    points.extend(
        pareto
            .policies
            .iter()
            .filter(|it| !points.contains(it))
            .collect::<Vec<_>>(),
    );
    points.sort_by_key(|it| std::cmp::Reverse(it.allocated_bytes));
    let mut heading = vec!["policy or plan", "allocated"];
    if target.is_cuda() {
        heading.push("total");
    }
    heading.push("time");
    if target.speed_is_known() {
        heading.push("img/s");
    }
    heading.extend(["fits", ""]);
    let mut table = Table::new(&heading);
    for point in &points {
        table.row(cells(target, point));
    }
    text.push_str(&table.to_text(1));
    let front = pareto.front.len();
    let _ = writeln!(
        text,
        "\n(sizes in GiB, time as a multiple of the fastest's; *: of the {front} ways that nothing \
         beats in both;\nof a plan a letter for each stage: E keeps everything, C convs, L the \
         last conv, N nothing; `--csv`\nhas all of these, in full)"
    );
    if !pareto.is_exact {
        text.push_str("note: not every plan was searched: there are too many\n");
    }
    text
}

/// Selects the policies on the front, and plans spaced evenly in memory.
fn shown(front: &[Point]) -> impl Iterator<Item = &Point> {
    let bytes = |point: Option<&Point>| point.map_or(0.0, |it| it.allocated_bytes as f64);
    let (most, least) = (bytes(front.first()), bytes(front.last()));
    let step = (most - least) / SHOWN as f64;
    let mut next = most;
    front.iter().enumerate().filter_map(move |(index, point)| {
        let is_last = index + 1 == front.len();
        let is_due = point.allocated_bytes as f64 <= next || is_last;
        if is_due {
            next = (point.allocated_bytes as f64 - step).min(next);
        }
        (is_due || point.policy.is_some()).then_some(point)
    })
}

fn cells(target: &Target, point: &Point) -> Vec<String> {
    let gib = |bytes: u64| format!("{:.2}", Bytes(bytes).as_gib());
    let mut cells = vec![point.name(), gib(point.allocated_bytes)];
    if target.is_cuda() {
        cells.push(gib(point.total_bytes));
    }
    cells.push(format!("{:.3}", point.relative_time));
    if target.speed_is_known() {
        cells.push(short(point.images_per_second));
    }
    cells.push(if point.fits { "yes" } else { "no" }.to_owned());
    cells.push(if point.on_front { "*" } else { "" }.to_owned());
    cells
}

/// Formats all points as CSV, fastest first, with a heading. A plan is written in quotes, in the form
/// that `--grad-checkpoint-plan` takes.
pub fn to_csv(target: &Target, pareto: &Pareto) -> String {
    let mut text = "policy,plan,on_front,allocated_bytes,reserved_bytes,total_bytes,step_seconds,\
                    relative_time,images_per_second,fits\n"
        .to_owned();
    for point in all(pareto) {
        let policy = point
            .policy
            .map_or("mixed", config::CheckpointPolicy::as_str);
        let plan = point.plan.as_ref().map_or(String::new(), |plan| {
            let names: Vec<_> = plan.iter().copied().map(Keep::as_str).collect();
            format!("\"{}\"", names.join(","))
        });
        let reserved = point
            .reserved_bytes
            .map_or(String::new(), |it| it.to_string());
        let known = target.speed_is_known();
        let number = |value: f64| {
            if known {
                format!("{value:.6}")
            } else {
                String::new()
            }
        };
        let _ = writeln!(
            text,
            "{policy},{plan},{},{},{reserved},{},{},{:.6},{},{}",
            point.on_front,
            point.allocated_bytes,
            point.total_bytes,
            number(point.step_seconds),
            point.relative_time,
            number(point.images_per_second),
            point.fits,
        );
    }
    text
}

/// The object that `advisor pareto --json` prints, schema 1. Times in seconds are `null` if the
/// device's speed is unknown; relative times are always present.
pub fn to_json(device: &Device, target: &Target, pareto: &Pareto) -> Value {
    let points: Vec<Value> = all(pareto)
        .map(|point| {
            let mut value = json!(point);
            if !target.speed_is_known() {
                value["step_seconds"] = Value::Null;
                value["images_per_second"] = Value::Null;
            }
            value
        })
        .collect();
    json!({
        "schema_version": 1,
        "device": json::describe(device, target),
        "config": pareto.config,
        "most_allocated_bytes": pareto.most_bytes,
        "is_exact": pareto.is_exact,
        "points": points,
    })
}

/// All points: the front, then the policies that are not on it.
fn all(pareto: &Pareto) -> impl Iterator<Item = &Point> {
    let beside = pareto.policies.iter().filter(|it| !it.on_front);
    pareto.front.iter().chain(beside)
}
