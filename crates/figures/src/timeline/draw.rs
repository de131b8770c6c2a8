//! Draws the parts of a chart of memory over time: stacked areas, an outline, the strip of phases, the axis.

use std::fmt::Write as _;

use config::{Bytes, Category};

use super::{MemoryTimeline, Sample};
use crate::scale::Scale;
use crate::svg::{Anchor, Color, Font, Svg};

/// The height of the strip of phases.
const STRIP: f64 = 20.0;

pub(super) const fn color(category: Category) -> Color {
    match category {
        Category::Parameters => Color::BLUE,
        Category::Optimizer => Color::LIGHT_BLUE,
        Category::Gradients => Color::GREEN,
        Category::Activations => Color::ORANGE,
        Category::Transients => Color::RED,
        Category::Workspace => Color::PURPLE,
    }
}

/// The area of a timeline on the page; it maps time and bytes to coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    time: Scale,
    bytes: Scale,
    unit: (f64, &'static str),
}

impl Plot {
    pub(super) fn new([left, top, right, bottom]: [f64; 4], end_ms: f64, most: u64) -> Self {
        let unit = match most {
            0..Bytes::MIB => (Bytes::KIB as f64, "KiB"),
            Bytes::MIB..Bytes::GIB => (Bytes::MIB as f64, "MiB"),
            _ => (Bytes::GIB as f64, "GiB"),
        };
        let most = 1.08 * most.max(1) as f64 / unit.0;
        Self {
            left,
            right,
            top,
            bottom,
            time: Scale::new((0.0, end_ms), (left, right)),
            bytes: Scale::new((0.0, most), (bottom, top)),
            unit,
        }
    }

    pub(super) fn x(&self, at_ms: f64) -> f64 {
        self.time.at(at_ms).clamp(self.left, self.right)
    }

    pub(super) fn y(&self, bytes: u64) -> f64 {
        self.bytes.at(bytes as f64 / self.unit.0)
    }

    /// Draws the grid lines of the byte axis, up to `right`.
    pub(super) fn axis(&self, svg: &mut Svg, right: f64) {
        for (y, said) in self.bytes.ticks() {
            svg.line([self.left, y, right, y], Color::GRID, "");
            svg.text(self.left - 8.0, y + 4.0, Font::SMALL.at(Anchor::End), &said);
        }
        let said = format!("memory, {}", self.unit.1);
        svg.text(self.left - 52.0, self.top - 12.0, Font::SMALL, &said);
    }

    /// Draws the stacked areas. If several samples fall on one pixel, the largest is drawn.
    pub(super) fn stack(&self, svg: &mut Svg, timeline: &MemoryTimeline) {
        let samples = self.columns(timeline);
        for category in Category::ALL.into_iter().rev() {
            if timeline
                .samples
                .iter()
                .all(|it| it.bytes[category.index()] == 0)
            {
                continue;
            }
            let upto = |it: &Sample| it.bytes[..=category.index()].iter().sum::<u64>();
            let path = format!(
                "M{:.1} {:.1}{}V{:.1}Z",
                self.left,
                self.bottom,
                self.steps(&samples, timeline.end_ms, upto),
                self.bottom
            );
            svg.area(&path, color(category), category.name());
        }
    }

    /// Draws the sum of all categories as a line that is visible on any colour.
    pub(super) fn outline(&self, svg: &mut Svg, timeline: &MemoryTimeline) {
        let samples = self.columns(timeline);
        let Some(first) = samples.first() else { return };
        let start = format!("M{:.1} {:.1}", self.x(first.at_ms), self.y(first.total()));
        let path = start + &self.steps(&samples, timeline.end_ms, Sample::total);
        outlined(svg, &path);
    }

    fn columns(&self, timeline: &MemoryTimeline) -> Vec<Sample> {
        let mut columns: Vec<Sample> = Vec::new();
        let pixel = |it: &Sample| self.x(it.at_ms).floor();
        for sample in &timeline.samples {
            match columns.last_mut() {
                Some(last) if pixel(last) >= pixel(sample) => {
                    if sample.total() > last.total() {
                        last.bytes = sample.bytes;
                    }
                }
                _ => columns.push(*sample),
            }
        }
        columns
    }

    fn steps(&self, samples: &[Sample], end_ms: f64, bytes: impl Fn(&Sample) -> u64) -> String {
        let mut path = String::new();
        // Writing to a `String` cannot fail.
        for sample in samples {
            let _ = write!(
                path,
                "H{:.1}V{:.1}",
                self.x(sample.at_ms),
                self.y(bytes(sample))
            );
        }
        let _ = write!(path, "H{:.1}", self.x(end_ms));
        path
    }

    /// Draws the phases under the plot. If a phase is too short for its name, the name goes below the strip.
    pub(super) fn phases(&self, svg: &mut Svg, timeline: &MemoryTimeline) {
        let ends = timeline.phases.iter().skip(1).map(|(_, at)| *at);
        let ends = ends.chain([timeline.end_ms]);
        let (top, mut taken) = (self.bottom + 6.0, self.left);
        for ((name, from), to) in timeline.phases.iter().zip(ends) {
            let (left, right) = (self.x(*from), self.x(to));
            svg.rect(
                [left + 0.5, top, right.max(left + 1.0), top + STRIP],
                Color::SHADE,
                name,
            );
            svg.line(
                [left, self.top, left, top + STRIP],
                Color::GRID,
                "stroke-dasharray=\"2 3\"",
            );
            let width = Font::SMALL.width(name);
            if right - left >= width + 4.0 {
                let x = f64::midpoint(left, right);
                svg.text(x, top + 14.5, Font::SMALL.at(Anchor::Middle), name);
                continue;
            }
            let x = f64::midpoint(left, right).clamp(self.left, self.right - width / 2.0);
            if x - width / 2.0 >= taken {
                svg.text(x, top + STRIP + 13.0, Font::SMALL.at(Anchor::Middle), name);
                taken = x + width / 2.0 + 6.0;
            }
        }
    }

    /// Draws the time axis under the phases.
    pub(super) fn time_axis(&self, svg: &mut Svg, said: &str) {
        let y = self.bottom + 54.0;
        for (x, at) in self.time.ticks() {
            svg.text(x, y, Font::SMALL.at(Anchor::Middle), &at);
        }
        svg.text(self.right, y + 18.0, Font::SMALL.at(Anchor::End), said);
    }
}

/// Draws a line that is visible on any colour.
pub(super) fn outlined(svg: &mut Svg, path: &str) {
    svg.path(
        path,
        Color::PAGE,
        "stroke-width=\"3.5\" stroke-linejoin=\"round\"",
    );
    svg.path(
        path,
        Color::INK,
        "stroke-width=\"1.5\" stroke-linejoin=\"round\"",
    );
}
