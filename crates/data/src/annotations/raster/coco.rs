//! pycocotools' rule for polygons (`rleFrPoly`), bit for bit: corners are rounded to fifths of a
//! pixel, and a column's pixels change between inside and outside wherever the outline crosses
//! the middle of the column.
//!
//! pycocotools walks along each edge in steps of a fifth. Here the crossing of each column is
//! computed directly, so that a corner far outside of the image costs nothing.

use std::ops::Range;

use super::canvas::Canvas;
use super::columns::Columns;

/// Steps per pixel.
const SCALE: i64 = 5;
/// The step in the middle of a pixel: columns are crossed between it and the next one.
const MIDDLE: i64 = 2;

pub(super) fn fill(ring: &[[f64; 2]], canvas: &mut Canvas) {
    let range = |axis: usize| {
        let values = ring.iter().map(|point| point[axis]);
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        low.floor() as i64 - 1..high.ceil() as i64 + 2
    };
    let mut columns = Columns::new(range(0), range(1), canvas);
    let steps: Vec<(i64, i64)> = ring.iter().map(|&[x, y]| (step(x), step(y))).collect();
    for (i, &from) in steps.iter().enumerate() {
        let to = steps[(i + 1) % steps.len()];
        if (to.0 - from.0).abs() >= (to.1 - from.1).abs() {
            cross_flat(from.min(to), from.max(to), &mut columns);
        } else if from.1 < to.1 {
            cross_steep(from, to, &mut columns);
        } else {
            cross_steep(to, from, &mut columns);
        }
    }
    columns.paint(canvas);
}

fn step(coordinate: f64) -> i64 {
    (SCALE as f64 * coordinate + 0.5) as i64
}

/// An edge with a step in y for each step in x, or fewer, from left to right.
fn cross_flat((x, y): (i64, i64), (to_x, to_y): (i64, i64), columns: &mut Columns) {
    let slope = (to_y - y) as f64 / (to_x - x) as f64;
    let at = |t: i64| (y as f64 + slope * t as f64 + 0.5) as i64;
    for column in crossed(x, to_x, columns) {
        let t = SCALE * column + MIDDLE - x;
        columns.toggle(column, row(at(t).min(at(t + 1))));
    }
}

/// An edge with more steps in y than in x, from top to bottom.
fn cross_steep((x, y): (i64, i64), (to_x, to_y): (i64, i64), columns: &mut Columns) {
    let length = to_y - y;
    let slope = (to_x - x) as f64 / length as f64;
    let at = |t: i64| (x as f64 + slope * t as f64 + 0.5) as i64;
    for column in crossed(x.min(to_x), x.max(to_x), columns) {
        let middle = SCALE * column + MIDDLE;
        let has_crossed = |t| (at(t) > middle) == (to_x > x);
        // The last step before the middle and the first one behind it.
        let (mut before, mut behind) = (0, length);
        while behind - before > 1 {
            let t = before.midpoint(behind);
            if has_crossed(t) {
                behind = t;
            } else {
                before = t;
            }
        }
        columns.toggle(column, row(y + before));
    }
}

/// The columns whose middle lies between the steps `low` and `high`.
fn crossed(low: i64, high: i64, columns: &Columns) -> Range<i64> {
    let first = (low - MIDDLE + SCALE - 1).div_euclid(SCALE);
    let end = (high - MIDDLE - 1).div_euclid(SCALE) + 1;
    first.max(columns.left)..end.min(columns.left + columns.width)
}

/// The first row whose middle is not above `step`.
fn row(step: i64) -> i64 {
    (step - MIDDLE + SCALE - 1).div_euclid(SCALE)
}
