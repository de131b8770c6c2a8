//! Pillow's rule for `ImageDraw.polygon(xy, fill=1, outline=1)`, pixel by pixel: corners are cut
//! to integers, and each row is filled between pairs of edges, corners included. Everything is
//! computed in `f32` as in `polygon_generic` of Pillow 13.0.

use std::collections::HashMap;
use std::ops::Range;

use super::canvas::Canvas;
use super::scan::{self, scan};

pub(super) fn fill(ring: &[[f64; 2]], canvas: &mut Canvas) {
    let corners: Vec<(i32, i32)> = ring.iter().map(|&[x, y]| (x as i32, y as i32)).collect();
    let mut edges = Vec::new();
    for (i, &from) in corners.iter().enumerate() {
        let to = corners[(i + 1) % corners.len()];
        if from.1 != to.1 {
            edges.push(Edge::new(edges.len(), from, to));
        } else if from != to || i + 1 < corners.len() {
            let (low, high) = (from.0.min(to.0), from.0.max(to.0));
            canvas.span(from.1.into(), low.into(), high.into());
        }
    }
    let Some(last) = corners.iter().map(|corner| i64::from(corner.1)).max() else {
        return;
    };
    let mut crossings = Vec::new();
    scan(&edges, 0..canvas.height.min(last + 1), |row, active| {
        crossings.clear();
        cross(row as i32, row == last, active, &mut crossings);
        crossings.sort_by(f32::total_cmp);
        for pair in crossings.as_chunks::<2>().0 {
            canvas.span(row, round_up(pair[0]), round_down(pair[1]));
        }
    });
}

#[derive(Debug)]
struct Edge {
    /// Position among the edges of its polygon.
    index: usize,
    x: i32,
    y: i32,
    top: i32,
    bottom: i32,
    slope: f32,
}

impl scan::Edge for Edge {
    fn rows(&self) -> Range<i64> {
        self.top.into()..i64::from(self.bottom) + 1
    }
}

impl Edge {
    fn new(index: usize, (x, y): (i32, i32), (to_x, to_y): (i32, i32)) -> Self {
        Self {
            index,
            x,
            y,
            top: y.min(to_y),
            bottom: y.max(to_y),
            slope: (to_x - x) as f32 / (to_y - y) as f32,
        }
    }

    fn at(&self, row: i32) -> f32 {
        (row - self.y) as f32 * self.slope + self.x as f32
    }
}

/// Where the edges cross a row, in any order. An edge that ends in it counts twice, except in the
/// last row, so that each pair of crossings has pixels between them.
fn cross(row: i32, is_last: bool, active: &[&Edge], crossings: &mut Vec<f32>) {
    let mut tips = Vec::new();
    for edge in active {
        let is_end = row == edge.bottom;
        if (row == edge.top || (is_end && is_last)) && edge.slope != 0.0 {
            tips.push(*edge);
            continue;
        }
        crossings.push(edge.at(row));
        if is_end && !is_last {
            crossings.push(edge.at(row));
        }
    }
    tips.sort_by_key(|edge| edge.index);
    let mut first: HashMap<i64, &Edge> = HashMap::new();
    for edge in tips {
        let x = edge.at(row);
        let other = first.entry(x.round() as i64).or_insert(edge);
        crossings.push(if other.index == edge.index {
            x
        } else {
            beside(x, row, edge, other)
        });
    }
}

/// Where the later of two edges that meet at `x` starts. A tip that is flatter than a pixel per row
/// is extended to the next row's pixels, which would otherwise not touch it.
fn beside(x: f32, row: i32, edge: &Edge, other: &Edge) -> f32 {
    let next = if row == edge.bottom { row - 1 } else { row + 1 };
    let (near, far) = (edge.at(next), other.at(next));
    if x > near + 1.0 && x > far + 1.0 {
        near.max(far).round() + 1.0
    } else if x < near - 1.0 && x < far - 1.0 {
        near.min(far).round() - 1.0
    } else {
        x
    }
}

/// The nearest integer; a half is rounded away from zero.
fn round_up(x: f32) -> i64 {
    x.round() as i64
}

/// The nearest integer; a half is rounded towards zero.
fn round_down(x: f32) -> i64 {
    (x.signum() * (x.abs() - 0.5).ceil()) as i64
}
