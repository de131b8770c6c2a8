//! Draws the shapes and the text of our pictures as SVG.
//!
//! Colours are attributes, which every renderer knows; a style sheet only replaces them on a dark page. A
//! halo is a second text under the text, since few renderers know `paint-order`.

use std::fmt::Write as _;

use locale::Language;

/// A colour on a light page and on a dark one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    name: &'static str,
    light: &'static str,
    dark: &'static str,
}

impl Color {
    const fn new(name: &'static str, light: &'static str, dark: &'static str) -> Self {
        Self { name, light, dark }
    }

    /// The background.
    pub const PAGE: Self = Self::new("page", "#ffffff", "#0d1117");
    /// Text and outlines.
    pub const INK: Self = Self::new("ink", "#1f2328", "#e6edf3");
    /// Text that explains.
    pub const MUTED: Self = Self::new("muted", "#59636e", "#9198a1");
    /// Lines of the grid.
    pub const GRID: Self = Self::new("grid", "#d8dee4", "#30363d");
    /// Areas behind the data.
    pub const SHADE: Self = Self::new("shade", "#eef1f4", "#21262d");
    /// The first colour of a series.
    pub const BLUE: Self = Self::new("blue", "#4e79a7", "#6a9fd4");
    /// Another colour of a series.
    pub const LIGHT_BLUE: Self = Self::new("light-blue", "#a0cbe8", "#3f6f94");
    /// Another colour of a series.
    pub const GREEN: Self = Self::new("green", "#59a14f", "#6fbf63");
    /// Another colour of a series.
    pub const ORANGE: Self = Self::new("orange", "#f28e2b", "#f2a04e");
    /// Another colour of a series.
    pub const RED: Self = Self::new("red", "#e15759", "#f07173");
    /// Another colour of a series.
    pub const PURPLE: Self = Self::new("purple", "#b07aa1", "#c695b8");

    const ALL: [Self; 11] = [
        Self::PAGE,
        Self::INK,
        Self::MUTED,
        Self::GRID,
        Self::SHADE,
        Self::BLUE,
        Self::LIGHT_BLUE,
        Self::GREEN,
        Self::ORANGE,
        Self::RED,
        Self::PURPLE,
    ];
}

/// Which point of a text (`x`, `y`) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At its start.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Font {
    /// The height of a line, in units of the page.
    pub size: f64,
    /// Whether it is bold.
    pub is_bold: bool,
    /// Its colour.
    pub color: Color,
    /// Which point of it is placed.
    pub anchor: Anchor,
}

impl Font {
    /// Ordinary text.
    pub const PLAIN: Self = Self {
        size: 13.0,
        is_bold: false,
        color: Color::INK,
        anchor: Anchor::Start,
    };
    /// Labels of axes.
    pub const SMALL: Self = Self {
        size: 12.0,
        color: Color::MUTED,
        ..Self::PLAIN
    };
    /// Headings.
    pub const BOLD: Self = Self {
        is_bold: true,
        ..Self::PLAIN
    };

    /// The same font, placed by another point.
    #[must_use]
    pub const fn at(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    /// An upper bound of the width of a line, since fonts differ from reader to reader.
    pub fn width(self, line: &str) -> f64 {
        let em = |letter: char| match letter {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '|' | '\'' | '!' => 0.32,
            'f' | 'r' | 't' | ' ' | '(' | ')' | '[' | ']' | '-' | '/' => 0.42,
            'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.98,
            'A'..='Z' | '+' | '<' | '>' | '=' => 0.76,
            // Letters of East Asia are as wide as they are high.
            '\u{2e80}'.. => 1.0,
            _ => 0.64,
        };
        let bold = if self.is_bold { 1.09 } else { 1.0 };
        line.chars().map(em).sum::<f64>() * self.size * bold
    }
}

/// A picture that is being drawn.
#[derive(Debug)]
pub struct Svg {
    size: [f64; 2],
    title: String,
    description: String,
    body: String,
    language: Language,
}

/// Left, top, right, bottom.
pub type Area = [f64; 4];

impl Svg {
    /// Begins a page of this size with its heading: a line with the message, and lines with the details. Texts are
    /// given in English, and drawn in `language`.
    pub fn new(
        language: Language,
        size: [f64; 2],
        left: f64,
        title: &str,
        lines: &[String],
    ) -> Self {
        let title = &*language.say(title);
        let mut svg = Self {
            language,
            ..Self::inline(size, title, "")
        };
        svg.rect([0.0, 0.0, size[0], size[1]], Color::PAGE, "");
        let mut heading = Font {
            size: 20.0,
            ..Font::BOLD
        };
        // The heading is as large as fits on the page.
        heading.size *= ((size[0] - 2.0 * left.min(40.0)) / heading.width(title).max(1.0)).min(1.0);
        svg.text(left, 34.0, heading, title);
        for (line, y) in lines.iter().zip([56.0, 74.0, 92.0]) {
            let color = Color::MUTED;
            svg.text(
                left,
                y,
                Font {
                    color,
                    ..Font::PLAIN
                },
                line,
            );
        }
        svg
    }

    /// Begins a picture that stands in a page of HTML, which has the heading and the background, and is translated as a
    /// whole.
    /// `description` says what is drawn, for readers who do not see it.
    pub fn inline(size: [f64; 2], title: &str, description: &str) -> Self {
        Self {
            size,
            title: title.to_owned(),
            description: description.to_owned(),
            body: String::new(),
            language: Language::English,
        }
    }

    /// The end of an element, with its tooltip.
    fn end(&self, element: &str, hint: &str) -> String {
        if hint.is_empty() {
            "/>".to_owned()
        } else {
            format!(
                "><title>{}</title></{element}>",
                escaped(&self.language.say(hint))
            )
        }
    }

    /// Writes a line of text with its anchor at (`x`, `y`).
    pub fn text(&mut self, x: f64, y: f64, font: Font, line: &str) {
        self.put_text(x, y, font, "", line);
    }

    /// Writes text that is legible on any background.
    pub fn text_over(&mut self, x: f64, y: f64, font: Font, line: &str) {
        let halo = Font {
            color: Color::PAGE,
            ..font
        };
        let style = format!(
            " stroke=\"{}\" stroke-width=\"4\" stroke-linejoin=\"round\" aria-hidden=\"true\"",
            Color::PAGE.light
        );
        self.put_text(x, y, halo, &style, line);
        self.put_text(x, y, font, "", line);
    }

    fn put_text(&mut self, x: f64, y: f64, font: Font, more: &str, line: &str) {
        let anchor = match font.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let size = if (font.size - Font::PLAIN.size).abs() < 0.05 {
            String::new()
        } else {
            format!(" font-size=\"{:.1}\"", font.size)
        };
        let weight = if font.is_bold {
            " font-weight=\"bold\""
        } else {
            ""
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            self.body,
            "<text class=\"{}{}\" fill=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\"{anchor}{size}{weight}{more}>{}</text>",
            font.color.name,
            if more.is_empty() { "" } else { " page-stroke" },
            font.color.light,
            escaped(&self.language.say(line))
        );
    }

    /// Draws a straight line from (`x1`, `y1`) to (`x2`, `y2`); `more` are further attributes.
    pub fn line(&mut self, [x1, y1, x2, y2]: [f64; 4], color: Color, more: &str) {
        self.path(&format!("M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}"), color, more);
    }

    /// Draws a path without filling it.
    pub fn path(&mut self, path: &str, color: Color, more: &str) {
        let _ = writeln!(
            self.body,
            "<path class=\"{}-stroke\" fill=\"none\" stroke=\"{}\" d=\"{path}\"{}{more}/>",
            color.name,
            color.light,
            space(more)
        );
    }

    /// Draws a filled path.
    pub fn area(&mut self, path: &str, color: Color, hint: &str) {
        let _ = writeln!(
            self.body,
            "<path class=\"{}\" fill=\"{}\" d=\"{path}\"{}",
            color.name,
            color.light,
            self.end("path", hint)
        );
    }

    /// Draws a filled rectangle; `hint` is its tooltip.
    pub fn rect(&mut self, [left, top, right, bottom]: Area, color: Color, hint: &str) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{}\" fill=\"{}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"{}",
            color.name,
            color.light,
            right - left,
            bottom - top,
            self.end("rect", hint)
        );
    }

    /// Adds an invisible area with a tooltip.
    pub fn hint(&mut self, [left, top, right, bottom]: Area, hint: &str) {
        let _ = writeln!(
            self.body,
            "<rect fill=\"#000000\" fill-opacity=\"0\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"{}",
            right - left,
            bottom - top,
            self.end("rect", hint)
        );
    }

    /// Draws a small square as the key of a colour.
    pub fn key(&mut self, x: f64, baseline: f64, color: Color) {
        self.rect([x, baseline - 11.0, x + 12.0, baseline + 1.0], color, "");
    }

    /// Draws a filled disc; `hint` is its tooltip.
    pub fn disc(&mut self, (x, y): (f64, f64), radius: f64, color: Color, hint: &str) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{}\" fill=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"{}",
            color.name,
            color.light,
            self.end("circle", hint)
        );
    }

    /// Draws an empty square.
    pub fn square(&mut self, (x, y): (f64, f64), color: Color, hint: &str) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{}-stroke\" fill=\"none\" pointer-events=\"all\" stroke=\"{}\" stroke-width=\"2\" x=\"{:.1}\" \
             y=\"{:.1}\" width=\"11\" height=\"11\"{}",
            color.name,
            color.light,
            x - 5.5,
            y - 5.5,
            self.end("rect", hint)
        );
    }

    /// The picture as a file.
    pub fn finish(self) -> String {
        let Self {
            size: [width, height],
            title,
            description,
            body,
            ..
        } = self;
        let description = if description.is_empty() {
            description
        } else {
            format!("<desc>{}</desc>\n", escaped(&description))
        };
        let mut dark = String::new();
        for color in Color::ALL {
            let Color { name, dark: it, .. } = color;
            if body.contains(&format!("class=\"{name}")) {
                let _ = write!(dark, ".{name}{{fill:{it}}}");
            }
            if body.contains(&format!("{name}-stroke\"")) {
                let _ = write!(dark, ".{name}-stroke{{stroke:{it}}}");
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" \
             font-size=\"{}\" role=\"img\">\n<title>{}</title>\n{description}\
             <style>@media (prefers-color-scheme:dark){{{dark}}}</style>\n{body}</svg>\n",
            Font::PLAIN.size,
            escaped(&title)
        )
    }
}

fn space(more: &str) -> &'static str {
    if more.is_empty() { "" } else { " " }
}

/// `text`, escaped for XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
