//! Where the names of marks go.

use advisor::svg::{line, text};

use super::{FONT, LEFT, LETTER, PLOT_HEIGHT, PLOT_WIDTH, Point, Scale, TOP};
use crate::case::Implementation;

/// A label's box on the page.
#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }
}

/// Puts each label where it covers the least of the marks and of the labels before it; one that had
/// to go far has a line to its mark.
pub(super) fn labels(out: &mut String, scale: &Scale, points: &[Point]) {
    let mut taken: Vec<Area> = points
        .iter()
        .map(|point| {
            let (x, y) = scale.place(point);
            Area {
                left: x - 7.0,
                top: y - 7.0,
                right: x + 7.0,
                bottom: y + 7.0,
            }
        })
        .collect();
    let mut order: Vec<&Point> = points.iter().collect();
    order.sort_by(|a, b| b.speed.total_cmp(&a.speed));
    for point in order {
        let (x, y) = scale.place(point);
        let width = point.label.chars().count() as f64 * LETTER;
        let mut best: Option<(f64, Area)> = None;
        for (step, dy) in [0.0, -16.0, 16.0, -30.0, 30.0, -44.0, 44.0, -58.0, 58.0]
            .into_iter()
            .enumerate()
        {
            for left in [x + 11.0, x - 11.0 - width, x - width / 2.0] {
                // Above or below only, where it is centred.
                if dy == 0.0 && left < x && left + width > x {
                    continue;
                }
                let place = Area {
                    left,
                    top: y + dy - FONT / 2.0,
                    right: left + width,
                    bottom: y + dy + FONT / 2.0 + 2.0,
                };
                let outside = (LEFT - place.left).max(0.0)
                    + (place.right - LEFT - PLOT_WIDTH).max(0.0)
                    + (place.bottom - TOP - PLOT_HEIGHT).max(0.0)
                    + (TOP - place.top).max(0.0);
                let covered: f64 = taken.iter().map(|other| place.overlap(other)).sum();
                let cost = covered + 50.0 * outside + 3.0 * step as f64;
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, place));
                }
            }
        }
        let Some((_, place)) = best else { continue };
        let middle = f64::midpoint(place.top, place.bottom);
        if (middle - y).abs() > 20.0 {
            let near = x.clamp(place.left, place.right);
            line(out, [x, y, near, middle], "stroke=\"#bbb\"");
        }
        let weight = if point.implementation == Implementation::Snug {
            "font-weight=\"bold\" paint-order=\"stroke\" stroke=\"white\" stroke-width=\"4\""
        } else {
            "fill=\"#444\" paint-order=\"stroke\" stroke=\"white\" stroke-width=\"4\""
        };
        text(out, place.left, place.bottom - 3.0, weight, &point.label);
        taken.push(place);
    }
}
