//! Smooth edges between black and white, and what JPEG leaves around them.

use std::collections::BTreeMap;

use super::tally::Count;
use crate::decode::{LabelKind, Labels};

/// Gray levels near black, and near white: a share of white.
const NEAR: f64 = 1.0 / 8.0;
/// Pixels within which a smooth edge has both black and white.
const SMOOTH: usize = 3;
/// Pixels of a block of JPEG.
const JPEG: usize = 8;
/// Different grays from which on an edge is smooth: one or two are labels between black and white.
const GRAYS: usize = 3;

/// Whether a mask is black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edges {
    /// It has no other value.
    Sharp,
    /// Other values lie between black and white, but are too few to tell.
    Perhaps,
    /// Other values are smooth edges.
    Smooth,
    /// It has values that are no edges.
    None,
}

impl Edges {
    pub(super) fn of(labels: &Labels, counts: &BTreeMap<u32, Count>) -> Self {
        let white = labels.highest;
        let share = |value: u32| f64::from(value) / f64::from(white.max(1));
        let is_between = |&value: &u32| value != 0 && value != white;
        let grays = counts.keys().copied().filter(is_between);
        let Some(brightest) = grays.clone().max() else {
            return Self::Sharp;
        };
        if !matches!(labels.kind, LabelKind::Gray | LabelKind::Alpha) {
            return Self::None;
        }
        let is_flat = counts.keys().all(|&it| share(it) <= NEAR)
            || counts.keys().all(|&it| share(it) >= 1.0 - NEAR);
        if labels.lossy && is_flat {
            return Self::Sharp;
        }
        // The numbers of few classes are dark, beside a white void.
        if counts.len() <= 2 || share(brightest) < 2.0 * NEAR || !lie_on_edges(labels) {
            return Self::None;
        }
        if labels.lossy || grays.count() >= GRAYS {
            Self::Smooth
        } else {
            Self::Perhaps
        }
    }
}

/// Whether grays are at most a quarter of the mask, and nearly all of what is neither black nor white
/// is close to both.
fn lie_on_edges(labels: &Labels) -> bool {
    let white = labels.highest;
    let share = |value: u32| f64::from(value) / f64::from(white.max(1));
    let marked = |is: &dyn Fn(f64) -> bool| -> Vec<bool> {
        labels.values.iter().map(|&it| is(share(it))).collect()
    };
    let is_black = marked(&|share| share <= NEAR);
    let is_white = marked(&|share| share >= 1.0 - NEAR);
    let near_both = |reach| {
        let mut near = dilated(&is_black, labels.width, reach);
        let white = dilated(&is_white, labels.width, reach);
        near.iter_mut()
            .zip(white)
            .for_each(|(near, white)| *near &= white);
        near
    };
    // A file without loss may be a copy of one with.
    let (close, in_block) = (near_both(SMOOTH), near_both(JPEG));
    let (mut grays, mut between, mut at_edge) = (0_usize, 0_usize, 0_usize);
    for (at, &value) in labels.values.iter().enumerate() {
        if value == 0 || value == white {
            continue;
        }
        let is_trace = is_black[at] || is_white[at];
        between += 1;
        grays += usize::from(!is_trace);
        at_edge += usize::from(if is_trace { in_block[at] } else { close[at] });
    }
    grays * 4 <= labels.values.len() && at_edge * 20 >= between * 19
}

/// Whether a pixel that is set is at most `reach` rows and columns away.
fn dilated(is_set: &[bool], width: usize, reach: usize) -> Vec<bool> {
    let mut along_rows = vec![false; is_set.len()];
    for (row, out) in is_set.chunks(width).zip(along_rows.chunks_mut(width)) {
        spread(row.iter().copied(), out.iter_mut(), reach);
    }
    let mut along_columns = vec![false; is_set.len()];
    for column in 0..width {
        let values = along_rows.iter().skip(column).step_by(width).copied();
        spread(
            values,
            along_columns.iter_mut().skip(column).step_by(width),
            reach,
        );
    }
    along_columns
}

/// Sets what is at most `reach` places from a value that is set.
fn spread<'a>(
    values: impl Iterator<Item = bool> + Clone,
    out: impl Iterator<Item = &'a mut bool>,
    reach: usize,
) {
    let ahead = values
        .clone()
        .map(Some)
        .chain(std::iter::repeat(None))
        .skip(reach);
    let behind = std::iter::repeat_n(false, reach + 1).chain(values.clone());
    let mut num = values.take(reach).filter(|&value| value).count();
    for ((out, entering), leaving) in out.zip(ahead).zip(behind) {
        num += usize::from(entering == Some(true));
        num -= usize::from(leaving);
        *out = num > 0;
    }
}
