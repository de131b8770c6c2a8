//! The picture of a front: a step line, since between two plans there is nothing, with the named
//! policies as dots and what the device has as a vertical line.

use std::fmt::Write as _;

use config::Bytes;

use super::scale::{Scale, said, ticks};
use super::text::work;
use super::{Pareto, Point};
use crate::svg::{begin, escaped, line, text};
use crate::target::Target;

const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 700.0;
pub(super) const LEFT: f64 = 84.0;
const TOP: f64 = 110.0;
pub(super) const PLOT_WIDTH: f64 = 970.0;
pub(super) const PLOT_HEIGHT: f64 = 500.0;
pub(super) const BOTTOM: f64 = TOP + PLOT_HEIGHT;
const RIGHT: f64 = LEFT + PLOT_WIDTH;
/// Width of a bold letter, on average, and height of a line.
const LETTER: f64 = 7.8;
const LINE: f64 = 16.0;

/// Colours for light and for dark, whichever the reader's page has.
const STYLE: &str = "\
<style>
.page{fill:#ffffff}.ink{fill:#1f2328}.muted{fill:#59636e}
.grid{stroke:#d8dee4}.front{stroke:#4e79a7}.step{fill:#4e79a7}
.dot{fill:#e15759;stroke:#ffffff}.halo{stroke:#ffffff}
.budget{stroke:#59a14f}.beyond{fill:#808080;fill-opacity:.12}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.ink{fill:#e6edf3}.muted{fill:#9198a1}
.grid{stroke:#30363d}.front{stroke:#7fb2d6}.step{fill:#7fb2d6}
.dot{stroke:#0d1117}.halo{stroke:#0d1117}
}
</style>
";

/// Draws it.
pub fn to_svg(device: &str, target: &Target, pareto: &Pareto) -> String {
    let scale = Scale::of(pareto);
    let mut out = begin([WIDTH, HEIGHT], STYLE);
    let title = "class=\"ink\" font-size=\"20\" font-weight=\"bold\"";
    text(
        &mut out,
        LEFT,
        34.0,
        title,
        "memory against time of a training step",
    );
    let mut said = format!("{}; predicted for {device}", work(target, pareto));
    if let Some(bytes) = pareto.most_bytes {
        let _ = write!(said, ", which has room for {} of tensors", Bytes(bytes));
    }
    text(&mut out, LEFT, 56.0, "class=\"muted\"", &said);
    budget(&mut out, &scale, pareto);
    grid(&mut out, &scale);
    front(&mut out, &scale, &pareto.front);
    for point in &pareto.policies {
        mark(&mut out, &scale, point, "dot", 6.0);
    }
    labels(&mut out, &scale, pareto);
    legend(&mut out, pareto);
    out.push_str("</svg>\n");
    out
}

fn grid(out: &mut String, scale: &Scale) {
    let (unit, name) = scale.unit;
    for at in ticks(scale.memory, scale.memory_step) {
        let x = scale.x(at * unit);
        line(out, [x, TOP, x, BOTTOM], "class=\"grid\"");
        let style = "class=\"muted\" text-anchor=\"middle\"";
        text(out, x, BOTTOM + 19.0, style, &said(at, scale.memory_step));
    }
    for at in ticks(scale.time, scale.time_step) {
        let y = scale.y(at);
        line(out, [LEFT, y, RIGHT, y], "class=\"grid\"");
        let style = "class=\"muted\" text-anchor=\"end\"";
        text(out, LEFT - 9.0, y + 4.5, style, &said(at, scale.time_step));
    }
    let style = "class=\"ink\" text-anchor=\"end\"";
    let words = format!("peak of tensor bytes, {name} (less is better)");
    text(out, RIGHT, BOTTOM + 44.0, style, &words);
    let words = "time of a step over that of the fastest (less is better)";
    text(out, LEFT - 40.0, TOP - 14.0, "class=\"ink\"", words);
}

/// What tensors may take; to the right of it nothing fits.
fn budget(out: &mut String, scale: &Scale, pareto: &Pareto) {
    let Some(bytes) = pareto.most_bytes else {
        return;
    };
    let x = scale.x(bytes as f64);
    if !(LEFT..=RIGHT).contains(&x) {
        return;
    }
    let _ = writeln!(
        out,
        "<rect class=\"beyond\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{PLOT_HEIGHT}\"/>",
        RIGHT - x
    );
    let style = "class=\"budget\" stroke-width=\"2\" stroke-dasharray=\"7 4\"";
    line(out, [x, TOP, x, BOTTOM], style);
    let (x, anchor, words) = if x > f64::midpoint(LEFT, RIGHT) {
        (x - 8.0, "end", "room for tensors")
    } else {
        (x + 8.0, "start", "past the room for tensors")
    };
    let style = format!("class=\"ink\" text-anchor=\"{anchor}\"");
    text(out, x, TOP + 18.0, &style, words);
}

fn front(out: &mut String, scale: &Scale, front: &[Point]) {
    // From the smallest on: with more memory the time stays, until the next plan fits.
    let mut path = String::new();
    for point in front.iter().rev() {
        let (x, y) = scale.place(point);
        if path.is_empty() {
            let _ = write!(path, "M{x:.1} {y:.1}");
        } else {
            let _ = write!(path, "H{x:.1}V{y:.1}");
        }
    }
    let _ = writeln!(
        out,
        "<path class=\"front\" d=\"{path}H{RIGHT:.1}\" fill=\"none\" stroke-width=\"2\"/>"
    );
    for point in front.iter().filter(|it| it.policy.is_none()) {
        mark(out, scale, point, "step", 2.5);
    }
}

fn mark(out: &mut String, scale: &Scale, point: &Point, class: &str, radius: f64) {
    let (x, y) = scale.place(point);
    let said = format!(
        "{}: {}, {:.3} of the fastest's time",
        point.name(),
        Bytes(point.allocated_bytes),
        point.relative_time
    );
    let _ = writeln!(
        out,
        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{}</title>\
         </circle>",
        escaped(&said)
    );
}

/// Left, top, right, bottom.
type Area = [f64; 4];

fn overlap(one: &Area, other: &Area) -> f64 {
    let width = one[2].min(other[2]) - one[0].max(other[0]);
    let height = one[3].min(other[3]) - one[1].max(other[1]);
    width.max(0.0) * height.max(0.0)
}

/// Names each policy where that covers the least of marks and of other names.
fn labels(out: &mut String, scale: &Scale, pareto: &Pareto) {
    let around = |point: &Point, by: f64| {
        let (x, y) = scale.place(point);
        [x - by, y - by, x + by, y + by]
    };
    let mut taken: Vec<Area> = pareto.policies.iter().map(|it| around(it, 7.0)).collect();
    taken.extend(pareto.front.iter().map(|it| around(it, 4.0)));
    for point in &pareto.policies {
        let name = point.name();
        let (x, y) = scale.place(point);
        let width = name.len() as f64 * LETTER;
        let place =
            |left: f64, middle: f64| [left, middle - LINE / 2.0, left + width, middle + LINE / 2.0];
        // Up and to the right nothing can be on the front.
        let places = [
            place(x + 10.0, y - 12.0),
            place(x + 12.0, y),
            place(x - width / 2.0, y - 17.0),
            place(x + 10.0, y + 14.0),
            place(x - width - 10.0, y - 12.0),
            place(x - width - 12.0, y),
            place(x - width / 2.0, y + 19.0),
        ];
        let cost = |area: &Area| {
            let covered: f64 = taken.iter().map(|other| overlap(area, other)).sum();
            let outside = (area[2] - RIGHT).max(0.0) + (TOP - area[1]).max(0.0);
            covered + 50.0 * outside
        };
        let Some(best) = places
            .into_iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        else {
            continue;
        };
        let style = "class=\"ink halo\" font-weight=\"bold\" paint-order=\"stroke\" \
                     stroke-width=\"4\" stroke-linejoin=\"round\"";
        text(out, best[0], best[3] - 4.0, style, &name);
        taken.push(best);
    }
}

fn legend(out: &mut String, pareto: &Pareto) {
    let y = TOP - 18.0;
    let words = format!("the {} ways that nothing beats", pareto.front.len());
    let mut x = RIGHT - words.len() as f64 * 7.0;
    text(out, x, y + 4.0, "class=\"ink\"", &words);
    let style = "class=\"front\" stroke-width=\"2\"";
    line(out, [x - 28.0, y, x - 8.0, y], style);
    let _ = writeln!(
        out,
        "<circle class=\"step\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>",
        x - 18.0
    );
    let words = "policies";
    x -= 56.0 + words.len() as f64 * 7.0;
    text(out, x, y + 4.0, "class=\"ink\"", words);
    let _ = writeln!(
        out,
        "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"6\"/>",
        x - 14.0
    );
}
