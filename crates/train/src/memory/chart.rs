//! The picture of a step: live bytes over time, stacked by category, with the peak named, and
//! beside it, on the same scale, the peak that each policy has.

use std::fmt::Write as _;

use advisor::svg::{text, tick};

use super::{Bytes, Category, Sample, Timeline};
use engine::learner::Phase;

/// The peak of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPeak {
    /// Its name.
    pub name: String,
    /// Tensor bytes.
    pub peak_bytes: u64,
    /// What the estimator says of them, where it knows.
    pub predicted_bytes: Option<u64>,
}

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct Chart<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line.
    pub subtitle: &'a str,
    /// The policy of the timeline, one of `policies`.
    pub policy: &'a str,
    /// The step.
    pub timeline: &'a Timeline,
    /// Every policy that was measured.
    pub policies: &'a [PolicyPeak],
}

const WIDTH: f64 = 1240.0;
const HEIGHT: f64 = 720.0;
/// The area of the timeline.
const LEFT: f64 = 80.0;
const TOP: f64 = 110.0;
const PLOT_WIDTH: f64 = 680.0;
const PLOT_HEIGHT: f64 = 400.0;
/// The bars of the policies.
const BARS_LEFT: f64 = 830.0;
const BARS_WIDTH: f64 = 390.0;
/// Operations named under the plot.
const MAX_HOLDERS: usize = 5;
const MIB: f64 = 1_048_576.0;

const fn color(category: Category) -> &'static str {
    match category {
        Category::Parameters => "#4e79a7",
        Category::Optimizer => "#a0cbe8",
        Category::Gradients => "#59a14f",
        Category::Activations => "#f28e2b",
        Category::Transients => "#e15759",
    }
}

/// Draws it.
pub fn svg(chart: &Chart<'_>) -> String {
    let most = chart.policies.iter().map(|p| p.peak_bytes).max();
    let most = most.unwrap_or(0).max(chart.timeline.peak.total());
    let scale = Scale::new(chart.timeline, most);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    );
    text(
        &mut out,
        LEFT,
        34.0,
        "font-size=\"20\" font-weight=\"bold\"",
        chart.title,
    );
    text(&mut out, LEFT, 56.0, "fill=\"#555\"", chart.subtitle);
    axis(&mut out, &scale, most);
    areas(&mut out, &scale, chart.timeline);
    phases(&mut out, &scale, chart.timeline);
    peak(&mut out, &scale, chart);
    bars(&mut out, &scale, chart);
    holders(&mut out, chart);
    out.push_str("</svg>\n");
    out
}

/// From time and bytes to the page.
struct Scale {
    end_us: f64,
    most: f64,
}

impl Scale {
    fn new(timeline: &Timeline, most: u64) -> Self {
        let end = timeline.samples.last().map_or(1, |s| s.at_us).max(1);
        Self {
            end_us: end as f64,
            most: (most.max(1) as f64) * 1.08,
        }
    }

    fn x(&self, at_us: u64) -> f64 {
        LEFT + PLOT_WIDTH * at_us as f64 / self.end_us
    }

    fn y(&self, bytes: u64) -> f64 {
        TOP + PLOT_HEIGHT * (1.0 - bytes as f64 / self.most)
    }
}

fn axis(out: &mut String, scale: &Scale, most: u64) {
    let step = tick(most);
    let mut bytes = 0;
    while bytes <= most {
        let y = scale.y(bytes);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>",
            BARS_LEFT + BARS_WIDTH
        );
        text(
            out,
            LEFT - 8.0,
            y + 4.0,
            "text-anchor=\"end\" fill=\"#555\"",
            &size(bytes),
        );
        bytes += step;
    }
    let bottom = TOP + PLOT_HEIGHT;
    text(
        out,
        LEFT + PLOT_WIDTH,
        bottom + 36.0,
        "text-anchor=\"end\" fill=\"#555\"",
        &format!("{:.0} ms", scale.end_us / 1e3),
    );
    text(out, LEFT, bottom + 36.0, "fill=\"#555\"", "0 ms");
}

/// The stacked areas. Of the samples that fall on one pixel the largest is drawn.
fn areas(out: &mut String, scale: &Scale, timeline: &Timeline) {
    let mut columns: Vec<Sample> = Vec::new();
    let pixel = |s: &Sample| scale.x(s.at_us).floor();
    let total = |bytes: &Bytes| bytes.iter().sum::<u64>();
    for sample in &timeline.samples {
        match columns.last_mut() {
            Some(last) if pixel(last) >= pixel(sample) => {
                if total(&sample.bytes) > total(&last.bytes) {
                    last.bytes = sample.bytes;
                }
            }
            _ => columns.push(*sample),
        }
    }
    for (index, category) in Category::ALL.into_iter().enumerate().rev() {
        let upto = |s: &Sample| s.bytes[..=index].iter().sum::<u64>();
        let mut path = format!("M{LEFT:.1} {:.1}", TOP + PLOT_HEIGHT);
        for sample in &columns {
            let _ = write!(
                path,
                "H{:.1}V{:.1}",
                scale.x(sample.at_us),
                scale.y(upto(sample))
            );
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}H{:.1}V{:.1}Z\" fill=\"{}\"><title>{}</title></path>",
            LEFT + PLOT_WIDTH,
            TOP + PLOT_HEIGHT,
            color(category),
            category.name()
        );
    }
}

fn phases(out: &mut String, scale: &Scale, timeline: &Timeline) {
    let ends = timeline.phases.iter().skip(1).map(|(_, at)| *at);
    let last = timeline.samples.last().map_or(0, |s| s.at_us);
    for ((phase, from), to) in timeline.phases.iter().zip(ends.chain([last])) {
        let (x0, x1) = (scale.x(*from), scale.x(to));
        let bottom = TOP + PLOT_HEIGHT;
        let _ = writeln!(
            out,
            "<line x1=\"{x0:.1}\" x2=\"{x0:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#333\" \
             stroke-dasharray=\"2 3\"/>",
            bottom + 8.0
        );
        let name = match phase {
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::Update => "update",
        };
        // A phase too short for its name leaves it out.
        if x1 - x0 > 56.0 {
            text(
                out,
                f64::midpoint(x0, x1),
                bottom + 18.0,
                "text-anchor=\"middle\" fill=\"#333\"",
                name,
            );
        }
    }
}

/// Where the peak is, and which operation makes it.
fn peak(out: &mut String, scale: &Scale, chart: &Chart<'_>) {
    let peak = &chart.timeline.peak;
    let (x, y) = (scale.x(peak.at_us), scale.y(peak.total()));
    let _ = writeln!(
        out,
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y:.1}\" y2=\"{:.1}\" stroke=\"black\"/>\n\
         <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"black\"/>",
        TOP - 14.0
    );
    let (anchor, dx) = if x > LEFT + PLOT_WIDTH / 2.0 {
        ("end", -8.0)
    } else {
        ("start", 8.0)
    };
    let said = format!("peak {}: {}", size(peak.total()), peak.operation);
    text(
        out,
        x + dx,
        TOP - 16.0,
        &format!("text-anchor=\"{anchor}\" font-weight=\"bold\""),
        &said,
    );
}

/// The peaks of the policies, on the scale of the timeline.
fn bars(out: &mut String, scale: &Scale, chart: &Chart<'_>) {
    if chart.policies.is_empty() {
        return;
    }
    text(
        out,
        BARS_LEFT,
        TOP - 36.0,
        "font-weight=\"bold\"",
        "peak of this step under each policy",
    );
    let slot = BARS_WIDTH / chart.policies.len() as f64;
    let drawn = chart.timeline.peak.total().max(1);
    for (i, policy) in chart.policies.iter().enumerate() {
        let is_drawn = policy.name == chart.policy;
        let (x, y) = (BARS_LEFT + slot * i as f64, scale.y(policy.peak_bytes));
        let middle = x + slot / 2.0;
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            x + slot * 0.15,
            slot * 0.7,
            TOP + PLOT_HEIGHT - y,
            if is_drawn { "#333" } else { "#bbb" }
        );
        let middle_text = "text-anchor=\"middle\" font-size=\"11\"";
        text(out, middle, y - 18.0, middle_text, &size(policy.peak_bytes));
        let change = 100.0 * (policy.peak_bytes as f64 / drawn as f64 - 1.0);
        let change = if is_drawn {
            "drawn".to_owned()
        } else {
            format!("{change:+.0} %")
        };
        text(out, middle, y - 5.0, middle_text, &change);
        // One word a line, under the bar.
        for (line, word) in policy.name.split(' ').enumerate() {
            let y = TOP + PLOT_HEIGHT + 16.0 + 13.0 * line as f64;
            text(out, middle, y, middle_text, word);
        }
    }
}

/// What holds the bytes at the peak.
fn holders(out: &mut String, chart: &Chart<'_>) {
    let peak = &chart.timeline.peak;
    let top = TOP + PLOT_HEIGHT + 66.0;
    text(
        out,
        LEFT,
        top,
        "font-weight=\"bold\"",
        &format!("at the peak, {}", size(peak.total())),
    );
    for (i, category) in Category::ALL.into_iter().enumerate() {
        let y = top + 22.0 + 20.0 * i as f64;
        let bytes = peak.bytes[category.index()];
        let share = 100.0 * bytes as f64 / peak.total().max(1) as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
            y - 11.0,
            color(category)
        );
        text(
            out,
            LEFT + 20.0,
            y,
            "",
            &format!("{}: {} ({share:.0} %)", category.name(), size(bytes)),
        );
    }
    let x = LEFT + 270.0;
    text(out, x, top, "font-weight=\"bold\"", "held by tensors of");
    for (i, holder) in peak.holders.iter().take(MAX_HOLDERS).enumerate() {
        let y = top + 22.0 + 20.0 * i as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
            y - 11.0,
            color(holder.category)
        );
        let times = match holder.count {
            1 => String::new(),
            n => format!(" ({n})"),
        };
        let said = format!("{}{times}: {}", holder.made_by, size(holder.bytes));
        text(out, x + 20.0, y, "", &said);
    }
}

/// Bytes for a person: three figures or so.
fn size(bytes: u64) -> String {
    let mib = bytes as f64 / MIB;
    if mib >= 1024.0 {
        format!("{:.2} GiB", mib / 1024.0)
    } else if mib >= 10.0 || bytes == 0 {
        format!("{mib:.0} MiB")
    } else if mib >= 1.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.0} KiB", mib * 1024.0)
    }
}
