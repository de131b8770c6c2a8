//! How good the predictions are: by threshold, by class and by image.

use figures::numbers::{median, percent};
use serde_json::{Value, json};

use super::score;
use crate::Run;
use crate::chart::{Axis, Figure, Lines, Series, histogram};
use crate::wire::{Bin, ClassColor, ClassScore, Curve, CurvePoint, Threshold};

/// The charts, as far as the run has what they show.
pub(super) fn figures(run: &Run) -> Vec<Figure> {
    let report = &run.report;
    let curve = report.curve.as_ref();
    let charts = [
        thresholds(&report.thresholds, curve),
        curve.and_then(precision_and_recall),
        calibration(&report.calibration),
        by_image(run),
    ];
    charts.into_iter().flatten().collect()
}

/// `part / whole`, unless that is undefined.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Values at the thresholds from 0 to 1.
fn by_threshold(values: impl ExactSizeIterator<Item = Option<f64>>) -> Vec<(f64, Option<f64>)> {
    let last = values.len().saturating_sub(1).max(1) as f64;
    let at = |(index, value)| (index as f64 / last, value);
    values.enumerate().map(at).collect()
}

fn thresholds(means: &[Threshold], curve: Option<&Curve>) -> Option<Figure> {
    let pixels = curve.map(|curve| {
        let iou = |it: &CurvePoint| {
            let union = (it.answered + curve.foreground).saturating_sub(it.hits);
            share(it.hits, union)
        };
        by_threshold(curve.points.iter().map(iou))
    });
    let pixels = pixels.unwrap_or_default();
    let iou = by_threshold(means.iter().map(|it| it.iou));
    let dice = by_threshold(means.iter().map(|it| it.dice));
    let (name, main) = if iou.iter().any(|it| it.1.is_some()) {
        ("Mean IoU", &iou)
    } else {
        ("IoU of all pixels", &pixels)
    };
    let middle = main.len() / 2;
    let known = main.iter().enumerate();
    let known = known.filter_map(|(index, (at, value))| Some((index, *at, (*value)?)));
    // Among equals, as in validation, the threshold nearest to 0.5.
    let (_, at, best) = known.max_by(|a, b| {
        let nearer = b.0.abs_diff(middle).cmp(&a.0.abs_diff(middle));
        a.2.total_cmp(&b.2).then(nearer)
    })?;
    let half = main.get(middle).and_then(|it| it.1);
    let half = half.map(|it| format!("at 0.50 it is {}", score(it)));
    let highest = format!("{name} is highest at threshold {at:.2}, {}", score(best));
    let clauses: Vec<_> = [highest].into_iter().chain(half).collect();
    let lines = Lines {
        title: "Threshold",
        x: Axis::share("threshold of the predicted probability"),
        y: Axis::share("score"),
        series: vec![
            Series::new("mean IoU", iou.clone()),
            Series::new("mean Dice", dice),
            Series::new("IoU of all pixels", pixels.clone()),
        ],
        marks: vec![(at, best, format!("{} at {at:.2}", score(best)))],
        has_diagonal: false,
    };
    lines.draw(clauses.join("; ") + ".")
}

fn precision_and_recall(curve: &Curve) -> Option<Figure> {
    let point = |it: &CurvePoint| {
        Some((
            share(it.hits, curve.foreground)?,
            share(it.hits, it.answered)?,
        ))
    };
    let points: Vec<(f64, f64)> = curve.points.iter().rev().filter_map(point).collect();
    // Average precision: the mean of the precision, weighted by the increase of the recall.
    let (area, _) = points
        .iter()
        .fold((0.0, 0.0), |(area, before), (recall, precision)| {
            (area + (recall - before) * precision, *recall)
        });
    let (recall, precision) = point(curve.points.get(curve.points.len() / 2)?)?;
    let lines = Lines {
        title: "Precision and recall",
        x: Axis::share("recall: share of the foreground that was found"),
        y: Axis::share("precision: share of the prediction that is right"),
        series: vec![Series::new(
            "precision",
            points.into_iter().map(|(x, y)| (x, Some(y))),
        )],
        marks: vec![(recall, precision, "threshold 0.50".to_owned())],
        has_diagonal: false,
    };
    lines.draw(format!(
        "At threshold 0.50, precision is {} and recall {}; average precision is {}.",
        score(precision),
        score(recall),
        score(area)
    ))
}

fn calibration(bins: &[Bin]) -> Option<Figure> {
    let point = |it: &Bin| Some((it.mean_probability?, it.foreground_share?, it.pixels as f64));
    let filled = bins.iter().filter(|it| it.pixels > 0);
    let points: Vec<(f64, f64, f64)> = filled.filter_map(point).collect();
    let pixels: f64 = points.iter().map(|it| it.2).sum();
    let error: f64 = points.iter().map(|(x, y, n)| (x - y).abs() * n).sum();
    let series = points.iter().map(|(x, y, _)| (*x, Some(*y)));
    let lines = Lines {
        title: "Calibration",
        x: Axis::share("predicted probability, mean of the bin"),
        y: Axis::share("share of pixels that are foreground"),
        series: vec![Series::new("share of foreground", series)],
        marks: Vec::new(),
        has_diagonal: true,
    };
    lines.draw(format!(
        "A predicted probability differs from the share of foreground by {} on average; on the dotted line \
         they are equal.",
        score(error / pixels.max(1.0))
    ))
}

fn by_image(run: &Run) -> Option<Figure> {
    let scores = &run.report.images.scores;
    let values: Vec<f64> = scores.iter().filter_map(|it| it.iou).collect();
    let low = values.iter().filter(|it| **it < 0.5).count();
    let middle = score(median(&values)?);
    let caption = match values.len() {
        1 => format!("The IoU of the only validation image that counts is {middle}."),
        num => {
            let are = if low == 1 { "is" } else { "are" };
            format!(
                "The median IoU of the {num} validation images that count is {middle}; {low} {are} below 0.5."
            )
        }
    };
    histogram("IoU by image", "IoU of an image", &values, caption)
}

/// The confusion matrix as rows of counts with their shares of the row.
pub(super) fn confusion(run: &Run) -> Option<Value> {
    let counts = &run.report.confusion.as_ref()?.counts;
    let mut worst: Option<(f64, usize, usize)> = None;
    let mut rows = Vec::new();
    for (class, row) in counts.iter().enumerate() {
        let whole = row.iter().sum();
        let mut cells = Vec::new();
        for (column, number) in row.iter().enumerate() {
            let share = share(*number, whole);
            if let Some(share) = share
                && column != class
                && worst.is_none_or(|(most, ..)| share > most)
            {
                worst = Some((share, class, column));
            }
            cells.push(json!({"pixels": number, "share": share, "is_right": class == column}));
        }
        rows.push(json!({"name": run.class_name(class), "cells": cells}));
    }
    let caption = worst.filter(|it| it.0 > 0.0).map(|(share, class, column)| {
        format!(
            "The most frequent confusion: {} of the pixels of {} were predicted as {}.",
            percent(share),
            run.class_name(class),
            run.class_name(column)
        )
    });
    let names = (0..counts.len()).map(|it| run.class_name(it));
    let names: Vec<String> = names.collect();
    (!rows.is_empty()).then(|| json!({"names": names, "rows": rows, "caption": caption}))
}

/// The colours of masks and predictions with their names, unless black and white are all of them.
pub(super) fn legend(run: &Run) -> Vec<Value> {
    let colors = &run.report.images.colors;
    if run.is_binary() && colors.len() <= 2 {
        return Vec::new();
    }
    let entry = |it: &ClassColor| {
        let [red, green, blue] = it.color;
        let name = it.class.map(|class| run.class_name(class));
        json!({
            "color": format!("#{red:02x}{green:02x}{blue:02x}"),
            "name": name.unwrap_or_else(|| "pixels that do not count".to_owned()),
        })
    };
    colors.iter().map(entry).collect()
}

/// The scores of each class: means over images, and precision and recall of all pixels.
pub(super) fn classes(run: &Run) -> Vec<Value> {
    let scores = run.summary.iter().flat_map(|it| &it.validation.per_class);
    let row = |it: &ClassScore| {
        let counts = run.report.confusion.as_ref().map(|it| it.counts.as_slice());
        let counts = counts.unwrap_or_default();
        let row = counts.get(it.class);
        let hits = row.and_then(|row| row.get(it.class)).copied();
        let answered: u64 = counts.iter().filter_map(|row| row.get(it.class)).sum();
        json!({
            "name": run.class_name(it.class),
            "iou": it.iou,
            "dice": it.dice,
            "images": it.num_images,
            "precision": hits.and_then(|hits| share(hits, answered)),
            "recall": hits.zip(row).and_then(|(hits, row)| share(hits, row.iter().sum())),
        })
    };
    scores.map(row).collect()
}
