//! How a person looks at the run: the panel, the scroll position, what is asked; and what each key does.
//! [`State`](crate::State) is the same for everybody, a [`View`] belongs to one terminal.

use locale::Language;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::colors::Colors;

/// What a person asks of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Finish the epoch and its validation, then end.
    StopAfterEpoch,
    /// Save a snapshot after the present step, then end.
    StopNow,
}

impl Command {
    /// All commands, with their keys.
    pub(crate) const KEYS: [(char, Self); 2] = [('s', Self::StopAfterEpoch), ('q', Self::StopNow)];
}

/// What the right panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panel {
    Scores,
    Prediction,
    Speed,
    LossInEpoch,
}

impl Panel {
    const ALL: [Self; 4] = [
        Self::Scores,
        Self::Prediction,
        Self::Speed,
        Self::LossInEpoch,
    ];
}

/// How the run is looked at.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(crate) language: Language,
    pub(crate) colors: Colors,
    /// How often the panel was changed.
    panel: usize,
    /// How many events are below the last one shown.
    pub(crate) scroll: usize,
    pub(crate) is_help_open: bool,
    pub(crate) asked: Option<Command>,
    pub(crate) given: Option<Command>,
}

/// What a key asks of the dashboard or the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pressed {
    /// A confirmed command.
    Command(Command),
    /// Draw everything again, because something else wrote to the screen.
    Redraw,
    /// Ctrl-C although the run was told to stop: what Ctrl-C does outside a dashboard.
    Interrupt,
}

impl View {
    /// A view in `language` on a terminal with `colors`.
    pub fn new(language: Language, colors: Colors) -> Self {
        Self {
            language,
            colors,
            ..Self::default()
        }
    }

    /// Changes the view by a key, of a state with `num_events`.
    pub(crate) fn press(&mut self, key: KeyEvent, num_events: usize) -> Option<Pressed> {
        const PAGE: usize = 10;
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.press_control(key.code);
        }
        let code = match key.code {
            KeyCode::Char(c) => KeyCode::Char(c.to_ascii_lowercase()),
            other => other,
        };
        if let Some(command) = self.asked {
            return self.reply(command, code);
        }
        let scrolled = |by: isize| self.scroll.saturating_add_signed(by);
        match code {
            KeyCode::Char('?' | 'h') => self.is_help_open = !self.is_help_open,
            KeyCode::Esc => self.is_help_open = false,
            KeyCode::Tab => self.panel = self.panel.wrapping_add(1),
            KeyCode::BackTab => self.panel = self.panel.wrapping_sub(1),
            KeyCode::Up => self.scroll = scrolled(1),
            KeyCode::Down => self.scroll = scrolled(-1),
            KeyCode::PageUp => self.scroll = scrolled(PAGE.cast_signed()),
            KeyCode::PageDown => self.scroll = scrolled(-PAGE.cast_signed()),
            KeyCode::Home => self.scroll = num_events,
            KeyCode::End => self.scroll = 0,
            KeyCode::Char(c) => self.ask(c),
            _ => {}
        }
        self.scroll = self.scroll.min(num_events.saturating_sub(1));
        None
    }

    /// The panel on the right, of those that are not shown elsewhere.
    pub(crate) fn panel(&self, are_scores_elsewhere: bool) -> Panel {
        let panels = &Panel::ALL[usize::from(are_scores_elsewhere)..];
        panels[self
            .panel
            .cast_signed()
            .rem_euclid(panels.len().cast_signed())
            .unsigned_abs()]
    }

    fn press_control(&mut self, code: KeyCode) -> Option<Pressed> {
        match code {
            KeyCode::Char('l') => Some(Pressed::Redraw),
            KeyCode::Char('c') if self.given == Some(Command::StopNow) => Some(Pressed::Interrupt),
            // Whoever presses it twice means it.
            KeyCode::Char('c') if self.asked == Some(Command::StopNow) => {
                self.reply(Command::StopNow, KeyCode::Char('y'))
            }
            KeyCode::Char('c') => {
                self.asked = Some(Command::StopNow);
                None
            }
            _ => None,
        }
    }

    fn ask(&mut self, key: char) {
        let command = Command::KEYS.into_iter().find(|&(it, _)| it == key);
        let is_ending = self.given == Some(Command::StopNow);
        self.asked = command.map(|(_, command)| command).filter(|_| !is_ending);
    }

    fn reply(&mut self, command: Command, code: KeyCode) -> Option<Pressed> {
        match code {
            KeyCode::Char('y') => {
                self.asked = None;
                self.given = Some(command);
                Some(Pressed::Command(command))
            }
            KeyCode::Char('n') | KeyCode::Esc => {
                self.asked = None;
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, code: KeyCode) -> Option<Pressed> {
        view.press(code.into(), 30)
    }

    fn control(view: &mut View, key: char) -> Option<Pressed> {
        let key = KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
        view.press(key, 30)
    }

    #[test]
    fn a_command_is_asked_for_once() {
        for (key, command) in Command::KEYS {
            let mut view = View::default();
            assert_eq!(press(&mut view, KeyCode::Char(key)), None);
            assert_eq!(view.asked, Some(command));
            assert_eq!(press(&mut view, KeyCode::Char('n')), None);
            assert_eq!((view.asked, view.given), (None, None));
            press(&mut view, KeyCode::Char(key.to_ascii_uppercase()));
            let pressed = press(&mut view, KeyCode::Char('Y'));
            assert_eq!(pressed, Some(Pressed::Command(command)));
            assert_eq!((view.asked, view.given), (None, Some(command)));
        }
    }

    #[test]
    fn ctrl_c_asks_then_stops_then_interrupts() {
        let mut view = View::default();
        assert_eq!(control(&mut view, 'c'), None);
        assert_eq!(view.asked, Some(Command::StopNow));
        let stop = Some(Pressed::Command(Command::StopNow));
        assert_eq!(control(&mut view, 'c'), stop);
        press(&mut view, KeyCode::Char('s'));
        assert_eq!(view.asked, None, "the run ends already");
        assert_eq!(control(&mut view, 'c'), Some(Pressed::Interrupt));
        assert_eq!(control(&mut view, 'l'), Some(Pressed::Redraw));
    }

    #[test]
    fn panels_and_events_are_browsed() {
        let mut view = View::default();
        assert_eq!(view.panel(false), Panel::Scores);
        assert_eq!(view.panel(true), Panel::Prediction);
        press(&mut view, KeyCode::BackTab);
        assert_eq!(view.panel(false), Panel::LossInEpoch);
        for _ in 0..3 {
            press(&mut view, KeyCode::Tab);
        }
        assert_eq!(view.panel(false), Panel::Speed);
        press(&mut view, KeyCode::PageUp);
        press(&mut view, KeyCode::Down);
        assert_eq!(view.scroll, 9);
        press(&mut view, KeyCode::Home);
        assert_eq!(view.scroll, 29);
        press(&mut view, KeyCode::End);
        press(&mut view, KeyCode::Down);
        assert_eq!(view.scroll, 0);
        press(&mut view, KeyCode::Char('?'));
        assert!(view.is_help_open);
        press(&mut view, KeyCode::Esc);
        assert!(!view.is_help_open);
    }
}
