//! The edges of a polygon, row by row.

use std::ops::Range;

/// An edge that is not horizontal.
pub(super) trait Edge {
    /// The rows that it reaches.
    fn rows(&self) -> Range<i64>;
}

/// Calls `visit` for each of `rows` with the edges that reach it. The time is linear in the number
/// of edges and of visits.
pub(super) fn scan<'a, E: Edge>(
    edges: &'a [E],
    rows: Range<i64>,
    mut visit: impl FnMut(i64, &[&'a E]),
) {
    let mut waiting: Vec<&E> = edges.iter().collect();
    // Stable, so that edges that start in one row keep their order.
    waiting.sort_by_key(|edge| edge.rows().start);
    let mut waiting = waiting.into_iter().peekable();
    let mut active: Vec<&E> = Vec::new();
    for row in rows {
        active.retain(|edge| row < edge.rows().end);
        while let Some(edge) = waiting.next_if(|edge| edge.rows().start <= row) {
            if row < edge.rows().end {
                active.push(edge);
            }
        }
        visit(row, &active);
    }
}
