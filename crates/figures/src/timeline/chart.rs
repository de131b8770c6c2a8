//! Draws one step: its memory over time with the peak labelled, what is held at the peak, and the peaks under
//! other policies.

use config::{Bytes, Category};
use locale::Language;

use super::MemoryTimeline;
use super::draw::{Plot, color, outlined};
use crate::numbers::percent;
use crate::svg::{Anchor, Color, Font, Svg};

const WIDTH: f64 = 1240.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 1216.0;
const TOP: f64 = 132.0;
const BOTTOM: f64 = 500.0;
/// The right end of the plot and the left end of the bars, if there are bars.
const PLOT_RIGHT: f64 = 770.0;
const BARS: f64 = 810.0;
/// What is held at the peak.
const HELD: f64 = BOTTOM + 106.0;
const LINE: f64 = 20.0;
/// The number of tensors named under the plot.
const MAX_HOLDERS: usize = 5;

/// The peak of the step under one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The policy.
    pub name: String,
    /// Its peak.
    pub bytes: u64,
    /// The predicted peak.
    pub predicted_bytes: Option<u64>,
    /// Whether the timeline shows this policy.
    pub is_drawn: bool,
}

/// A step to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart<'a> {
    /// What the picture shows, in a sentence.
    pub title: &'a str,
    /// The workload and the device.
    pub lines: &'a [String],
    /// The timeline to stack.
    pub timeline: &'a MemoryTimeline,
    /// A prediction of the timeline, drawn over it as a line.
    pub predicted: Option<&'a MemoryTimeline>,
    /// What the step does at its peak.
    pub peak_at: &'a str,
    /// The peak under each policy.
    pub bars: &'a [Bar],
    /// The largest holders of memory at the peak, in words.
    pub holders: &'a [(Category, String)],
    /// The tooltips, each with the time from which it applies.
    pub hints: &'a [(f64, String)],
    /// The name of the time axis.
    pub time_axis: &'a str,
}

impl Chart<'_> {
    /// Draws the chart.
    pub fn to_svg(&self, language: Language) -> String {
        let rows = self.holders.len().min(MAX_HOLDERS);
        let height = if rows > 0 {
            HELD + 40.0 + LINE * 5.0
        } else {
            HELD + 46.0
        };
        let mut svg = Svg::new(
            language,
            [WIDTH, height],
            LEFT - 52.0,
            self.title,
            self.lines,
        );
        let right = if self.bars.is_empty() {
            RIGHT
        } else {
            PLOT_RIGHT
        };
        let highest = |it: &MemoryTimeline| it.peak().map_or(0, super::Sample::total);
        let bars = self.bars.iter();
        let bars = bars.map(|it| it.bytes.max(it.predicted_bytes.unwrap_or(0)));
        let predicted = self.predicted.map(highest);
        let most = bars.chain(predicted).fold(highest(self.timeline), u64::max);
        let plot = Plot::new([LEFT, TOP, right, BOTTOM], self.timeline.end_ms, most);
        plot.axis(&mut svg, RIGHT);
        plot.stack(&mut svg, self.timeline);
        plot.phases(&mut svg, self.timeline);
        if let Some(predicted) = self.predicted {
            plot.outline(&mut svg, predicted);
        }
        plot.time_axis(&mut svg, self.time_axis);
        self.peak(&mut svg, &plot);
        self.bars(&mut svg, &plot);
        self.held(&mut svg);
        self.hints(&mut svg, &plot);
        svg.finish()
    }

    fn peak(&self, svg: &mut Svg, plot: &Plot) {
        let Some(peak) = self.timeline.peak() else {
            return;
        };
        let (x, y) = (plot.x(peak.at_ms), plot.y(peak.total()));
        svg.line([x, y, x, TOP - 8.0], Color::INK, "");
        svg.disc((x, y), 4.0, Color::INK, "");
        let said = format!("peak {}, during {}", Bytes(peak.total()), self.peak_at);
        // The label is as close to the peak as the plot allows, and clear of the axis's name.
        let half = Font::BOLD.width(&said) / 2.0;
        let least = plot.left + 60.0 + half;
        let middle = x.min(plot.right - half).max(least);
        svg.text(middle, TOP - 14.0, Font::BOLD.at(Anchor::Middle), &said);
    }

    /// Draws the peaks of the policies, on the scale of the timeline.
    fn bars(&self, svg: &mut Svg, plot: &Plot) {
        let Some(largest) = self.bars.iter().map(|it| it.bytes).max() else {
            return;
        };
        svg.text(
            BARS,
            TOP - 14.0,
            Font::BOLD,
            "peak of this step under each policy",
        );
        let slot = (RIGHT - BARS) / self.bars.len() as f64;
        for (index, bar) in self.bars.iter().enumerate() {
            let (left, y) = (BARS + slot * index as f64, plot.y(bar.bytes));
            let middle = left + slot / 2.0;
            let (from, to) = (left + 0.14 * slot, left + 0.86 * slot);
            let color = if bar.is_drawn {
                Color::INK
            } else {
                Color::MUTED
            };
            svg.rect([from, y, to, BOTTOM], color, "");
            let mut above = y;
            if let Some(bytes) = bar.predicted_bytes {
                let y = plot.y(bytes);
                outlined(svg, &format!("M{:.1} {y:.1}H{:.1}", from - 4.0, to + 4.0));
                above = above.min(y);
            }
            let font = Font {
                size: 11.0,
                color: Color::INK,
                ..Font::PLAIN
            };
            let font = font.at(Anchor::Middle);
            let share = percent(bar.bytes as f64 / largest.max(1) as f64);
            svg.text_over(middle, above - 19.0, font, &Bytes(bar.bytes).to_string());
            svg.text_over(middle, above - 6.0, font, &share);
            // Each word of the name gets a line under the bar.
            for (line, word) in bar.name.replace("+ ", "+").split(' ').enumerate() {
                svg.text(middle, BOTTOM + 18.0 + 14.0 * line as f64, font, word);
            }
        }
    }

    /// Draws what is held at the peak: the legend of the areas, and the largest tensors.
    fn held(&self, svg: &mut Svg) {
        let Some(peak) = self.timeline.peak() else {
            return;
        };
        let categories = self.timeline.categories();
        let is_list = !self.holders.is_empty();
        let left = LEFT - 52.0;
        svg.text(left, HELD, Font::BOLD, "held at the peak");
        let column = (RIGHT - left) / categories.len().max(1) as f64;
        for (index, category) in categories.into_iter().enumerate() {
            let (x, y) = if is_list {
                (left, HELD + 24.0 + LINE * index as f64)
            } else {
                (left + column * index as f64, HELD + 24.0)
            };
            svg.key(x, y, color(category));
            let bytes = peak.bytes[category.index()];
            let share = percent(bytes as f64 / peak.total().max(1) as f64);
            let said = format!("{} {} ({share})", category.name(), Bytes(bytes));
            svg.text(x + 19.0, y, Font::PLAIN, &said);
        }
        if is_list {
            svg.text(
                left + 300.0,
                HELD,
                Font::BOLD,
                "tensors that hold the most then, by what made them",
            );
        }
        for (index, (category, said)) in self.holders.iter().take(MAX_HOLDERS).enumerate() {
            let (x, y) = (left + 300.0, HELD + 24.0 + LINE * index as f64);
            svg.key(x, y, color(*category));
            svg.text(x + 19.0, y, Font::PLAIN, said);
        }
        if self.predicted.is_some() || self.bars.iter().any(|it| it.predicted_bytes.is_some()) {
            let (x, y) = (BARS, HELD);
            svg.rect([x, y - 11.0, x + 26.0, y + 1.0], Color::MUTED, "");
            svg.text(x + 34.0, y, Font::PLAIN, "measured");
            let x = x + 120.0;
            outlined(svg, &format!("M{x:.1} {:.1}h26", y - 4.0));
            svg.text(x + 34.0, y, Font::PLAIN, "predicted, before the step ran");
        }
    }

    fn hints(&self, svg: &mut Svg, plot: &Plot) {
        let ends = self.hints.iter().skip(1).map(|(at, _)| *at);
        let ends = ends.chain([self.timeline.end_ms]);
        for ((from, said), to) in self.hints.iter().zip(ends) {
            svg.hint([plot.x(*from), TOP, plot.x(to), BOTTOM], said);
        }
    }
}
