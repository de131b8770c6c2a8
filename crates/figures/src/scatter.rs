//! Draws memory against time or speed: a mark for each way to run a step, a name next to each mark, and the
//! Pareto front as a line.

use std::fmt::Write as _;

use config::Bytes;
use locale::Language;

use crate::scale::Scale;
use crate::svg::{Anchor, Area, Color, Font, Svg};

const SIZE: [f64; 2] = [1240.0, 760.0];
const LEFT: f64 = 80.0;
const TOP: f64 = 124.0;
const RIGHT: f64 = 1210.0;
const BOTTOM: f64 = 690.0;
const LABEL: Font = Font {
    size: 12.0,
    ..Font::PLAIN
};
const GIB: f64 = Bytes::GIB as f64;
const MIB: f64 = Bytes::MIB as f64;

/// Which end of the vertical axis is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better, as for times.
    Less,
    /// More is better, as for speeds.
    More,
}

/// How the marks of a group look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A filled disc, with a solid front.
    Disc,
    /// An empty square, with a dashed front.
    Square,
}

/// One way to run a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The name next to the mark. A mark without a name is small and plain.
    pub label: Option<String>,
    /// The tooltip.
    pub hint: String,
    /// The peak of tensor bytes.
    pub bytes: u64,
    /// Its time or speed.
    pub value: f64,
    /// The colour of a mark with a label.
    pub color: Color,
}

/// Points that share a front.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The name of its front.
    pub front: String,
    /// The name of its marks. Without one, the legend names only their colours.
    pub marks: Option<String>,
    /// How its marks look.
    pub mark: Mark,
    /// The points, in any order.
    pub points: Vec<Point>,
}

/// The chart to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    /// What the picture shows, in a sentence.
    pub title: String,
    /// The workload and the device.
    pub subtitle: String,
    /// The name of the vertical axis.
    pub axis: String,
    /// Which end of that axis is better.
    pub better: Better,
    /// The groups, in the order of the legend.
    pub groups: Vec<Group>,
    /// The meaning of the colours.
    pub colors: Vec<(Color, String)>,
    /// The limit of tensor bytes; nothing beyond it fits.
    pub room_bytes: Option<u64>,
}

/// The points that no other beats in both memory and time or speed, smallest memory first.
pub fn front(points: &[Point], better: Better) -> Vec<&Point> {
    let cost = |point: &Point| match better {
        Better::Less => point.value,
        Better::More => -point.value,
    };
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(cost(a).total_cmp(&cost(b))));
    let mut best = f64::INFINITY;
    sorted.retain(|point| {
        let beats = cost(point) < best;
        best = best.min(cost(point));
        beats
    });
    sorted
}

impl Scatter {
    /// Draws the chart.
    pub fn to_svg(&self, language: Language) -> String {
        let mut svg = Svg::new(
            language,
            SIZE,
            LEFT - 40.0,
            &self.title,
            std::slice::from_ref(&self.subtitle),
        );
        let plot = Plot::of(self);
        self.room(&mut svg, &plot);
        self.axes(&mut svg, &plot);
        for group in &self.groups {
            group.draw_front(&mut svg, &plot, self.better);
        }
        for group in &self.groups {
            group.draw_marks(&mut svg, &plot);
        }
        self.labels(&mut svg, &plot);
        self.legend(&mut svg);
        svg.finish()
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.groups.iter().flat_map(|group| &group.points)
    }

    fn axes(&self, svg: &mut Svg, plot: &Plot) {
        for (x, said) in plot.memory.ticks() {
            svg.line([x, TOP, x, BOTTOM], Color::GRID, "");
            svg.text(x, BOTTOM + 18.0, Font::SMALL.at(Anchor::Middle), &said);
        }
        for (y, said) in plot.value.ticks() {
            svg.line([LEFT, y, RIGHT, y], Color::GRID, "");
            svg.text(LEFT - 8.0, y + 4.0, Font::SMALL.at(Anchor::End), &said);
        }
        let said = format!("peak memory of tensors, {} (less is better)", plot.unit.1);
        svg.text(RIGHT, BOTTOM + 42.0, Font::PLAIN.at(Anchor::End), &said);
        let better = match self.better {
            Better::Less => "less",
            Better::More => "more",
        };
        let said = format!("{} ({better} is better)", self.axis);
        svg.text(LEFT - 40.0, TOP - 14.0, Font::PLAIN, &said);
    }

    /// Draws the limit of tensor bytes; nothing to the right of it fits.
    fn room(&self, svg: &mut Svg, plot: &Plot) {
        let Some(x) = self.room_bytes.map(|it| plot.x(it)) else {
            return;
        };
        if !(LEFT..=RIGHT).contains(&x) {
            return;
        }
        svg.rect([x, TOP, RIGHT, BOTTOM], Color::SHADE, "");
        let dashed = "stroke-width=\"2\" stroke-dasharray=\"7 4\"";
        svg.line([x, TOP, x, BOTTOM], Color::GREEN, dashed);
        let (x, anchor) = if x > f64::midpoint(LEFT, RIGHT) {
            (x - 8.0, Anchor::End)
        } else {
            (x + 8.0, Anchor::Start)
        };
        let said = "left of this line a step fits the device";
        svg.text_over(x, TOP + 18.0, LABEL.at(anchor), said);
    }

    /// Puts each label where it covers the fewest marks, fronts and earlier labels. A label far from its
    /// mark gets a line to it.
    fn labels(&self, svg: &mut Svg, plot: &Plot) {
        let around = |point: &Point| {
            let by = if point.label.is_some() { 7.0 } else { 3.0 };
            let (x, y) = plot.place(point);
            [x - by, y - by, x + by, y + by]
        };
        let mut taken: Vec<Area> = self.points().map(around).collect();
        for group in &self.groups {
            taken.extend(group.steps(plot, self.better));
        }
        let mut order: Vec<&Point> = self.points().collect();
        order.sort_by(|a, b| plot.place(a).1.total_cmp(&plot.place(b).1));
        let mut said = Vec::new();
        for point in order {
            let Some(label) = &point.label else { continue };
            let is_ours = self
                .groups
                .first()
                .is_some_and(|it| it.points.contains(point));
            let font = Font {
                is_bold: is_ours,
                ..LABEL
            };
            let (x, y) = plot.place(point);
            let Some(area) = free(&taken, (x, y), font.width(label)) else {
                continue;
            };
            let middle = f64::midpoint(area[1], area[3]);
            if (middle - y).abs() > 20.0 {
                let near = x.clamp(area[0], area[2]);
                let end = if middle > y { area[1] } else { area[3] };
                svg.line([x, y, near, end], Color::MUTED, "stroke-width=\"0.7\"");
            }
            taken.push(area);
            said.push((x, area, font, label));
        }
        // Widths are estimates, so a label is aligned to its mark.
        for (x, [left, _, right, bottom], font, label) in said {
            let (at, anchor) = if right <= x {
                (right, Anchor::End)
            } else if left >= x {
                (left, Anchor::Start)
            } else {
                (f64::midpoint(left, right), Anchor::Middle)
            };
            svg.text_over(at, bottom - 6.0, font.at(anchor), label);
        }
    }

    /// Draws a legend of only what the picture shows.
    fn legend(&self, svg: &mut Svg) {
        let y = TOP - 40.0;
        let mut x = LEFT - 34.0;
        let said = |svg: &mut Svg, x: f64, words: &str| {
            svg.text(x, y + 4.0, LABEL, words);
            x + LABEL.width(words) + 22.0
        };
        for (color, name) in &self.colors {
            svg.disc((x, y), 6.0, *color, "");
            x = said(svg, x + 11.0, name);
        }
        for group in &self.groups {
            if let Some(name) = &group.marks {
                match group.mark {
                    Mark::Disc => svg.disc((x, y), 6.0, Color::INK, ""),
                    Mark::Square => svg.square((x, y), Color::INK, ""),
                }
                x = said(svg, x + 11.0, name);
            }
            let (color, style) = group.mark.line();
            svg.line([x - 6.0, y, x + 16.0, y], color, style);
            x = said(svg, x + 22.0, &group.front);
        }
    }
}

/// Finds the box near a mark, for a label of this width, that covers the least.
fn free(taken: &[Area], (x, y): (f64, f64), width: f64) -> Option<Area> {
    let (font, mut best) = (LABEL.size, None::<(f64, Area)>);
    let rows = [0.0, -16.0, 16.0, -30.0, 30.0, -44.0, 44.0, -58.0, 58.0];
    for (step, dy) in rows.into_iter().enumerate() {
        for left in [x + 11.0, x - 11.0 - width, x - width / 2.0] {
            // A centred label is above or below its mark.
            if step == 0 && left < x && left + width > x {
                continue;
            }
            let (top, bottom) = (y + dy - font / 2.0, y + dy + font / 2.0 + 4.0);
            let area = [left, top, left + width, bottom];
            let outside = (LEFT + 3.0 - left).max(0.0)
                + (left + width - RIGHT).max(0.0)
                + (bottom - BOTTOM).max(0.0)
                + (TOP - top).max(0.0);
            let covered: f64 = taken.iter().map(|other| overlap(&area, other)).sum();
            let cost = covered + 50.0 * outside + 3.0 * step as f64;
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, area));
            }
        }
    }
    best.map(|(_, area)| area)
}

fn overlap(one: &Area, other: &Area) -> f64 {
    let width = one[2].min(other[2]) - one[0].max(other[0]);
    let height = one[3].min(other[3]) - one[1].max(other[1]);
    width.max(0.0) * height.max(0.0)
}

/// Maps points to coordinates on the page.
struct Plot {
    memory: Scale,
    value: Scale,
    unit: (f64, &'static str),
}

impl Plot {
    fn of(chart: &Scatter) -> Self {
        let bytes = || chart.points().map(|it| it.bytes as f64);
        let most = bytes().fold(1.0, f64::max);
        let unit = if most >= 2.0 * GIB {
            (GIB, "GiB")
        } else {
            (MIB, "MiB")
        };
        // The device's limit is shown if it is close to the points.
        let room = chart.room_bytes.map(|it| it as f64);
        let room = room.filter(|it| (0.3 * most..1.5 * most).contains(it));
        Self {
            memory: Scale::of(bytes().chain(room).map(|it| it / unit.0), (LEFT, RIGHT)),
            value: Scale::of(chart.points().map(|it| it.value), (BOTTOM, TOP)),
            unit,
        }
    }

    fn x(&self, bytes: u64) -> f64 {
        self.memory.at(bytes as f64 / self.unit.0)
    }

    fn place(&self, point: &Point) -> (f64, f64) {
        (self.x(point.bytes), self.value.at(point.value))
    }
}

impl Mark {
    const fn line(self) -> (Color, &'static str) {
        match self {
            Self::Disc => (Color::INK, "stroke-width=\"1.5\""),
            Self::Square => (
                Color::MUTED,
                "stroke-width=\"1.5\" stroke-dasharray=\"5 4\"",
            ),
        }
    }
}

impl Group {
    /// Nothing lies between two ways to run a step, so the front has steps and no slopes.
    fn draw_front(&self, svg: &mut Svg, plot: &Plot, better: Better) {
        let mut path = String::new();
        for point in front(&self.points, better) {
            let (x, y) = plot.place(point);
            // Writing to a `String` cannot fail.
            let _ = if path.is_empty() {
                write!(path, "M{x:.1} {y:.1}")
            } else {
                write!(path, "H{x:.1}V{y:.1}")
            };
        }
        if !path.is_empty() {
            let (color, style) = self.mark.line();
            svg.path(&path, color, style);
        }
    }

    /// The lines of the front, as areas that labels avoid.
    fn steps(&self, plot: &Plot, better: Better) -> Vec<Area> {
        let places: Vec<_> = front(&self.points, better);
        let places = places.into_iter().map(|it| plot.place(it));
        let places: Vec<(f64, f64)> = places.collect();
        let pairs = places.windows(2);
        pairs
            .flat_map(|pair| {
                let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
                [
                    [x0, y0 - 1.0, x1, y0 + 1.0],
                    [x1 - 1.0, y0.min(y1), x1 + 1.0, y0.max(y1)],
                ]
            })
            .collect()
    }

    fn draw_marks(&self, svg: &mut Svg, plot: &Plot) {
        // Unnamed marks must not cover named ones.
        let (named, plain): (Vec<&Point>, Vec<&Point>) =
            self.points.iter().partition(|it| it.label.is_some());
        for point in plain.into_iter().chain(named) {
            let place = plot.place(point);
            match (&point.label, self.mark) {
                (None, _) => svg.disc(place, 2.5, Color::INK, &point.hint),
                (Some(_), Mark::Disc) => svg.disc(place, 6.0, point.color, &point.hint),
                (Some(_), Mark::Square) => svg.square(place, point.color, &point.hint),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, bytes: u64, value: f64) -> Point {
        Point {
            label: Some(label.to_owned()),
            hint: String::new(),
            bytes,
            value,
            color: Color::BLUE,
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
        let labels = |better| {
            let front = front(&points, better).into_iter();
            front.filter_map(|it| it.label.clone()).collect::<Vec<_>>()
        };
        assert_eq!(labels(Better::More), ["small", "middle", "large and fast"]);
        assert_eq!(labels(Better::Less), ["small"]);
    }

    #[test]
    fn labels_keep_off_each_other() {
        let points: Vec<Point> = (0..12)
            .map(|it| point("selective + split", 1000 + it % 3, 1.0 + 0.001 * it as f64))
            .collect();
        let plot = Plot {
            memory: Scale::of(points.iter().map(|it| it.bytes as f64), (LEFT, RIGHT)),
            value: Scale::of(points.iter().map(|it| it.value), (BOTTOM, TOP)),
            unit: (1.0, "B"),
        };
        let mut taken: Vec<Area> = Vec::new();
        for point in &points {
            let area = free(&taken, plot.place(point), 100.0).unwrap();
            assert!(taken.iter().all(|other| overlap(&area, other) < 1e-9));
            taken.push(area);
        }
    }

    #[test]
    fn nothing_is_drawn_too() {
        let nothing = Scatter {
            title: String::new(),
            subtitle: String::new(),
            axis: String::new(),
            better: Better::More,
            groups: Vec::new(),
            colors: Vec::new(),
            room_bytes: Some(0),
        };
        let drawn = nothing.to_svg(Language::English);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
}
