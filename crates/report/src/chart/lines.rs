//! Lines over an axis, told apart by colour and by dash.

use std::fmt::Write as _;

use figures::numbers::small;
use figures::scale::Scale;
use figures::svg::{Color, Font, Svg};

use super::{Figure, Frame, LINE, RIGHT, WIDTH, note};
use crate::page::name as quoted;

const COLORS: [Color; 4] = [Color::BLUE, Color::RED, Color::GREEN, Color::PURPLE];
const DASHES: [&str; 4] = ["", "7 4", "2 3", "10 3 2 3"];
const HEIGHT: f64 = 190.0;

/// An axis with its unit.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    /// Its ends, if they do not follow from the values.
    pub(crate) range: Option<(f64, f64)>,
}

impl Axis {
    /// An axis whose ends follow from the values.
    pub(crate) const fn of(label: &'static str) -> Self {
        Self { label, range: None }
    }

    /// An axis from 0 to 1.
    pub(crate) const fn share(label: &'static str) -> Self {
        let range = Some((0.0, 1.0));
        Self { label, range }
    }
}

/// Longer names are cut in a legend.
const MAX_NAME: usize = 40;

/// A line. Where a value is missing, it is broken.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    name: String,
    /// Whether users gave the name.
    is_given: bool,
    points: Vec<(f64, Option<f64>)>,
    /// The place among the series of its chart, with which its colour and its dash go.
    place: usize,
}

impl Series {
    pub(crate) fn new(
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, Option<f64>)>,
    ) -> Self {
        let finite = |(x, y): (f64, Option<f64>)| (x, y.filter(|it| it.is_finite()));
        Self {
            name: name.into(),
            is_given: false,
            points: points.into_iter().map(finite).collect(),
            place: 0,
        }
    }

    /// The series of what users gave this name.
    pub(crate) fn given(self) -> Self {
        let is_given = true;
        Self { is_given, ..self }
    }

    fn known(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> + Clone {
        self.points.iter().filter_map(|(x, y)| Some((*x, (*y)?)))
    }

    fn short_name(&self) -> String {
        if self.name.chars().count() <= MAX_NAME {
            return self.name.clone();
        }
        let start = self.name.chars().take(MAX_NAME - 3);
        start.chain("...".chars()).collect()
    }

    /// A text of the name, as it is going to be translated.
    fn said(&self, name: &str) -> String {
        if self.is_given {
            quoted(name)
        } else {
            name.to_owned()
        }
    }

    fn in_words(&self) -> String {
        let name = self.said(&self.name);
        match (self.known().next(), self.known().next_back()) {
            (Some((x1, y1)), Some((x2, y2))) => {
                let at = |x: f64| format!("{x:.*}", if x.fract() == 0.0 { 0 } else { 2 });
                let (x1, x2) = (at(x1), at(x2));
                let (y1, y2) = (small(y1), small(y2));
                format!("{name}: {y1} at {x1}, {y2} at {x2}")
            }
            _ => format!("{name}: no values"),
        }
    }
}

/// A chart of lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// Points with a label.
    pub(crate) marks: Vec<(f64, f64, String)>,
    pub(crate) has_diagonal: bool,
}

impl Lines {
    /// Draws the chart, unless it would be empty.
    pub(crate) fn draw(mut self, caption: String) -> Option<Figure> {
        // A run looks the same in all charts, even if one of them leaves out another run.
        for (place, series) in self.series.iter_mut().enumerate() {
            series.place = place;
        }
        self.series.retain(|it| it.known().next().is_some());
        if self.series.is_empty() {
            return None;
        }
        let said: Vec<String> = self.series.iter().map(Series::in_words).collect();
        let legend = self.legend();
        let rows = legend.last().map_or(0.0, |(_, row)| row + 1.0);
        let top = 28.0 + LINE * rows;
        let (x_label, y_label) = (self.x.label, self.y.label);
        let mut svg = Svg::inline(
            [WIDTH, top + HEIGHT + 42.0],
            self.title,
            &format!("{}. {}.", self.axes(), said.join("; ")),
        );
        let values = || self.series.iter().flat_map(Series::known);
        let (frame, y) = Frame::new([top, top + HEIGHT], |page| match self.y.range {
            Some(range) => Scale::new(range, page),
            None => upright(values().map(|it| it.1), page),
        });
        let page = (frame.left, RIGHT);
        let x = self.x.range.map_or_else(
            || Scale::new(ends(values().map(|it| it.0)), page).whole(),
            |range| Scale::new(range, page),
        );
        frame.y_axis(&mut svg, &y, y_label);
        frame.x_axis(&mut svg, &x, x_label);
        if self.has_diagonal {
            let line = [x.at(0.0), y.at(0.0), x.at(1.0), y.at(1.0)];
            svg.line(line, Color::MUTED, "stroke-dasharray=\"2 4\"");
        }
        for series in &self.series {
            draw(&mut svg, series, (&x, &y));
        }
        for (at, value, said) in &self.marks {
            let (at, value) = (x.at(*at), y.at(*value));
            svg.disc((at, value), 4.0, Color::INK, "");
            // Dice is above IoU, so there is room below.
            let is_low = value > frame.bottom - 34.0;
            let beside = value + if is_low { -8.0 } else { 28.0 };
            note(&mut svg, (at, beside), said);
        }
        if self.series.len() > 1 {
            for (series, (left, row)) in self.series.iter().zip(&legend) {
                let index = series.place;
                let at = 12.0 + LINE * row;
                svg.line([*left, at, left + 26.0, at], color(index), &style(index));
                let name = series.said(&series.short_name());
                svg.text(left + 32.0, at + 4.0, Font::SMALL, &name);
            }
        }
        Some(Figure {
            title: self.title.to_owned(),
            svg: svg.finish(),
            caption,
        })
    }

    fn axes(&self) -> String {
        format!("{} against {}", self.y.label, self.x.label)
    }

    /// The left end and the row of each entry of the legend.
    fn legend(&self) -> Vec<(f64, f64)> {
        let (mut left, mut row) = (0.0, 0.0);
        let mut places = Vec::new();
        if self.series.len() < 2 {
            return places;
        }
        for series in &self.series {
            let width = 32.0 + Font::SMALL.width(&series.short_name()) + 14.0;
            if left > 0.0 && left + width > WIDTH {
                (left, row) = (0.0, row + 1.0);
            }
            places.push((left, row));
            left += width;
        }
        places
    }
}

/// A vertical axis over `values`. It starts at zero if they hardly differ.
fn upright(values: impl Iterator<Item = f64> + Clone, page: (f64, f64)) -> Scale {
    let (least, most) = extremes(values.clone());
    if least < 0.0 {
        Scale::new((least, most.max(0.0)), page)
    } else if most > 0.0 && most - least < 0.05 * most {
        Scale::new((0.0, 1.2 * most), page)
    } else {
        Scale::of(values, page)
    }
}

/// The ends of an axis over `values`; around a single value there is room on both sides.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = extremes(values);
    if least < most {
        (least, most)
    } else {
        (least - 1.0, most + 1.0)
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), it| {
        (least.min(it), most.max(it))
    })
}

const fn color(index: usize) -> Color {
    COLORS[index % COLORS.len()]
}

/// Line styles repeat only after each has had every colour.
fn style(index: usize) -> String {
    let dash = DASHES[(index + index / COLORS.len()) % DASHES.len()];
    format!("stroke-width=\"2\" stroke-linejoin=\"round\" stroke-dasharray=\"{dash}\"")
}

fn draw(svg: &mut Svg, series: &Series, (x, y): (&Scale, &Scale)) {
    let index = series.place;
    let name = series.said(&series.name);
    let mut path = String::new();
    let is_known = |at: Option<usize>| {
        let point = at.and_then(|at| series.points.get(at));
        point.is_some_and(|(_, value)| value.is_some())
    };
    for (at, (epoch, value)) in series.points.iter().enumerate() {
        let Some(value) = value else { continue };
        let (before, after) = (is_known(at.checked_sub(1)), is_known(Some(at + 1)));
        let (left, top) = (x.at(*epoch), y.at(*value));
        // Writing to a `String` cannot fail.
        let _ = write!(path, "{}{left:.1} {top:.1}", if before { 'L' } else { 'M' });
        if !before && !after {
            if index.is_multiple_of(2) {
                svg.disc((left, top), 4.0, color(index), &name);
            } else {
                svg.square((left, top), color(index), &name);
            }
        }
    }
    svg.path(&path, color(index), &style(index));
}
