//! Pillow's rule for `ImageDraw.ellipse(xy, fill=1, outline=1)`, pixel by pixel: a walk along the
//! points of a grid that are closest to the curve.

use super::canvas::Canvas;

/// Fills the ellipse in the box `bounds` (left, top, right, bottom), which is cut to integers.
pub(super) fn fill(bounds: [f64; 4], canvas: &mut Canvas) {
    let [left, top, right, bottom] = bounds.map(|bound| bound as i64);
    let (width, height) = (right - left, bottom - top);
    // Pillow draws nothing in a box of a single pixel.
    if width < 0 || height < 0 || width + height == 0 {
        return;
    }
    // Twice the distances from the centre, so that all are integers.
    let (mut x, mut y) = (width, height % 2);
    let mut painted = -1;
    loop {
        if y > painted {
            for y in [-y, y] {
                let row = top + i64::midpoint(y, height);
                canvas.span(row, left + (width - x) / 2, left + i64::midpoint(width, x));
            }
            painted = y;
        }
        if (x, y) == (width % 2, height) {
            return;
        }
        (x, y) = next(width, height, x, y);
    }
}

/// Of the three neighbours up and inwards, the one that is closest to the curve.
fn next(width: i64, height: i64, x: i64, y: i64) -> (i64, i64) {
    let (a, b) = (i128::from(width).pow(2), i128::from(height).pow(2));
    let distance =
        |x: i64, y: i64| (a * i128::from(y).pow(2) + b * i128::from(x).pow(2) - a * b).abs();
    let mut best = (x, y + 2);
    if x > 1 {
        for (x, y) in [(x - 2, y + 2), (x - 2, y)] {
            if distance(x, y) < distance(best.0, best.1) {
                best = (x, y);
            }
        }
    }
    best
}
