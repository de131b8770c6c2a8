//! The list of events, the newest at the bottom.

use figures::numbers::duration;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Scene, text};
use crate::colors::Role;
use crate::state::{Event, EventKind};

/// Columns of a time such as `1000h02m`.
const TIME: usize = 8;

/// Draws the events that fit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>) {
    let Scene { state, words, view } = scene;
    let events = &state.events;
    let below = view.scroll.min(events.len().saturating_sub(1));
    let mut block = scene.block(words.events);
    if below > 0 {
        block = block.title_bottom(format!(" ↓ {below} "));
    }
    let inside = block.inner(area);
    frame.render_widget(block, area);
    if events.is_empty() {
        frame.render_widget(
            text::cut(words.no_events, inside.width.into()).as_ref(),
            inside,
        );
    }
    let last = events.len() - below;
    let first = last.saturating_sub(inside.height.into());
    for (event, row) in events[first..last].iter().zip(inside.rows()) {
        frame.render_widget(line(event, scene, inside.width.into()), row);
    }
}

fn line(event: &Event, scene: Scene<'_>, columns: usize) -> Line<'static> {
    let words = scene.words;
    let kind_width = words.kinds().map(text::width).max().unwrap_or_default();
    let kind = text::pad(words.kind(event.kind), kind_width);
    let at = format!("{:>TIME$}", duration(event.at));
    let line = format!("{at} {kind} {}", event.text);
    let line = text::cut(&line, columns).into_owned();
    match event.kind {
        EventKind::Note => Line::raw(line),
        EventKind::Warning => Line::styled(line, scene.view.colors.style(Role::Alert)),
    }
}
