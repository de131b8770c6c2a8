//! Bars: a whole and its parts, and how often values occur.

use figures::numbers::{median, percent};
use figures::scale::Scale;
use figures::svg::{Anchor, Color, Font, Svg};

use super::{COLORS, Figure, Frame, LINE, RIGHT, WIDTH, note};

/// The number of bins of a histogram.
const NUM_BINS: usize = 20;

/// Draws the parts of a whole, each with its size in words, as one bar. A letter ties each segment to its words.
pub(crate) fn stacked(
    title: &str,
    parts: &[(String, f64, String)],
    caption: String,
) -> Option<Figure> {
    let whole: f64 = parts.iter().map(|it| it.1).sum();
    if !whole.is_finite() || whole <= 0.0 {
        return None;
    }
    let rows: Vec<String> = (parts.iter())
        .map(|(name, value, said)| format!("{name}: {said}, {}", percent(value / whole)))
        .collect();
    let height = 54.0 + LINE * parts.len() as f64;
    let mut svg = Svg::inline([WIDTH, height], title, &format!("{}.", rows.join("; ")));
    let mut left = 0.0;
    for (index, ((_, value, _), said)) in parts.iter().zip(&rows).enumerate() {
        let (color, letter) = (COLORS[index % COLORS.len()], letter(index));
        let right = left + WIDTH * value / whole;
        let end = (right - 1.0).max(left + 0.5);
        svg.rect([left, 0.0, end, 34.0], color, said);
        if right - left > 18.0 {
            let font = Font::BOLD.at(Anchor::Middle);
            svg.text_over(f64::midpoint(left, right), 22.0, font, &letter);
        }
        let y = 60.0 + LINE * index as f64;
        svg.key(0.0, y, color);
        svg.text(20.0, y, Font::BOLD, &letter);
        svg.text(36.0, y, Font::PLAIN, said);
        left = right;
    }
    Some(Figure {
        title: title.to_owned(),
        svg: svg.finish(),
        caption,
    })
}

fn letter(index: usize) -> String {
    ('a'..='z')
        .nth(index)
        .map_or_else(String::new, String::from)
}

/// Draws how many of `values`, which are shares, fall in each bin.
pub(crate) fn histogram(
    title: &str,
    label: &str,
    values: &[f64],
    caption: String,
) -> Option<Figure> {
    let middle = median(values)?;
    let mut bins = [0_u32; NUM_BINS];
    for value in values {
        let bin = (1..NUM_BINS)
            .rev()
            .find(|it| *value >= *it as f64 / NUM_BINS as f64);
        bins[bin.unwrap_or(0)] += 1;
    }
    let most = bins.iter().copied().max().unwrap_or(0);
    let said: Vec<String> = (bins.iter().enumerate())
        .filter(|(_, count)| **count > 0)
        .map(|(bin, count)| format!("{count} from {:.2}", bin as f64 / NUM_BINS as f64))
        .collect();
    let desc = format!("Number of images by {label}: {}.", said.join(", "));
    let mut svg = Svg::inline([WIDTH, 262.0], title, &desc);
    let range = (0.0, 1.12 * f64::from(most));
    let (frame, y) = Frame::new([30.0, 220.0], |page| Scale::new(range, page).whole());
    let x = Scale::new((0.0, 1.0), (frame.left, RIGHT));
    frame.y_axis(&mut svg, &y, "images");
    for (bin, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let at = |bin: usize| x.at(bin as f64 / NUM_BINS as f64);
        let top = y.at(f64::from(*count));
        let area = [at(bin) + 1.0, top, at(bin + 1) - 1.0, frame.bottom];
        svg.rect(area, Color::BLUE, &format!("images: {count}"));
    }
    frame.x_axis(&mut svg, &x, label);
    let at = x.at(middle);
    svg.line(
        [at, frame.top, at, frame.bottom],
        Color::INK,
        "stroke-dasharray=\"6 3\"",
    );
    note(
        &mut svg,
        (at, frame.top + 10.0),
        &format!("median {middle:.3}"),
    );
    Some(Figure {
        title: title.to_owned(),
        svg: svg.finish(),
        caption,
    })
}
