//! Curves over epochs: of one run, and of several over each other.

use figures::numbers::small;

use super::{plural, score};
use crate::Run;
use crate::chart::{Axis, Figure, Lines, Series};
use crate::wire::Row;

type Value = fn(&Row) -> Option<f64>;

const EPOCHS: Axis = Axis::of("epoch");

fn series(name: impl Into<String>, rows: &[Row], value: Value) -> Series {
    let points = rows.iter().map(|row| (f64::from(row.epoch), value(row)));
    Series::new(name, points)
}

/// The first known value, and the last one if there are several.
fn span(rows: &[Row], value: Value) -> Option<(f64, Option<f64>)> {
    let mut known = rows.iter().filter_map(value);
    Some((known.next()?, known.next_back()))
}

/// The losses, the scores and the learning rate of a run.
pub(super) fn of_run(run: &Run) -> Vec<Figure> {
    let rows = &run.rows;
    let from_to = |name: &str, (a, b): (f64, Option<f64>)| {
        let a = small(a);
        match b.map(small) {
            None => format!("{name} was {a}"),
            Some(b) if a == b => format!("{name} stayed at {a}"),
            Some(b) => format!("{name} went from {a} to {b}"),
        }
    };
    let lines = |title, y, series, marks| Lines {
        title,
        x: EPOCHS,
        y,
        series,
        marks,
        has_diagonal: false,
    };
    let said = [
        span(rows, |it| it.train_loss).map(|it| from_to("training loss", it)),
        span(rows, |it| it.val_loss).map(|it| from_to("validation loss", it)),
    ];
    let epochs = plural(rows.len(), "epoch");
    let losses = vec![
        series("training", rows, |it| it.train_loss),
        series("validation", rows, |it| it.val_loss),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    let said = match said.as_slice() {
        [training, validation] => format!("Over {epochs}, the {training} and the {validation}."),
        other => format!("Over {epochs}, the {}.", other.concat()),
    };
    let loss = lines("Loss", Axis::of("loss"), losses, Vec::new()).draw(said);
    let best = run.best().and_then(|it| Some((it, it.val_iou?)));
    let marks = best.map(|(row, iou)| {
        (
            f64::from(row.epoch),
            iou,
            format!("{} at epoch {}", score(iou), row.epoch),
        )
    });
    let scores = vec![
        series("IoU", rows, |it| it.val_iou),
        series("Dice", rows, |it| it.val_dice),
    ];
    let axis = Axis::share("score of validation");
    let scores = lines("IoU and Dice", axis, scores, marks.into_iter().collect())
        .draw(best_in_words(rows, best));
    // A single value needs no chart.
    if rows.len() < 2 {
        return [loss, scores].into_iter().flatten().collect();
    }
    let rate = vec![series("learning rate", rows, |it| it.lr)];
    let said = span(rows, |it| it.lr).map(|it| from_to("The learning rate", it));
    let rate = lines("Learning rate", Axis::of("learning rate"), rate, Vec::new())
        .draw(said.unwrap_or_default() + ".");
    let time = vec![series("time of a step", rows, |it| it.step_ms_median)];
    let said = span(rows, |it| it.step_ms_median);
    let said = said.map(|it| from_to("The median time of a step, in ms,", it));
    let time = lines("Time of a step", Axis::of("median, ms"), time, Vec::new())
        .draw(said.unwrap_or_default() + ".");
    [loss, scores, rate, time].into_iter().flatten().collect()
}

fn best_in_words(rows: &[Row], best: Option<(&Row, f64)>) -> String {
    let (Some((best, iou)), Some((first, _))) = (best, span(rows, |it| it.val_iou)) else {
        return "There was no validation.".to_owned();
    };
    let (epoch, last) = (best.epoch, rows.last().map_or(0, |it| it.epoch));
    let (from, to) = (score(first), score(iou));
    let dice = best.val_dice.map(score);
    match (first < iou, dice) {
        (true, Some(dice)) => format!(
            "Validation IoU rose from {from} to {to} at epoch {epoch} of {last}, where Dice was {dice}."
        ),
        (true, None) => {
            format!("Validation IoU rose from {from} to {to} at epoch {epoch} of {last}.")
        }
        (false, Some(dice)) => format!(
            "Validation IoU was highest, {to}, at epoch {epoch} of {last}, where Dice was {dice}."
        ),
        (false, None) => {
            format!("Validation IoU was highest, {to}, at epoch {epoch} of {last}.")
        }
    }
}

/// The validation IoU and loss of several runs.
pub(super) fn of_runs(runs: &[Run], names: &[String]) -> Vec<Figure> {
    let charts: [(&'static str, Axis, Value, bool); 4] = [
        (
            "Validation IoU",
            Axis::share("IoU of validation"),
            |it| it.val_iou,
            true,
        ),
        (
            "Validation loss",
            Axis::of("loss of validation"),
            |it| it.val_loss,
            false,
        ),
        (
            "Training loss",
            Axis::of("loss of training"),
            |it| it.train_loss,
            false,
        ),
        (
            "Time of a step",
            Axis::of("median, ms"),
            |it| it.step_ms_median,
            false,
        ),
    ];
    let charts = charts.into_iter().filter_map(|(title, y, value, is_most)| {
        let named = || runs.iter().zip(names);
        let ends = named().filter_map(|(run, name)| {
            let known = run.rows.iter().filter_map(value);
            let best = if is_most {
                known.max_by(f64::total_cmp)
            } else {
                known.min_by(f64::total_cmp)
            };
            Some(format!("{} {}", super::name(name), small(best?)))
        });
        let ends = ends.collect::<Vec<_>>().join(", ");
        let caption = if is_most {
            format!("Highest by run: {ends}.")
        } else {
            format!("Lowest by run: {ends}.")
        };
        let series = named().map(|(run, name)| series(name.as_str(), &run.rows, value).given());
        let lines = Lines {
            title,
            x: EPOCHS,
            y,
            series: series.collect(),
            marks: Vec::new(),
            has_diagonal: false,
        };
        lines.draw(caption)
    });
    charts.collect()
}
