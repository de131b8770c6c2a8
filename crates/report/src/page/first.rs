//! The first screen: what was trained, how it ended, and with what result.

use config::Bytes;
use figures::numbers::short;
use serde_json::{Value, json};

use super::events::is_of_ranks;
use super::{against, count, duration, said, score, sentence};
use crate::Run;

/// A run's status: its name, its kind of colour, and what to do next.
pub(super) fn outcome(run: &Run) -> Value {
    let resume = if run.has_snapshot {
        let dir = run.dir.display();
        format!("`--resume {dir}` continues from the latest snapshot")
    } else {
        "the run left no snapshot to resume from, so start it again".to_owned()
    };
    let after = |advice: &str| Some(format!("{advice} {}", sentence(&resume)));
    let Some(summary) = &run.summary else {
        let next = format!(
            "There is no `summary.json`: the run is still going on, or it was killed. If it was: {resume}."
        );
        return json!({"name": "unfinished", "kind": "warning", "error": null, "next": next});
    };
    let stopped = format!("stopped after epoch {}, as asked", summary.epochs);
    let (name, kind, next) = match summary.status.as_str() {
        "completed" => ("completed", "good", None),
        "early-stopped" => (
            "stopped early",
            "good",
            Some("Validation stopped improving, so the remaining epochs were left out.".to_owned()),
        ),
        "stopped" => (
            stopped.as_str(),
            "good",
            after("The results are complete up to there."),
        ),
        "interrupted" => ("interrupted", "warning", Some(sentence(&resume))),
        "emergency-stop" => (
            "stopped: memory was nearly full",
            "warning",
            after("Close other programs or lower the batch."),
        ),
        "failed" => ("failed", "bad", after("Remove the cause of the error.")),
        "" => ("of unknown status", "warning", None),
        other => (other, "warning", None),
    };
    json!({"name": name, "kind": kind, "error": summary.error, "next": next})
}

/// One sentence about the network and its data.
pub(super) fn what(run: &Run) -> String {
    let classes = match run.setting("classes").unwrap_or("1") {
        "1" => format!("one class ({})", run.class_name(1)),
        classes => format!("{classes} classes"),
    };
    let network = match (run.setting("width"), run.setting("img_size")) {
        (Some(width), Some(size)) => {
            let size = size.trim_matches(['[', ']']).replace(", ", " x ");
            format!("A U-Net of width {width} for {classes} on images of {size} pixels")
        }
        _ => format!("A U-Net for {classes}"),
    };
    let data = &run.report.data;
    match (data.train_images, data.val_images) {
        (Some(train), Some(val)) => {
            let (train, val) = (count(train), count(val));
            format!("{network}, {train} for training and {val} for validation.")
        }
        _ => network + ".",
    }
}

/// What its data are, a sentence for each note about them.
pub(super) fn data(run: &Run) -> Vec<String> {
    let mut is_quoted = false;
    let mut notes: Vec<String> = Vec::new();
    let description = run.report.data.description.as_deref().unwrap_or_default();
    for part in description.split("; ") {
        // A name may hold what stands between notes.
        match notes.last_mut() {
            Some(note) if is_quoted => note.extend(["; ", part]),
            _ => notes.push(part.to_owned()),
        }
        is_quoted ^= part.matches('`').count() % 2 == 1;
    }
    let notes = notes.iter().filter(|it| !it.is_empty());
    notes.map(|it| sentence(it)).collect()
}

/// The result in large figures.
pub(super) fn scores(run: &Run) -> Value {
    let validation = run.summary.as_ref().map(|it| it.validation.clone());
    let validation = validation.unwrap_or_default();
    let best = run.best();
    let last = run.rows.last().map(|it| it.epoch);
    let iou = validation.best_iou.or(best.and_then(|it| it.val_iou));
    let threshold = validation
        .best_threshold
        .zip(validation.best_threshold_iou)
        .map(|(at, iou)| format!("{} at threshold {at:.2}", score(iou)));
    json!({
        "iou": iou,
        "dice": validation.best_dice.or(best.and_then(|it| it.val_dice)),
        "epoch": validation.best_epoch.or(best.filter(|_| iou.is_some()).map(|it| it.epoch)),
        "epochs": run.summary.as_ref().map(|it| it.epochs).or(last),
        "threshold": threshold,
    })
}

/// The peak of tensor bytes: that of the summary or of the latest epoch.
pub(super) fn peak(run: &Run) -> Option<u64> {
    let summary = run
        .summary
        .as_ref()
        .and_then(|it| it.memory.peak_allocated_bytes);
    summary.or(run.rows.last().and_then(|it| it.peak_allocated_bytes))
}

/// What the processes of a run said of its last epoch.
fn ranks(run: &Run) -> Option<String> {
    let said = run.events.iter().rev().find(|it| is_of_ranks(it))?;
    let ranks = said.get("ranks")?.as_array()?;
    let waited = ranks.iter().filter_map(|it| it["waited_seconds"].as_f64());
    let peaks = ranks
        .iter()
        .filter_map(|it| it["peak_allocated_bytes"].as_u64());
    let seconds = |it: f64| format!("{} s", short(it));
    let (least, most) = waited.fold((f64::MAX, 0.0_f64), |(least, most), it| {
        (least.min(it), most.max(it))
    });
    Some(format!(
        "peaks of {} to {}; {} to {} of the last epoch spent waiting for each other",
        Bytes(peaks.clone().min()?),
        Bytes(peaks.max()?),
        seconds(least),
        seconds(most)
    ))
}

/// Facts with a name, a value and a note.
pub(super) fn facts(run: &Run) -> Vec<(&'static str, String, String)> {
    let mut facts = Vec::new();
    if let Some(summary) = &run.summary {
        facts.push((
            "device",
            summary.device.name.clone(),
            summary.precision.clone(),
        ));
        if summary.ranks > 1 {
            let note = ranks(run).unwrap_or_default();
            facts.push(("processes", summary.ranks.to_string(), note));
        }
        let steps = format!("{} steps", count(summary.steps));
        facts.push(("time", duration(summary.seconds), steps));
    }
    let data = &run.report.data;
    if let Some(images) = data.train_images {
        let images = images + data.val_images.unwrap_or(0);
        let channels = data.channels.map(|it| format!("channels: {it}"));
        facts.push(("images", count(images), channels.unwrap_or_default()));
    }
    if let Some(peak) = peak(run) {
        let predicted = run
            .summary
            .as_ref()
            .and_then(|it| it.memory.predicted_peak_bytes);
        let note = predicted.map(|it| against(peak, it)).unwrap_or_default();
        facts.push(("peak memory of tensors", Bytes(peak).to_string(), note));
    }
    let summary = run.summary.as_ref();
    if let Some(speed) = summary.and_then(|it| it.throughput.images_per_second) {
        let step = summary.and_then(|it| it.throughput.step_ms_median);
        let note = format!("{} ms per step", said(step.map(short)));
        facts.push(("training speed", format!("{} images/s", short(speed)), note));
    }
    facts
}
