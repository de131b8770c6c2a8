//! The picture of a predicted step: tensor bytes operation by operation, with the peak named, and
//! below it what holds them there.

use std::fmt::Write as _;

use config::{Bytes, RunConfig};
use estimator::{At, Breakdown, Moment, StepMemory};

use super::{On, network, phase, recipe};
use crate::svg::{begin, escaped, line, text, tick};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 700.0;
const LEFT: f64 = 72.0;
const TOP: f64 = 116.0;
const PLOT_WIDTH: f64 = 1100.0;
const PLOT_HEIGHT: f64 = 380.0;
const BOTTOM: f64 = TOP + PLOT_HEIGHT;
/// Where the phases are named.
const BANDS: f64 = BOTTOM + 22.0;
const BAND_HEIGHT: f64 = 20.0;
/// What is held at the peak.
const HELD: f64 = BOTTOM + 126.0;
const HELD_HEIGHT: f64 = 18.0;
/// Width of a letter, on average, and of a bold one.
const LETTER: f64 = 7.5;
const BOLD_LETTER: f64 = 7.8;

/// Colours for light and for dark, whichever the reader's page has.
const STYLE: &str = "\
<style>
.page{fill:#ffffff}.ink{fill:#1f2328}.muted{fill:#59636e}
.grid{stroke:#d8dee4}.mark{stroke:#1f2328}.dot{fill:#1f2328}
.parameters{fill:#4e79a7}.optimizer{fill:#a0cbe8}
.gradients{fill:#59a14f}.activations{fill:#f28e2b}.transients{fill:#e15759}.workspace{fill:#b07aa1}
.moving{fill:#f2a65a}
.forward{fill:#c9dcf0}.loss{fill:#e8c7c8}.backward{fill:#f7dcbc}.update{fill:#cfe3cb}
.operation{fill:transparent}.operation:hover{fill:#808080;fill-opacity:.35}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.ink{fill:#e6edf3}.muted{fill:#9198a1}
.grid{stroke:#30363d}.mark{stroke:#e6edf3}.dot{fill:#e6edf3}
.optimizer{fill:#7fb2d6}.moving{fill:#d98a3d}
.forward{fill:#23405c}.loss{fill:#5a3436}.backward{fill:#5c4322}.update{fill:#2f4a2b}
}
</style>
";

/// Draws the step. The parts that stay throughout are drawn apart from those that come and go.
pub fn to_svg(config: &RunConfig, on: &On, memory: &StepMemory) -> String {
    let scale = Scale::new(memory);
    let mut out = begin([WIDTH, HEIGHT], STYLE);
    let title = "class=\"ink\" font-size=\"20\" font-weight=\"bold\"";
    let said = format!("memory of a training step: {}", network(config, on));
    text(&mut out, LEFT, 34.0, title, &said);
    let said = format!("{}; {}", recipe(config, on), on.of(config));
    text(&mut out, LEFT, 56.0, "class=\"muted\"", &said);
    bands(&mut out, &scale, &memory.timeline);
    grid(&mut out, &scale);
    legend(&mut out);
    areas(&mut out, &scale, memory);
    stages(&mut out, &scale, &memory.timeline);
    peak(&mut out, &scale, memory);
    held(&mut out, &memory.peak.breakdown);
    operations(&mut out, &scale, &memory.timeline);
    out.push_str("</svg>\n");
    out
}

/// From operations and bytes to the page.
struct Scale {
    num_operations: usize,
    most: u64,
}

impl Scale {
    fn new(memory: &StepMemory) -> Self {
        Self {
            num_operations: memory.timeline.len().max(1),
            most: memory.peak.bytes.max(1),
        }
    }

    /// Left edge of an operation.
    fn x(&self, operation: usize) -> f64 {
        LEFT + PLOT_WIDTH * operation as f64 / self.num_operations as f64
    }

    fn y(&self, bytes: u64) -> f64 {
        BOTTOM - PLOT_HEIGHT * bytes as f64 / (1.04 * self.most as f64)
    }
}

/// Neighbours for which `key` is equal: the key, the first of them, and the one after the last.
fn groups<K: PartialEq>(timeline: &[Moment], key: impl Fn(&Moment) -> K) -> Vec<(K, usize, usize)> {
    let mut all: Vec<(K, usize, usize)> = Vec::new();
    for (index, moment) in timeline.iter().enumerate() {
        let key = key(moment);
        match all.last_mut() {
            Some((last, _, end)) if *last == key => *end = index + 1,
            _ => all.push((key, index, index + 1)),
        }
    }
    all
}

const fn band(at: At) -> &'static str {
    match at {
        At::Forward(_) => "forward",
        At::Backward(_) => "backward",
        At::Loss => "loss",
        At::Update => "update",
        At::Between => "between",
        At::Upload => "upload",
        At::Scores => "scores",
    }
}

/// Forward, loss, backward, update: a strip under the plot.
fn bands(out: &mut String, scale: &Scale, timeline: &[Moment]) {
    for (name, from, to) in groups(timeline, |moment| band(moment.at)) {
        let (left, right) = (scale.x(from), scale.x(to));
        rect(out, name, [left, BANDS, right - left, BAND_HEIGHT]);
        let needed = name.len() as f64 * LETTER + 6.0;
        // Under the strip where it is too short for its name.
        let below = if right - left < needed { 19.0 } else { 0.0 };
        let x = f64::midpoint(left, right).min(LEFT + PLOT_WIDTH - needed / 2.0);
        let style = "class=\"ink\" text-anchor=\"middle\"";
        text(out, x, BANDS + 15.0 + below, style, name);
    }
    let said = format!("operations, in order ({})", timeline.len());
    let (x, y) = (LEFT + PLOT_WIDTH / 2.0, BANDS + BAND_HEIGHT + 34.0);
    text(out, x, y, "class=\"muted\" text-anchor=\"middle\"", &said);
}

fn grid(out: &mut String, scale: &Scale) {
    let (unit, name) = match scale.most {
        0..Bytes::MIB => (Bytes::KIB, "KiB"),
        Bytes::MIB..Bytes::GIB => (Bytes::MIB, "MiB"),
        _ => (Bytes::GIB, "GiB"),
    };
    let said = format!("tensor bytes, {name}");
    text(out, LEFT - 58.0, TOP - 20.0, "class=\"muted\"", &said);
    let step = tick(scale.most);
    let lines = scale.most / step;
    for bytes in (0..=lines).map(|line| line * step) {
        let y = scale.y(bytes);
        line(out, [LEFT, y, LEFT + PLOT_WIDTH, y], "class=\"grid\"");
        // A power of two of a unit: few digits.
        let said = (bytes as f64 / unit as f64).to_string();
        let style = "class=\"muted\" text-anchor=\"end\"";
        text(out, LEFT - 8.0, y + 4.0, style, &said);
    }
}

/// The stacked areas, the highest first, so that those below lie on top.
fn areas(out: &mut String, scale: &Scale, memory: &StepMemory) {
    let breakdown = &memory.peak.breakdown;
    let parameters = breakdown.parameters_bytes;
    let stays = parameters.saturating_add(breakdown.optimizer_bytes);
    for (class, most) in [
        ("moving", u64::MAX),
        ("optimizer", stays),
        ("parameters", parameters),
    ] {
        let mut path = format!("M{LEFT:.1} {BOTTOM:.1}");
        for (index, moment) in memory.timeline.iter().enumerate() {
            let y = scale.y(moment.bytes.min(most));
            let _ = write!(path, "V{y:.1}H{:.1}", scale.x(index + 1));
        }
        let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}V{BOTTOM:.1}Z\"/>");
    }
}

/// The numbers of the stages, under what they do.
fn stages(out: &mut String, scale: &Scale, timeline: &[Moment]) {
    let stage = |moment: &Moment| match moment.at {
        At::Forward(op) | At::Backward(op) => (op.stage(), band(moment.at)),
        At::Loss | At::Update | At::Between | At::Upload | At::Scores => (None, band(moment.at)),
    };
    for ((stage, _), from, to) in groups(timeline, stage) {
        let Some(stage) = stage else { continue };
        let (left, right) = (scale.x(from), scale.x(to));
        line(out, [left, BOTTOM, left, BOTTOM + 5.0], "class=\"grid\"");
        if right - left >= 12.0 {
            let style = "class=\"muted\" text-anchor=\"middle\" font-size=\"11\"";
            let said = (stage + 1).to_string();
            text(out, f64::midpoint(left, right), BOTTOM + 15.0, style, &said);
        }
    }
    let style = "class=\"muted\" text-anchor=\"end\" font-size=\"11\"";
    text(out, LEFT - 8.0, BOTTOM + 15.0, style, "stage");
}

/// Where the peak is, and which operation makes it.
fn peak(out: &mut String, scale: &Scale, memory: &StepMemory) {
    let peak = &memory.peak;
    let y = scale.y(peak.bytes);
    let dashed = "class=\"mark\" stroke-dasharray=\"2 4\" stroke-opacity=\"0.6\"";
    line(out, [LEFT, y, LEFT + PLOT_WIDTH, y], dashed);
    let at = memory
        .timeline
        .iter()
        .position(|moment| moment.at == peak.at && moment.bytes == peak.bytes);
    let phase = phase(peak.at).map_or(String::new(), |phase| format!(" in {phase}"));
    let said = format!("peak {}{phase}: {}", Bytes(peak.bytes), peak.at);
    // As near to the peak as the page is wide.
    let half = (said.chars().count() as f64 * BOLD_LETTER / 2.0).min(PLOT_WIDTH / 2.0);
    let x = at.map_or(LEFT, |at| f64::midpoint(scale.x(at), scale.x(at + 1)));
    let middle = x.clamp(LEFT + half, LEFT + PLOT_WIDTH - half);
    line(out, [x, y, x, TOP - 8.0], "class=\"mark\"");
    let _ = writeln!(
        out,
        "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
    );
    let style = "class=\"ink\" text-anchor=\"middle\" font-weight=\"bold\"";
    text(out, middle, TOP - 14.0, style, &said);
}

/// The areas' names, at the right.
fn legend(out: &mut String) {
    let mut x = LEFT + PLOT_WIDTH;
    for (class, name) in [
        ("moving", "activations, gradients, transients"),
        ("optimizer", "optimizer"),
        ("parameters", "parameters"),
    ] {
        x -= name.len() as f64 * LETTER;
        text(out, x, TOP - 36.0, "class=\"ink\"", name);
        rect(out, class, [x - 17.0, TOP - 46.0, 11.0, 11.0]);
        x -= 36.0;
    }
}

fn rect(out: &mut String, class: &str, [x, y, width, height]: [f64; 4]) {
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
    );
}

/// What is held at the peak: a bar, and its parts.
fn held(out: &mut String, breakdown: &Breakdown) {
    let mut parts = super::parts(breakdown).to_vec();
    // A CPU has no workspace apart from the transients.
    parts.retain(|(name, bytes)| *name != "workspace" || *bytes > 0);
    let columns = if parts.len() > 5 { 3 } else { 5 };
    let sum = parts
        .iter()
        .map(|(_, bytes)| *bytes as f64)
        .sum::<f64>()
        .max(1.0);
    text(
        out,
        LEFT,
        HELD - 10.0,
        "class=\"ink\" font-weight=\"bold\"",
        "held at the peak",
    );
    let mut x = LEFT;
    for (index, (name, bytes)) in parts.into_iter().enumerate() {
        let share = bytes as f64 / sum;
        rect(out, name, [x, HELD, PLOT_WIDTH * share, HELD_HEIGHT]);
        x += PLOT_WIDTH * share;
        let left = LEFT + PLOT_WIDTH * (index % columns) as f64 / columns as f64;
        let y = HELD + HELD_HEIGHT + 20.0 + 18.0 * (index / columns) as f64;
        rect(out, name, [left, y - 10.0, 11.0, 11.0]);
        let said = format!("{name} {} ({:.0} %)", Bytes(bytes), 100.0 * share);
        text(out, left + 18.0, y, "class=\"ink\"", &said);
    }
}

/// What a reader's pointer finds.
fn operations(out: &mut String, scale: &Scale, timeline: &[Moment]) {
    for (index, moment) in timeline.iter().enumerate() {
        let (left, right) = (scale.x(index), scale.x(index + 1));
        let phase = phase(moment.at).map_or(String::new(), |phase| format!("{phase}: "));
        let said = format!(
            "{}. {phase}{}, {}",
            index + 1,
            moment.at,
            Bytes(moment.bytes)
        );
        let _ = writeln!(
            out,
            "<rect class=\"operation\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" \
             height=\"{PLOT_HEIGHT}\"><title>{}</title></rect>",
            right - left,
            escaped(&said)
        );
    }
}
