//! Text and lines of our pictures, which are written as SVG by hand: a few shapes each.

use std::fmt::Write as _;

/// A line of text at (`x`, `y`), with attributes of its own.
pub fn text(out: &mut String, x: f64, y: f64, attributes: &str, said: &str) {
    let space = if attributes.is_empty() { "" } else { " " };
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\"{space}{attributes}>{}</text>",
        escaped(said)
    );
}

/// A straight line from (`x1`, `y1`) to (`x2`, `y2`).
pub fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], style: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
    );
}

/// `text` as XML has it.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
