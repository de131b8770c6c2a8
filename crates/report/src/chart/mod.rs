//! Charts of a page, each with a description for readers who do not see it.

mod bars;
mod lines;
mod steps;

use figures::scale::Scale;
use figures::svg::{Anchor, Color, Font, Svg};
use serde::Serialize;

pub(crate) use bars::{histogram, stacked};
pub(crate) use lines::{Axis, Lines, Series};
pub(crate) use steps::{has_phases_of, memory};

/// The width of a chart, of which a page shows one or two side by side.
const WIDTH: f64 = 440.0;
const RIGHT: f64 = WIDTH - 14.0;
/// The height of a line of the legend.
const LINE: f64 = 19.0;
const COLORS: [Color; 7] = [
    Color::BLUE,
    Color::LIGHT_BLUE,
    Color::GREEN,
    Color::ORANGE,
    Color::RED,
    Color::PURPLE,
    Color::MUTED,
];

/// A chart in a page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) svg: String,
    /// Its point, in numbers.
    pub(crate) caption: String,
}

/// Where a chart is drawn, below its legend.
struct Frame {
    left: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    /// Leaves room for the labels of the vertical axis, which is a function of where it is drawn.
    fn new([top, bottom]: [f64; 2], y: impl Fn((f64, f64)) -> Scale) -> (Self, Scale) {
        let y = y((bottom, top));
        let width = |said: String| Font::SMALL.width(&said);
        let widest = y.ticks().map(|(_, said)| width(said)).fold(20.0, f64::max);
        let left = widest + 10.0;
        (Self { left, top, bottom }, y)
    }

    fn y_axis(&self, svg: &mut Svg, y: &Scale, label: &str) {
        for (at, said) in y.ticks() {
            svg.line([self.left, at, RIGHT, at], Color::GRID, "");
            let x = self.left - 7.0;
            svg.text(x, at + 4.0, Font::SMALL.at(Anchor::End), &said);
        }
        svg.text(0.0, self.top - 12.0, Font::SMALL, label);
    }

    fn x_axis(&self, svg: &mut Svg, x: &Scale, label: &str) {
        svg.line(
            [self.left, self.bottom, RIGHT, self.bottom],
            Color::MUTED,
            "",
        );
        for (at, said) in x.ticks() {
            svg.line([at, self.bottom, at, self.bottom + 4.0], Color::MUTED, "");
            let half = Font::SMALL.width(&said) / 2.0;
            let at = at.min(WIDTH - half);
            let font = Font::SMALL.at(Anchor::Middle);
            svg.text(at, self.bottom + 18.0, font, &said);
        }
        let font = Font::SMALL.at(Anchor::End);
        svg.text(RIGHT, self.bottom + 36.0, font, label);
    }
}

/// Writes over a chart at (`x`, `y`), to the side where there is room.
fn note(svg: &mut Svg, (x, y): (f64, f64), said: &str) {
    let (x, anchor) = if x > WIDTH / 2.0 {
        (x - 7.0, Anchor::End)
    } else {
        (x + 7.0, Anchor::Start)
    };
    svg.text_over(x, y, Font::SMALL.at(anchor), said);
}
