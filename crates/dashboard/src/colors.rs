//! Which colours the terminal can show, and what they are used for. No colour carries a meaning alone: each
//! goes with a word, a letter or another kind of line.

use ratatui::style::{Color, Modifier, Style};

/// What a terminal can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Colors {
    /// No colours.
    #[default]
    Off,
    /// The sixteen named colours: words and curves, but no pictures.
    Named,
    /// 256 colours.
    Indexed,
    /// 24 bits.
    True,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Title,
    Frame,
    Training,
    Validation,
    Bar,
    Alert,
}

impl Colors {
    /// What the environment says: `NO_COLOR`, `COLORTERM` and `TERM`.
    pub fn of(no_color: Option<&str>, colorterm: Option<&str>, term: Option<&str>) -> Self {
        let term = term.unwrap_or_default();
        match (no_color, colorterm) {
            (Some(value), _) if !value.is_empty() => Self::Off,
            (_, Some("truecolor" | "24bit")) => Self::True,
            _ if term.contains("256color") || term.contains("direct") => Self::Indexed,
            _ => Self::Named,
        }
    }

    /// The same, as the environment of this process says.
    pub fn from_env() -> Self {
        let [no_color, colorterm, term] =
            ["NO_COLOR", "COLORTERM", "TERM"].map(|name| std::env::var(name).ok());
        Self::of(no_color.as_deref(), colorterm.as_deref(), term.as_deref())
    }

    pub(crate) fn style(self, role: Role) -> Style {
        let style = match role {
            Role::Title | Role::Alert => Style::new().add_modifier(Modifier::BOLD),
            _ => Style::new(),
        };
        let color = match role {
            _ if self == Self::Off => return style,
            Role::Title => return style,
            Role::Frame => Color::DarkGray,
            Role::Training => Color::Cyan,
            Role::Validation | Role::Alert => Color::Yellow,
            Role::Bar => Color::Green,
        };
        style.fg(color)
    }

    /// The nearest colour that the terminal has for a pixel, if it has enough of them.
    pub(crate) fn pixel(self, rgb: [u8; 3]) -> Option<Color> {
        // The cube of xterm's 256 colours has the levels 0, 95, 135, 175, 215 and 255.
        let level = |value: u8| match value {
            0..48 => 0,
            48..115 => 1,
            _ => (value - 35) / 40,
        };
        match self {
            Self::Off | Self::Named => None,
            Self::Indexed => {
                let [r, g, b] = rgb.map(level);
                Some(Color::Indexed(16 + 36 * r + 6 * g + b))
            }
            Self::True => Some(Color::Rgb(rgb[0], rgb[1], rgb[2])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides() {
        let xterm = Some("xterm-256color");
        assert_eq!(Colors::of(None, None, Some("linux")), Colors::Named);
        assert_eq!(Colors::of(None, None, xterm), Colors::Indexed);
        assert_eq!(Colors::of(None, Some("truecolor"), xterm), Colors::True);
        assert_eq!(Colors::of(Some("1"), Some("truecolor"), xterm), Colors::Off);
        assert_eq!(Colors::of(Some(""), None, xterm), Colors::Indexed);
    }

    #[test]
    fn pixels_take_the_nearest_colour() {
        assert_eq!(Colors::Named.pixel([1, 2, 3]), None);
        assert_eq!(Colors::True.pixel([1, 2, 3]), Some(Color::Rgb(1, 2, 3)));
        for (rgb, index) in [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([95, 135, 175], 67),
            ([255, 0, 0], 196),
            ([114, 116, 40], 64),
        ] {
            assert_eq!(Colors::Indexed.pixel(rgb), Some(Color::Indexed(index)));
        }
    }

    #[test]
    fn without_colours_no_style_has_one() {
        for role in [
            Role::Title,
            Role::Frame,
            Role::Training,
            Role::Bar,
            Role::Alert,
        ] {
            assert_eq!(Colors::Off.style(role).fg, None);
        }
    }
}
