//! The line of keys at the bottom, the help, and questions, which lie over everything.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Clear, Padding, Paragraph, Wrap};

use super::{Scene, text};
use crate::colors::Role;
use crate::view::Command;

/// Columns of the longest key in the help.
const KEY: usize = 10;

/// Draws the keys in `footer`, and what is open over `area`.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, footer: Rect, scene: Scene<'_>) {
    let Scene { words, view, .. } = scene;
    let mut keys = vec![format!("? {}", words.help)];
    keys.extend(Command::KEYS.map(|(key, command)| format!("{key} {}", words.key(command))));
    keys.push(format!("Tab {}", words.key_panel));
    frame.render_widget(text::listed(&keys, footer.width.into()), footer);
    if let Some(command) = view.asked {
        let question = format!("{}\n\n{}", words.question(command), words.yes_or_no);
        over(frame, area, scene, words.key(command), &question);
    } else if view.is_help_open {
        over(frame, area, scene, words.help, &help(scene));
    }
}

fn help(scene: Scene<'_>) -> String {
    let words = scene.words;
    let commands = Command::KEYS.map(|(key, command)| (key.to_string(), words.key(command)));
    let others = [
        ("Tab", words.key_panel),
        ("↑ ↓ PgUp", words.key_scroll),
        ("Ctrl-L", words.key_redraw),
        ("? h", words.key_help),
    ];
    let others = others.map(|(key, what)| (key.to_owned(), what));
    let lines = commands.into_iter().chain(others);
    let lines = lines.map(|(key, what)| format!("{}{what}", text::pad(&key, KEY)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Shows `said` in a box in the middle of `area`.
fn over(frame: &mut Frame<'_>, area: Rect, scene: Scene<'_>, title: &str, said: &str) {
    const WIDTH: u16 = 56;
    let columns = usize::from(WIDTH - 4);
    // A line breaks earlier than its width says, where a word or a wide character does not fit.
    let rows = said
        .lines()
        .map(|line| (text::width(line) + 4).div_ceil(columns).max(1));
    let rows = u16::try_from(rows.sum::<usize>()).unwrap_or(u16::MAX);
    let place = area.centered(
        Constraint::Length(WIDTH),
        Constraint::Length(rows.saturating_add(2)),
    );
    let block = scene
        .block(title)
        .border_style(scene.view.colors.style(Role::Alert))
        .padding(Padding::horizontal(1));
    let text = Paragraph::new(said).wrap(Wrap { trim: false });
    frame.render_widget(Clear, place);
    frame.render_widget(text.block(block), place);
}
