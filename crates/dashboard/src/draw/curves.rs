//! The curves. Two in one chart differ in their marks as well as in their colours.

use figures::numbers::short;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Paragraph, Wrap};

use super::{Scene, text};
use crate::colors::Role;
use crate::state::Epoch;
use crate::view::Panel;

/// A line of a chart.
struct Curve {
    name: &'static str,
    role: Role,
    points: Vec<(f64, f64)>,
    /// How its values are written.
    number: fn(f64) -> String,
}

impl Curve {
    fn of(scene: Scene<'_>, name: &'static str, role: Role, value: fn(&Epoch) -> f64) -> Self {
        let points = scene.state.epochs.iter();
        Self {
            name,
            role,
            points: points.map(|it| (f64::from(it.epoch), value(it))).collect(),
            number: fine,
        }
    }

    /// A thin line for training, dots for validation.
    fn marker(&self) -> (Marker, &'static str) {
        match self.role {
            Role::Validation => (Marker::Dot, "•"),
            _ => (Marker::Braille, "─"),
        }
    }

    /// The runs of values that can be drawn, with about `most` points in all.
    fn pieces(&self, most: usize) -> Vec<Vec<(f64, f64)>> {
        let step = self.points.len().div_ceil(most.max(1)).max(1);
        let last = self.points.len().saturating_sub(1);
        let points = self.points.iter().enumerate();
        let thinned: Vec<_> = points
            .filter(|(at, (_, y))| at % step == 0 || *at == last || !is_drawable(*y))
            .map(|(_, point)| *point)
            .collect();
        let pieces = thinned.split(|(_, y)| !is_drawable(*y));
        let pieces = pieces.filter(|piece| !piece.is_empty());
        pieces.map(<[_]>::to_vec).collect()
    }
}

/// Training and validation loss of each epoch.
pub(super) fn losses(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let words = scene.words;
    let curves = [
        Curve::of(scene, words.train_loss, Role::Training, |it| it.train_loss),
        Curve::of(scene, words.val_loss, Role::Validation, |it| it.val_loss),
    ];
    chart(frame, area, scene, words.loss, words.no_epoch, &curves);
}

/// Scores of each epoch.
pub(super) fn scores(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let words = scene.words;
    let curves = [
        Curve::of(scene, "IoU", Role::Training, |it| it.iou),
        Curve::of(scene, "Dice", Role::Validation, |it| it.dice),
    ];
    let title = words.panel(Panel::Scores);
    chart(frame, area, scene, title, words.no_epoch, &curves);
}

/// Images per second over the time of the run.
pub(super) fn speed(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let words = scene.words;
    let curve = Curve {
        name: words.images_per_second,
        role: Role::Training,
        points: scene.state.speeds.clone(),
        number: short,
    };
    let title = words.panel(Panel::Speed);
    chart(frame, area, scene, title, words.no_data, &[curve]);
}

/// The loss inside the epoch.
pub(super) fn loss_in_epoch(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let words = scene.words;
    let curve = Curve {
        name: words.train_loss,
        role: Role::Training,
        points: scene.state.losses.clone(),
        number: fine,
    };
    let title = words.panel(Panel::LossInEpoch);
    chart(frame, area, scene, title, words.no_data, &[curve]);
}

fn chart(
    frame: &mut Frame<'_>,
    area: Rect,
    scene: Scene<'_>,
    title: &str,
    nothing: &'static str,
    curves: &[Curve],
) {
    let colors = scene.view.colors;
    let legend = legend(curves, usize::from(area.width.saturating_sub(2)), scene);
    let block = scene.block(title).title_bottom(legend);
    // Braille has two dots a column.
    let most = 2 * usize::from(area.width);
    let mut pieces = Vec::new();
    for curve in curves {
        pieces.extend(curve.pieces(most).into_iter().map(|piece| (curve, piece)));
    }
    let points = || pieces.iter().flat_map(|(_, piece)| piece.iter().copied());
    let x = bounds(points().map(|(x, _)| x), |_| 1.0);
    let y = bounds(points().map(|(_, y)| y), tenth);
    let (Some(x), Some(y)) = (x, y) else {
        let text = Paragraph::new(nothing).wrap(Wrap { trim: true });
        return frame.render_widget(text.block(block), area);
    };
    let datasets = pieces.iter().map(|(curve, piece)| {
        Dataset::default()
            .marker(curve.marker().0)
            .graph_type(GraphType::Line)
            .style(colors.style(curve.role))
            .data(piece)
    });
    let number = pieces[0].0.number;
    let axis = |bounds: [f64; 2], number: fn(f64) -> String| {
        let labels = bounds.map(number);
        Axis::default().bounds(bounds).labels(labels)
    };
    let chart = Chart::new(datasets.collect())
        .block(block)
        .legend_position(None)
        .x_axis(axis(x, |value| format!("{value:.0}")))
        .y_axis(axis(y, number));
    frame.render_widget(chart, area);
}

/// The marks, names and last values of the curves, as far as there is room.
fn legend(curves: &[Curve], columns: usize, scene: Scene<'_>) -> Line<'static> {
    let mut legend = Line::default();
    for curve in curves {
        let last = curve.points.last().map(|&(_, y)| (curve.number)(y));
        let entry = format!(" {} {}", curve.marker().1, curve.name);
        let entry = last.map_or_else(|| entry.clone(), |last| format!("{entry} {last}"));
        let room = columns.saturating_sub(legend.width());
        let entry = text::cut(&entry, room).into_owned();
        legend.push_span(Span::styled(entry, scene.view.colors.style(curve.role)));
    }
    if legend.width() < columns {
        legend.push_span(" ");
    }
    legend
}

/// The least and the greatest value, `apart` from each other if they are equal; `None` without values.
fn bounds(values: impl Iterator<Item = f64>, apart: fn(f64) -> f64) -> Option<[f64; 2]> {
    let [low, high] = values.fold(None, |bounds: Option<[f64; 2]>, value| {
        let [low, high] = bounds.unwrap_or([value; 2]);
        Some([low.min(value), high.max(value)])
    })?;
    // All points must lie within: `ratatui` can search without end for where a line leaves the chart.
    let is_flat = high - low <= 1e-9 * high.abs();
    Some([low, if is_flat { high + apart(high) } else { high }])
}

/// Whether a value has a place in a chart. Beyond this, the arithmetic of charts overflows, and a loss says
/// nothing.
fn is_drawable(value: f64) -> bool {
    const MOST: f64 = 1e30;
    value.abs() <= MOST
}

/// A tenth of a value, and never nothing.
fn tenth(value: f64) -> f64 {
    (0.1 * value.abs()).max(1e-3)
}

/// A loss or a score.
fn fine(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.4}")
    } else {
        short(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_breaks_where_a_value_has_no_place() {
        let values = [1.0, 2.0, f64::NAN, f64::MAX, 3.0, 4.0];
        let points = values.iter().zip([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let mut curve = Curve {
            name: "loss",
            role: Role::Training,
            points: points.map(|(&y, x)| (x, y)).collect(),
            number: short,
        };
        let pieces = curve.pieces(100);
        assert_eq!(pieces, [[(0.0, 1.0), (1.0, 2.0)], [(4.0, 3.0), (5.0, 4.0)]]);
        // A long curve keeps both ends.
        curve.points = (0..1000).map(|at| (f64::from(at), 1.0)).collect();
        let pieces = curve.pieces(70);
        assert!(pieces[0].len() <= 72);
        assert_eq!(pieces[0].first(), Some(&(0.0, 1.0)));
        assert_eq!(pieces[0].last(), Some(&(999.0, 1.0)));
    }

    #[test]
    fn bounds_are_never_equal() {
        assert_eq!(bounds(std::iter::empty(), tenth), None);
        let values = [2.0, 1.0, 3.0].into_iter();
        assert_eq!(bounds(values, tenth), Some([1.0, 3.0]));
        for value in [-5.0, 0.0, 5.0, 1e30] {
            let [low, high] = bounds([value; 2].into_iter(), tenth).unwrap();
            assert!(low <= value && value < high && (high - low).is_finite());
        }
    }
}
