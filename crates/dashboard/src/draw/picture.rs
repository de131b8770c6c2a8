//! The last prediction, with two pixels in each cell: the upper one colours a half block, the lower one
//! what is behind it.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Paragraph, Wrap};

use super::{Scene, text};
use crate::colors::Colors;
use crate::state::Picture;
use crate::view::Panel;

/// Draws image, mask and answer side by side, or says why it does not.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let Scene { state, words, view } = scene;
    let mut block = scene.block(words.panel(Panel::Prediction));
    let reason = match &state.prediction {
        None => words.no_prediction,
        Some(_) if view.colors.pixel([0; 3]).is_none() => words.no_colors,
        Some(prediction) => {
            let columns = usize::from(area.width.saturating_sub(4));
            block = block.title_bottom(format!(" {} ", text::cut(&prediction.name, columns)));
            let inside = block.inner(area);
            frame.render_widget(block, area);
            let parts = [
                (words.image, &prediction.image),
                (words.mask, &prediction.mask),
                (words.answer, &prediction.answer),
            ];
            let places = Layout::horizontal([Constraint::Fill(1); 3])
                .spacing(1)
                .areas::<3>(inside);
            for ((name, picture), place) in parts.into_iter().zip(places) {
                let [caption, place] =
                    Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(place);
                frame.render_widget(text::cut(name, caption.width.into()).as_ref(), caption);
                paint(frame.buffer_mut(), place, picture, view.colors);
            }
            return;
        }
    };
    let text = Paragraph::new(reason).wrap(Wrap { trim: true });
    frame.render_widget(text.block(block), area);
}

/// Paints `picture` as large as `area` allows, at its top left, in its own proportions.
fn paint(buffer: &mut Buffer, area: Rect, picture: &Picture, colors: Colors) {
    let (width, height) = fitted(
        (picture.width(), picture.height()),
        (area.width.into(), 2 * usize::from(area.height)),
    );
    for (row, y) in area.rows().zip((0..height).step_by(2)) {
        for (cell, x) in row.columns().zip(0..width) {
            let pixel = |y: usize| {
                let is_inside = y < height;
                is_inside.then(|| colors.pixel(picture.scaled((x, y), (width, height))))
            };
            let mut style = Style::new();
            style.fg = pixel(y).flatten();
            style.bg = pixel(y + 1).flatten();
            if let Some(cell) = buffer.cell_mut(cell.as_position()) {
                cell.set_char('▀').set_style(style);
            }
        }
    }
}

/// The largest size in the proportions of `size` within `room`, at least one pixel if there is room at all.
fn fitted(size: (usize, usize), room: (usize, usize)) -> (usize, usize) {
    if size.0 * room.1 <= size.1 * room.0 {
        let width = (size.0 * room.1 / size.1).max(1);
        (width.min(room.0), room.1)
    } else {
        let height = (size.1 * room.0 / size.0).max(1);
        (room.0, height.min(room.1))
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Color;

    use super::*;

    #[test]
    fn proportions_are_kept() {
        assert_eq!(fitted((512, 512), (20, 30)), (20, 20));
        assert_eq!(fitted((384, 512), (20, 30)), (20, 26));
        assert_eq!(fitted((512, 384), (20, 10)), (13, 10));
        assert_eq!(fitted((1, 1000), (5, 10)), (1, 10));
        // No columns, whatever the height.
        assert_eq!(fitted((10, 10), (0, 10)).0, 0);
    }

    #[test]
    fn a_cell_has_two_pixels() {
        let colours = [[1, 0, 0], [2, 0, 0], [3, 0, 0]];
        let picture = Picture::new(1, colours.to_vec()).unwrap();
        let area = Rect::new(0, 0, 4, 2);
        let mut buffer = Buffer::empty(area);
        paint(&mut buffer, Rect::new(0, 0, 1, 2), &picture, Colors::True);
        let red = |value| Color::Rgb(value, 0, 0);
        let [upper, lower, beside] = [(0, 0), (0, 1), (1, 0)].map(|at| &buffer[at]);
        assert_eq!((upper.symbol(), upper.fg, upper.bg), ("▀", red(1), red(2)));
        // The picture ends within a cell.
        assert_eq!(
            (lower.symbol(), lower.fg, lower.bg),
            ("▀", red(3), Color::Reset)
        );
        assert_eq!(beside.symbol(), " ");
    }
}
