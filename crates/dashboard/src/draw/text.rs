//! Text in columns. A Japanese character is two columns wide, so nothing here counts characters.

use std::borrow::Cow;

use ratatui::text::Line;
use unicode_truncate::{Alignment, UnicodeTruncateStr as _};

/// Columns that `text` takes.
pub(super) fn width(text: &str) -> usize {
    Line::raw(text).width()
}

/// `text`, or as much of it as fits before an ellipsis.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return text.into();
    }
    let Some(left) = columns.checked_sub(1) else {
        return "".into();
    };
    let (kept, _) = text.unicode_truncate(left);
    format!("{kept}…").into()
}

/// `text` in exactly this many columns.
pub(super) fn pad(text: &str, columns: usize) -> Cow<'_, str> {
    text.unicode_pad(columns, Alignment::Left, true)
}

/// `left` and `right` at the ends of a line; `left` is cut if both do not fit.
pub(super) fn ends(left: &str, right: &str, columns: usize) -> String {
    let right = cut(right, columns);
    let room = columns.saturating_sub(width(&right) + 1);
    if room == 0 {
        return right.into_owned();
    }
    let left = cut(left, room);
    format!("{} {right}", pad(&left, room))
}

/// The parts that fit, in order of importance, with two spaces between them.
pub(super) fn listed(parts: &[String], columns: usize) -> String {
    let mut line = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let gap = if line.is_empty() { "" } else { "  " };
        if width(&line) + gap.len() + width(part) <= columns {
            line.push_str(gap);
            line.push_str(part);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns() {
        assert_eq!(cut("漫画.png", 8), "漫画.png");
        assert_eq!(cut("漫画.png", 7), "漫画.p…");
        assert_eq!(cut("漫画.png", 4), "漫…");
        assert_eq!(cut("漫画.png", 0), "");
        assert_eq!(pad("漫画", 5), "漫画 ");
        // Half a character is a space.
        assert_eq!(width(&pad("漫画", 3)), 3);
    }

    #[test]
    fn a_line_has_two_ends() {
        assert_eq!(ends("run", "epoch 1", 12), "run  epoch 1");
        assert_eq!(ends("漫画の学習", "epoch 1", 14), "漫画…  epoch 1");
        assert_eq!(ends("漫画の学習", "エポック 1", 10), "エポック 1");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let parts = ["12 images/s", "", "ETA 1h02m", "71 °C"].map(str::to_owned);
        assert_eq!(listed(&parts, 80), "12 images/s  ETA 1h02m  71 °C");
        assert_eq!(listed(&parts, 18), "12 images/s  71 °C");
    }
}
