//! Draws the [`State`]: where everything is. It reads nothing but its arguments.

mod curves;
mod events;
mod facts;
mod overlay;
mod picture;
#[cfg(test)]
mod tests;
mod text;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Block;

use crate::colors::Role;
use crate::state::State;
use crate::view::{Panel, View};
use crate::words::Words;

/// The smallest window with curves: columns and rows.
pub(crate) const SMALLEST: (u16, u16) = (60, 16);
/// From this size on, the scores have a place of their own.
const ROOMY: (u16, u16) = (110, 34);

/// What every part needs.
#[derive(Clone, Copy)]
struct Scene<'a> {
    state: &'a State,
    view: &'a View,
    words: &'static Words,
}

/// Draws the whole window.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State, view: &View) {
    let scene = Scene {
        state,
        view,
        words: Words::of(view.language),
    };
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return facts::draw_alone(frame, area, scene);
    }
    let fits = |smallest: (u16, u16)| area.width >= smallest.0 && area.height >= smallest.1;
    let [facts, upper, lower, footer] = Layout::vertical([
        Constraint::Length(facts::rows(area.width)),
        Constraint::Fill(3),
        Constraint::Fill(if fits(ROOMY) { 3 } else { 2 }),
        Constraint::Length(1),
    ])
    .areas(area);
    facts::draw(frame, facts, scene);
    let [left, right] = halves(upper);
    curves::losses(frame, left, scene);
    if fits(ROOMY) {
        panel(frame, right, scene, Panel::Scores);
        let [left, right] = halves(lower);
        events::draw(frame, left, scene);
        panel(frame, right, scene, view.panel(true));
    } else {
        panel(frame, right, scene, view.panel(false));
        events::draw(frame, lower, scene);
    }
    overlay::draw(frame, area, footer, scene);
}

fn panel(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>, panel: Panel) {
    match panel {
        Panel::Scores => curves::scores(frame, area, scene),
        Panel::Prediction => picture::draw(frame, area, scene),
        Panel::Speed => curves::speed(frame, area, scene),
        Panel::LossInEpoch => curves::loss_in_epoch(frame, area, scene),
    }
}

fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Fill(1); 2]).areas(area)
}

impl Scene<'_> {
    /// A frame with a title.
    fn block(self, title: &str) -> Block<'_> {
        let colors = self.view.colors;
        Block::bordered()
            .border_style(colors.style(Role::Frame))
            .title(Line::styled(
                format!(" {title} "),
                colors.style(Role::Title),
            ))
    }
}
