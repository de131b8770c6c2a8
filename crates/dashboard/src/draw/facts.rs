//! The facts in words and bars: what runs, how far it is, how fast, and the memory.

use config::Bytes;
use figures::numbers::{duration, percent, short};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, text};
use crate::colors::Role;

/// Below this width, the memory takes a line for its bar and one for its numbers.
const WIDE: u16 = 80;
/// A bar needs this many columns to say anything.
const SHORTEST_BAR: usize = 8;

/// Lines that [`draw`] takes.
pub(super) fn rows(width: u16) -> u16 {
    if width < WIDE { 6 } else { 5 }
}

/// Draws the facts above the curves.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let columns = usize::from(area.width);
    let colors = scene.view.colors;
    let title = text::ends(&scene.state.title, &scene.position(), columns);
    let device = text::ends(&scene.state.recipe, &scene.state.device, columns);
    let images = scene.images();
    let room = columns.saturating_sub(text::width(&images) + 3);
    let bar = bar(room, scene.share_of_epoch(), None);
    let lines = [
        Line::styled(title, colors.style(Role::Title)),
        Line::raw(device),
        Line::from_iter([
            Span::raw("["),
            Span::styled(bar, colors.style(Role::Bar)),
            Span::raw(format!("] {images}")),
        ]),
        Line::raw(text::listed(&scene.pace(), columns)),
    ];
    let memory = scene.memory(columns);
    for (line, row) in lines.into_iter().chain(memory).zip(area.rows()) {
        frame.render_widget(line, row);
    }
}

/// Draws what fits in a window that is too small for curves.
pub(super) fn draw_alone(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let Scene { state, words, .. } = scene;
    let alert = scene.view.colors.style(Role::Alert);
    let first = match scene.view.asked {
        Some(command) => vec![words.question(command), words.yes_or_no],
        None => vec![words.too_small],
    };
    let mut lines = vec![scene.position(), scene.images()];
    if let Some(epoch) = state.epochs.last() {
        lines.push(format!(
            "{} {:.4}  {} {:.4}",
            words.train_loss, epoch.train_loss, words.val_loss, epoch.val_loss
        ));
        lines.push(format!("IoU {:.4}  Dice {:.4}", epoch.iou, epoch.dice));
    }
    let numbers = scene.memory_numbers().join("  ");
    lines.push(format!("{} {numbers}", words.memory));
    lines.extend(scene.pace());
    let cut = |line: &str| text::cut(line, usize::from(area.width)).into_owned();
    let first = first.into_iter().map(|line| Line::styled(cut(line), alert));
    let lines = lines.iter().filter(|line| !line.is_empty());
    let lines = first.chain(lines.map(|line| Line::raw(cut(line))));
    for (line, row) in lines.zip(area.rows()) {
        frame.render_widget(line, row);
    }
}

impl Scene<'_> {
    /// `epoch 3/50  training`, and how the run will end if it was told to.
    fn position(self) -> String {
        let Scene { state, words, .. } = self;
        let phase = words.phase(state.phase);
        let given = self.view.given.map_or("", |command| words.given(command));
        let gap = if given.is_empty() { "" } else { "  " };
        format!(
            "{} {}/{}  {phase}{gap}{given}",
            words.epoch, state.epoch, state.num_epochs
        )
    }

    fn images(self) -> String {
        let Scene { state, view, .. } = self;
        let images = format!("{}/{} images", state.images, state.num_images);
        view.language.say(&images).into_owned()
    }

    fn share_of_epoch(self) -> f64 {
        self.state.images as f64 / self.state.num_images.max(1) as f64
    }

    fn pace(self) -> [String; 6] {
        let Scene { state, words, view } = self;
        let (loss, eta) = (state.losses.last(), state.eta());
        let time = |it| view.language.say(&duration(it)).into_owned();
        [
            state
                .speed()
                .map(|speed| format!("{} {}", short(speed), words.images_per_second)),
            eta.map(|eta| format!("{} {}", words.eta, time(eta))),
            state
                .data_wait
                .map(|share| format!("{} {}", words.waits, percent(share))),
            state.temperature.map(|degrees| format!("{degrees} °C")),
            Some(format!("{} {}", words.elapsed, time(state.elapsed))),
            loss.map(|(_, loss)| format!("{} {loss:.4}", words.loss)),
        ]
        .map(Option::unwrap_or_default)
    }

    fn memory_numbers(self) -> [String; 3] {
        let Scene { state, words, .. } = self;
        let numbers = [
            (words.peak, state.memory.peak),
            (words.predicted_peak, state.memory.predicted),
            (words.limit, state.memory.limit),
        ];
        numbers.map(|(word, bytes)| {
            let bytes = bytes.map_or_else(|| words.unknown.to_owned(), |it| it.to_string());
            format!("{word} {bytes}")
        })
    }

    /// One line, or two where there is little room.
    fn memory(self, columns: usize) -> Vec<Line<'static>> {
        let memory = self.state.memory;
        let numbers = self.memory_numbers().join("  ");
        let name = self.words.memory;
        let is_wide = columns >= usize::from(WIDE);
        let beside = usize::from(is_wide) * (text::width(&numbers) + 1);
        let room = columns.saturating_sub(text::width(name) + 3 + beside);
        let whole = memory.limit.max(memory.peak).max(memory.predicted);
        let share = |bytes: Bytes| bytes.0 as f64 / whole.map_or(1, |it| it.0.max(1)) as f64;
        let mark = memory.predicted.map(share);
        let bar = bar(room, memory.peak.map_or(0.0, share), mark);
        let mut line = Line::from(format!("{name} "));
        if room >= SHORTEST_BAR {
            line.push_span("[");
            line.push_span(Span::styled(bar, self.view.colors.style(Role::Bar)));
            line.push_span("]");
        }
        if is_wide {
            line.push_span(format!(" {numbers}"));
            vec![line]
        } else {
            vec![line, Line::from(numbers)]
        }
    }
}

/// A bar of `columns`, filled up to `share`, with a mark at `mark`.
fn bar(columns: usize, share: f64, mark: Option<f64>) -> String {
    let at = |share: f64| column(share, columns);
    let filled = at(share);
    let mark = mark.map(|mark| at(mark).saturating_sub(1));
    let cell = |column: usize| match mark {
        Some(mark) if mark == column => '┃',
        _ if column < filled => '█',
        Some(mark) if column < mark => '░',
        _ => '·',
    };
    (0..columns).map(cell).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between 0 and 1 of the columns of a window"
)]
fn column(share: f64, columns: usize) -> usize {
    (share.clamp(0.0, 1.0) * columns as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_filled_and_marked() {
        assert_eq!(bar(4, 0.5, None), "██··");
        assert_eq!(bar(4, f64::NAN, None), "····");
        assert_eq!(bar(10, 0.3, Some(0.8)), "███░░░░┃··");
        // More than predicted.
        assert_eq!(bar(10, 0.9, Some(0.8)), "███████┃█·");
        assert_eq!(bar(10, 1.5, Some(1.0)), "█████████┃");
        assert_eq!(bar(0, 0.5, Some(0.5)), "");
        assert_eq!(bar(3, 0.0, Some(0.0)), "┃··");
    }
}
