//! Draws several steps side by side, on a common scale of memory and of time.

use config::{Bytes, Category};
use locale::Language;

use super::draw::{Plot, color};
use super::{MemoryTimeline, Sample};
use crate::numbers::{change, percent};
use crate::svg::{Anchor, Font, Svg};

const WIDTH: f64 = 1240.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 1224.0;
const TOP: f64 = 120.0;
const BOTTOM: f64 = 430.0;
const GAP: f64 = 18.0;

/// One of several steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What distinguishes it.
    pub name: String,
    /// Its memory over time.
    pub timeline: MemoryTimeline,
}

/// Steps to draw side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Panels {
    /// What the picture shows, in a sentence.
    pub title: String,
    /// The workload and the device.
    pub lines: Vec<String>,
    /// The steps. The others are compared with the first.
    pub panels: Vec<Panel>,
}

impl Panels {
    /// Draws the steps. The width of a panel is the duration of its step.
    pub fn to_svg(&self, language: Language) -> String {
        let mut svg = Svg::new(
            language,
            [WIDTH, HEIGHT],
            LEFT - 52.0,
            &self.title,
            &self.lines,
        );
        let peak = |it: &Panel| it.timeline.peak().map_or(0, Sample::total);
        let most = self.panels.iter().map(peak).max().unwrap_or(0);
        let total_ms: f64 = self.panels.iter().map(|it| it.timeline.end_ms).sum();
        let gaps = GAP * self.panels.len().saturating_sub(1) as f64;
        let per_ms = (RIGHT - LEFT - gaps) / total_ms.max(1e-9);
        let first = self.panels.first();
        let mut left = LEFT;
        for panel in &self.panels {
            let right = left + per_ms * panel.timeline.end_ms;
            let plot = Plot::new([left, TOP, right, BOTTOM], panel.timeline.end_ms, most);
            if left <= LEFT {
                plot.axis(&mut svg, RIGHT);
            }
            plot.stack(&mut svg, &panel.timeline);
            plot.phases(&mut svg, &panel.timeline);
            name_peak(&mut svg, &plot, peak(panel), first.map_or(0, peak));
            let middle = f64::midpoint(left, right);
            let large = Font {
                size: 16.0,
                ..Font::BOLD
            }
            .at(Anchor::Middle);
            svg.text(middle, BOTTOM + 66.0, large, &panel.name);
            let base = first.map_or(0.0, |it| it.timeline.end_ms);
            let time = panel.timeline.end_ms / base.max(f64::MIN_POSITIVE) - 1.0;
            let said = if Some(panel) == first {
                "time of a step: 1".to_owned()
            } else {
                format!("{} time", change(time, 0))
            };
            svg.text(middle, BOTTOM + 84.0, Font::PLAIN.at(Anchor::Middle), &said);
            left = right + GAP;
        }
        self.legend(&mut svg);
        svg.finish()
    }

    fn legend(&self, svg: &mut Svg) {
        let seen: Vec<Vec<Category>> = self
            .panels
            .iter()
            .map(|it| it.timeline.categories())
            .collect();
        let holds = |category: &Category| seen.iter().any(|it| it.contains(category));
        let (mut x, y) = (LEFT, HEIGHT - 16.0);
        for category in Category::ALL.into_iter().filter(holds) {
            svg.key(x, y, color(category));
            svg.text(x + 19.0, y, Font::PLAIN, category.name());
            x += 19.0 + Font::PLAIN.width(category.name()) + 20.0;
        }
        let said = "a panel is as wide as its step takes time";
        svg.text(RIGHT, y, Font::SMALL.at(Anchor::End), said);
    }
}

/// Labels the peak, above the panel's highest point.
fn name_peak(svg: &mut Svg, plot: &Plot, bytes: u64, of_first: u64) {
    let (x, y) = (f64::midpoint(plot.left, plot.right), plot.y(bytes));
    let font = Font {
        size: 15.0,
        ..Font::BOLD
    }
    .at(Anchor::Middle);
    let share = percent(bytes as f64 / of_first.max(1) as f64);
    if bytes == of_first {
        svg.text_over(x, y - 7.0, font, &Bytes(bytes).to_string());
    } else {
        svg.text_over(x, y - 24.0, font, &Bytes(bytes).to_string());
        svg.text_over(x, y - 8.0, Font::PLAIN.at(Anchor::Middle), &share);
    }
}
