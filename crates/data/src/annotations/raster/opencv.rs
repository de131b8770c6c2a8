//! `OpenCV`'s rule for `fillPoly` with integer points, pixel by pixel: the outline is drawn as lines
//! of one pixel, and rows are filled between pairs of edges, which are followed in 1/65536 of a
//! pixel. Points are cut to integers as by `astype(int32)`.

use std::ops::Range;

use super::canvas::Canvas;
use super::scan::{self, scan};

/// A pixel in fixed point.
const ONE: i64 = 1 << 16;

type Point = (i64, i64);

pub(super) fn fill(ring: &[[f64; 2]], canvas: &mut Canvas) {
    let corners: Vec<Point> = ring.iter().map(|&[x, y]| (x as i64, y as i64)).collect();
    let mut edges = Vec::new();
    for (i, &to) in corners.iter().enumerate() {
        let from = corners[(i + corners.len() - 1) % corners.len()];
        let (inside, clipped) = clip(canvas, from, to);
        if inside {
            line(clipped.0, clipped.1, canvas);
        }
        if from.1 != to.1 {
            edges.push(Edge::new(from, to, clipped));
        }
    }
    let end = edges.iter().map(|edge| edge.bottom).max().unwrap_or(0);
    let mut crossings = Vec::new();
    scan(&edges, 0..canvas.height.min(end), |row, active| {
        crossings.clear();
        crossings.extend(active.iter().map(|edge| edge.at(row)));
        crossings.sort_unstable();
        for pair in crossings.as_chunks::<2>().0 {
            canvas.span(row, (pair[0] + ONE - 1) >> 16, pair[1] >> 16);
        }
    });
}

#[derive(Debug)]
struct Edge {
    top: i64,
    /// The row below the last one.
    bottom: i64,
    /// In the row `top`, in fixed point.
    x: i64,
    /// Change of x from row to row.
    slope: i64,
}

impl scan::Edge for Edge {
    fn rows(&self) -> Range<i64> {
        self.top..self.bottom
    }
}

impl Edge {
    /// The edge between two corners. Its slope is that of its part in the image, whose ends are
    /// rounded to pixels.
    fn new(from: Point, to: Point, clipped: (Point, Point)) -> Self {
        let ((from_x, mut from_y), (to_x, mut to_y)) = clipped;
        if from_y == to_y {
            (from_y, to_y) = (from.1, to.1);
        }
        let slope = (to_x - from_x) * ONE / (to_y - from_y);
        let top = from.1.min(to.1);
        let (x, y) = if from.1 < to.1 {
            (from_x, from_y)
        } else {
            (to_x, to_y)
        };
        Self {
            top,
            bottom: from.1.max(to.1),
            x: x * ONE + (top - y) * slope,
            slope,
        }
    }

    fn at(&self, row: i64) -> i64 {
        self.x + (row - self.top) * self.slope
    }
}

/// Whether a part of the line is inside the image, and that part, as by `clipLine`: rows are clipped
/// first, then columns. A line outside is returned half clipped, because its edge has to be.
fn clip(canvas: &Canvas, from: Point, to: Point) -> (bool, (Point, Point)) {
    let limits = [canvas.width - 1, canvas.height - 1];
    let mut ends = [[from.0, from.1], [to.0, to.1]];
    let side =
        |end: [i64; 2], axis: usize| i64::from(end[axis] > limits[axis]) - i64::from(end[axis] < 0);
    let mut inside = true;
    for axis in [1, 0] {
        inside = (0..2)
            .all(|axis| side(ends[0], axis) == 0 || side(ends[0], axis) != side(ends[1], axis));
        if !inside {
            break;
        }
        for end in 0..2 {
            let bound = match side(ends[end], axis) {
                0 => continue,
                1 => limits[axis],
                _ => 0,
            };
            let (along, across) = (
                ends[1][axis] - ends[0][axis],
                ends[1][1 - axis] - ends[0][1 - axis],
            );
            ends[end][1 - axis] += (bound - ends[end][axis]) * across / along;
            ends[end][axis] = bound;
        }
    }
    let [from, to] = ends.map(|[x, y]| (x, y));
    (inside, (from, to))
}

/// Draws a line inside the image, from left to right, as `LineIterator` with 8 neighbours.
fn line(from: Point, to: Point, canvas: &mut Canvas) {
    let (from, to) = if from.0 > to.0 {
        (to, from)
    } else {
        (from, to)
    };
    let (dx, dy) = (to.0 - from.0, (to.1 - from.1).abs());
    let down = if to.1 < from.1 { -1 } else { 1 };
    let (long, short) = (dx.max(dy), dx.min(dy));
    let (mut x, mut y) = from;
    let mut error = long - 2 * short;
    for _ in 0..=long {
        canvas.span(y, x, x);
        let aside = error < 0;
        error += if aside {
            2 * (long - short)
        } else {
            -2 * short
        };
        x += i64::from(aside || dx >= dy);
        y += if aside || dy > dx { down } else { 0 };
    }
}
