//! Run-length encoded masks: runs of pixels that are in turn outside and inside.

use super::canvas::Canvas;
use super::columns::Columns;
use crate::annotations::{Order, Runs};

pub(super) fn fill(runs: &Runs, canvas: &mut Canvas) {
    match runs.order {
        Order::Rows => parts(runs, runs.width, |row, from, to| {
            canvas.span(runs.top + row, runs.left + from, runs.left + to - 1);
        }),
        Order::Columns => {
            let Some((first, last)) = reach(runs) else {
                return;
            };
            let range = runs.left + first..runs.left + last + 1;
            let rows = runs.top..runs.top + runs.height as i64;
            let mut columns = Columns::new(range, rows, canvas);
            let inside = columns.left..columns.left + columns.width;
            parts(runs, runs.height, |column, from, to| {
                if inside.contains(&(runs.left + column)) {
                    columns.toggle(runs.left + column, runs.top + from);
                    columns.toggle(runs.left + column, runs.top + to);
                }
            });
            columns.paint(canvas);
        }
    }
}

/// Calls `visit` with the row or column, start and end of each run inside. A run over several rows
/// or columns is cut into parts.
fn parts(runs: &Runs, length: u64, mut visit: impl FnMut(i64, i64, i64)) {
    let mut start = 0;
    for (i, &count) in runs.counts.iter().enumerate() {
        let end = start + u64::from(count);
        while i % 2 == 1 && start < end {
            let (line, from) = (start / length, start % length);
            let to = (from + end - start).min(length);
            visit(line as i64, from as i64, to as i64);
            start += to - from;
        }
        start = end;
    }
}

/// The first and the last column of the box with pixels inside.
pub(super) fn reach(runs: &Runs) -> Option<(i64, i64)> {
    let mut columns = None;
    parts(runs, runs.height, |column, _, _| {
        columns = Some((columns.map_or(column, |(first, _)| first), column));
    });
    columns
}
