//! The picture of a benchmark: memory against speed, with the front that nothing else beats in both.

mod labels;

use std::fmt::Write as _;

use advisor::svg::{escaped, line, text};
use figures::numbers::median;

use crate::case::{Implementation, Precision};
use crate::results::{Results, Row, Status};

const WIDTH: f64 = 1240.0;
const HEIGHT: f64 = 760.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 100.0;
const PLOT_WIDTH: f64 = 1110.0;
const PLOT_HEIGHT: f64 = 560.0;
const FONT: f64 = 12.0;
/// Width of a letter of that font, on average.
const LETTER: f64 = 7.0;
const MIB: f64 = 1_048_576.0;

/// A recipe's place: of the same work as all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Who.
    pub implementation: Implementation,
    /// In which precision.
    pub precision: Precision,
    /// Recipe, in a few words.
    pub label: String,
    /// Peak of tensor bytes.
    pub bytes: u64,
    /// Images per second.
    pub speed: f64,
}

/// One point for each recipe among the rows of the work that most rows are of. A recipe that stands
/// in several groups has the median of its speeds.
pub fn points(results: &Results) -> Vec<Point> {
    let ok: Vec<&Row> = results
        .rows
        .iter()
        .filter(|row| row.status == Status::Ok)
        .collect();
    let work = |row: &Row| (row.img_size, row.width, row.batch);
    let count = |key| ok.iter().filter(|row| work(row) == key).count();
    let Some(key) = ok.iter().map(|row| work(row)).max_by_key(|key| count(*key)) else {
        return Vec::new();
    };
    let mut points: Vec<(Point, Vec<f64>)> = Vec::new();
    for row in ok.into_iter().filter(|row| work(row) == key) {
        let (Some(bytes), Some(speed)) = (row.peak_allocated_bytes, row.images_per_second) else {
            continue;
        };
        let label = label(row);
        match points.iter_mut().find(|(point, _)| point.label == label) {
            Some((_, speeds)) => speeds.push(speed),
            None => points.push((
                Point {
                    implementation: row.implementation,
                    precision: row.precision,
                    label,
                    bytes,
                    speed,
                },
                vec![speed],
            )),
        }
    }
    points
        .into_iter()
        .map(|(point, speeds)| Point {
            speed: median(&speeds).unwrap_or(point.speed),
            ..point
        })
        .collect()
}

fn label(row: &Row) -> String {
    let recipe = row.recipe().replace(" channels-last", "");
    match row.implementation {
        Implementation::Snug => recipe,
        other => format!(
            "{} {}",
            other.name().trim_start_matches("pytorch-"),
            row.precision.name()
        ),
    }
}

/// The points that no other beats in both memory and speed, the least memory first.
pub fn front(points: &[Point]) -> Vec<&Point> {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(b.speed.total_cmp(&a.speed)));
    let mut best = f64::NEG_INFINITY;
    sorted.retain(|point| {
        let beats = point.speed > best;
        best = best.max(point.speed);
        beats
    });
    sorted
}

/// Draws it.
pub fn svg(results: &Results) -> String {
    let points = points(results);
    let scale = Scale::of(&points);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"{FONT}\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    );
    let title = "font-size=\"20\" font-weight=\"bold\"";
    text(
        &mut out,
        LEFT,
        34.0,
        title,
        "memory against speed of one training step",
    );
    let row = results.rows.iter().find(|row| {
        row.status == Status::Ok
            && points
                .iter()
                .any(|p| Some(p.bytes) == row.peak_allocated_bytes)
    });
    if let Some(row) = row {
        let work = format!(
            "U-Net of width {}, {} images of {}, on {}, {}",
            row.width,
            row.batch,
            row.size(),
            results.device.name,
            results.date
        );
        text(&mut out, LEFT, 56.0, "fill=\"#555\"", &work);
    }
    axes(&mut out, &scale);
    let (ours, theirs): (Vec<Point>, Vec<Point>) = points
        .iter()
        .cloned()
        .partition(|point| point.implementation == Implementation::Snug);
    front_line(&mut out, &scale, &front(&ours), "#333", "");
    front_line(
        &mut out,
        &scale,
        &front(&theirs),
        "#999",
        "stroke-dasharray=\"5 4\"",
    );
    for point in &points {
        mark(&mut out, &scale, point);
    }
    labels::labels(&mut out, &scale, &points);
    legend(&mut out, &points);
    out.push_str("</svg>\n");
    out
}

/// From bytes and images per second to the page.
struct Scale {
    most_bytes: f64,
    most_speed: f64,
}

impl Scale {
    fn of(points: &[Point]) -> Self {
        let bytes = points.iter().map(|p| p.bytes as f64).fold(1.0, f64::max);
        let speed = points.iter().map(|p| p.speed).fold(1e-9, f64::max);
        Self {
            most_bytes: bytes * 1.12,
            most_speed: speed * 1.08,
        }
    }

    fn x(&self, bytes: f64) -> f64 {
        LEFT + PLOT_WIDTH * bytes / self.most_bytes
    }

    fn y(&self, speed: f64) -> f64 {
        TOP + PLOT_HEIGHT * (1.0 - speed / self.most_speed)
    }

    fn place(&self, point: &Point) -> (f64, f64) {
        (self.x(point.bytes as f64), self.y(point.speed))
    }
}

fn axes(out: &mut String, scale: &Scale) {
    let bottom = TOP + PLOT_HEIGHT;
    let grey = "stroke=\"#ddd\"";
    let mib = scale.most_bytes / MIB;
    let step = tick(mib);
    let mut at = 0.0;
    while at <= mib {
        let x = scale.x(at * MIB);
        line(out, [x, TOP, x, bottom], grey);
        let said = if mib >= 4096.0 {
            format!("{:.3}", at / 1024.0)
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        } else {
            format!("{at:.0}")
        };
        text(
            out,
            x,
            bottom + 18.0,
            "text-anchor=\"middle\" fill=\"#555\"",
            &said,
        );
        at += step;
    }
    let unit = if mib >= 4096.0 { "GiB" } else { "MiB" };
    let said = format!("peak of tensor bytes, {unit} (less is better)");
    text(
        out,
        LEFT + PLOT_WIDTH,
        bottom + 40.0,
        "text-anchor=\"end\" fill=\"#333\"",
        &said,
    );
    let step = decimal_tick(scale.most_speed);
    let mut at = 0.0;
    while at <= scale.most_speed {
        let y = scale.y(at);
        line(out, [LEFT, y, LEFT + PLOT_WIDTH, y], grey);
        let said = if step < 1.0 {
            format!("{at:.1}")
        } else {
            format!("{at:.0}")
        };
        text(
            out,
            LEFT - 8.0,
            y + 4.0,
            "text-anchor=\"end\" fill=\"#555\"",
            &said,
        );
        at += step;
    }
    text(
        out,
        LEFT,
        TOP - 14.0,
        "fill=\"#333\"",
        "images per second (more is better)",
    );
}

/// A power of two that gives at most nine lines.
fn tick(most: f64) -> f64 {
    let mut step = 1.0 / 1024.0;
    while most / step > 9.0 {
        step *= 2.0;
    }
    step
}

/// 1, 2 or 5 times a power of ten that gives at most nine lines.
fn decimal_tick(most: f64) -> f64 {
    let mut step = 1e-6;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if most / step <= 9.0 {
            break;
        }
        step *= factor;
    }
    step
}

fn front_line(out: &mut String, scale: &Scale, front: &[&Point], color: &str, style: &str) {
    let Some((first, rest)) = front.split_first() else {
        return;
    };
    let (x, y) = scale.place(first);
    let mut path = format!("M{x:.1} {y:.1}");
    for point in rest {
        let (x, y) = scale.place(point);
        // What is between two recipes is not there: a step, and not a slope.
        let _ = write!(path, "H{x:.1}V{y:.1}");
    }
    let _ = writeln!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" {style}/>"
    );
}

const fn color(precision: Precision) -> &'static str {
    match precision {
        Precision::Fp32 => "#4e79a7",
        Precision::Tf32 => "#59a14f",
        Precision::Fp16 => "#f28e2b",
        Precision::Bf16 => "#e15759",
    }
}

fn mark(out: &mut String, scale: &Scale, point: &Point) {
    let (x, y) = scale.place(point);
    let color = color(point.precision);
    let shape = if point.implementation == Implementation::Snug {
        format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"{color}\">")
    } else {
        format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" fill=\"white\" \
             stroke=\"{color}\" stroke-width=\"2\">",
            x - 5.5,
            y - 5.5
        )
    };
    let end = if point.implementation == Implementation::Snug {
        "circle"
    } else {
        "rect"
    };
    let _ = writeln!(
        out,
        "{shape}<title>{} {}: {:.0} MiB, {:.2} img/s</title></{end}>",
        point.implementation.name(),
        escaped(&point.label),
        point.bytes as f64 / MIB,
        point.speed
    );
}

/// What is drawn, and no more.
fn legend(out: &mut String, points: &[Point]) {
    let pytorch = points.iter().any(|p| p.implementation.is_pytorch());
    let mut x = LEFT + 330.0;
    let y = TOP - 18.0;
    let mut entry = |out: &mut String, shape: String, said: &str| {
        let _ = writeln!(out, "{shape}");
        text(out, x + 12.0, y + 4.0, "fill=\"#333\"", said);
        x += 34.0 + said.chars().count() as f64 * LETTER;
        x
    };
    let circle = |x: f64, color: &str| {
        format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"{color}\"/>")
    };
    let mut at = LEFT + 330.0;
    for precision in [
        Precision::Fp32,
        Precision::Tf32,
        Precision::Fp16,
        Precision::Bf16,
    ]
    .into_iter()
    .filter(|precision| points.iter().any(|p| p.precision == *precision))
    {
        at = entry(out, circle(at, color(precision)), precision.name());
    }
    let dash = |x: f64, style: &str| {
        format!(
            "<path d=\"M{:.1} {y:.1}h16\" {style} stroke-width=\"1.5\"/>",
            x - 8.0
        )
    };
    at = entry(out, dash(at, "stroke=\"#333\""), "Snug's front");
    if pytorch {
        let square = format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" fill=\"white\" stroke=\"#444\" \
             stroke-width=\"2\"/>",
            at - 5.5,
            y - 5.5
        );
        at = entry(out, square, "PyTorch");
        entry(
            out,
            dash(at, "stroke=\"#999\" stroke-dasharray=\"5 4\""),
            "PyTorch's front",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    use super::*;

    #[test]
    fn every_recipe_of_the_same_work_has_its_mark_and_name() {
        let results = fixture::results(64, 1.0);
        let points = points(&results);
        // The row of both groups is one point; what did not fit has none.
        assert_eq!(points.len(), 8);
        let drawn = svg(&results);
        assert_eq!(
            drawn.matches("<circle ").count(),
            6 + 2,
            "six, and two of the legend"
        );
        for point in &points {
            assert!(
                drawn.contains(&format!(">{}</text>", point.label)),
                "{}",
                point.label
            );
        }
        assert!(!drawn.contains("NaN"));
        let nothing = Results {
            rows: Vec::new(),
            ..results
        };
        assert!(!svg(&nothing).contains("NaN"));
    }

    fn point(label: &str, bytes: u64, speed: f64) -> Point {
        Point {
            implementation: Implementation::Snug,
            precision: Precision::Fp32,
            label: label.to_owned(),
            bytes,
            speed,
        }
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let points = [
            point("large and fast", 30, 9.0),
            point("beaten", 31, 8.0),
            point("small", 10, 2.0),
            point("middle", 20, 5.0),
            point("equal memory, slower", 20, 4.0),
            point("larger and slower than middle", 25, 5.0),
        ];
        let labels: Vec<&str> = front(&points).iter().map(|p| p.label.as_str()).collect();
        assert_eq!(labels, ["small", "middle", "large and fast"]);
    }

    #[test]
    fn lines_are_few_and_round() {
        assert!((decimal_tick(57.0) - 10.0).abs() < 1e-9);
        assert!((decimal_tick(8.0) - 1.0).abs() < 1e-9);
        assert!((decimal_tick(0.5) - 0.1).abs() < 1e-9);
        assert!((tick(12_000.0) - 2048.0).abs() < 1e-9);
    }
}
