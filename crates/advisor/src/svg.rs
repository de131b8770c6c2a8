//! Text and lines of our pictures, which are written as SVG by hand: a few shapes each.

use std::fmt::Write as _;

/// The beginning of a picture of that size, with its `style` and a `page` behind all of it; it ends with
/// `</svg>`.
pub fn begin([width, height]: [f64; 2], style: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"13\">\n{style}\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n"
    )
}

/// Between the lines of an axis up to `most`: a power of two of which at most six fit.
pub fn tick(most: u64) -> u64 {
    let mut step = 1_u64;
    while most / step > 6 {
        step = step.saturating_mul(2);
    }
    step
}

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
