//! Ellipses at any angle: a pixel belongs to one if its upper left corner does.

use super::canvas::Canvas;
use crate::annotations::Ellipse;

pub(super) fn fill(ellipse: &Ellipse, canvas: &mut Canvas) {
    let [cx, cy] = ellipse.centre;
    let [wide, high] = ellipse.radii.map(|radius| radius.powi(-2));
    let (sin, cos) = ellipse.degrees.to_radians().sin_cos();
    // Around its centre, the curve is xx * x^2 + 2 * xy * x * y + yy * y^2 = 1.
    let xx = cos * cos * wide + sin * sin * high;
    let xy = sin * cos * (wide - high);
    let yy = sin * sin * wide + cos * cos * high;
    let reach = (xx / (xx * yy - xy * xy)).sqrt();
    let first = ((cy - reach).ceil() as i64).max(0);
    let last = ((cy + reach).floor() as i64).min(canvas.height - 1);
    for row in first..=last {
        let y = row as f64 - cy;
        let half = (xy * xy * y * y - xx * (yy * y * y - 1.0)).max(0.0).sqrt() / xx;
        let middle = cx - xy * y / xx;
        let (from, to) = ((middle - half).ceil(), (middle + half).floor());
        canvas.span(row, from as i64, to as i64);
    }
}
