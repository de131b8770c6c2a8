//! Messages of a run to its user: each rung taken, and the outcome at the end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::run::limit::Limit;
use crate::run::outputs::{Status, Summary};
use engine::ladder::{Failure, Rung};
use engine::trainer::EpochReport;

/// The failure, the change in response, and its consequences.
pub(super) fn in_words(step: u64, failure: &Failure, rank: Option<usize>, rung: &Rung) -> String {
    let Rung {
        from,
        to,
        is_bit_exact,
        ..
    } = rung;
    let bits = if *is_bit_exact {
        "every bit stays as it would have been"
    } else {
        "rounding differs from here on"
    };
    if let Failure::Slow { .. } = failure {
        return format!("measured before the run: {failure}; {from} -> {to}: {bits}");
    }
    let failure = where_it_failed(failure, rank);
    format!(
        "step {}: {failure}; {from} -> {to}, and the same step again: {bits}",
        step + 1
    )
}

/// The failure, and of several ranks the first that had it.
pub(super) fn where_it_failed(failure: &Failure, rank: Option<usize>) -> String {
    match rank {
        Some(rank) => format!("{failure} on rank {rank}"),
        None => failure.to_string(),
    }
}

/// The outcome of a run and the files that it left in its folder, including the summary if it could be
/// written.
pub(super) fn report(summary: &Summary, best: Option<&EpochReport>, folder: &Path) -> String {
    let mut lines = Vec::new();
    if let Some(best) = best {
        let early = if summary.status == Status::EarlyStopped {
            " (stopped early)"
        } else {
            ""
        };
        let ended = match summary.status {
            Status::Completed | Status::EarlyStopped => "done",
            Status::Stopped => "stopped after an epoch, as asked",
            Status::Interrupted => "interrupted",
            Status::EmergencyStop => "stopped, since memory was nearly full",
            Status::Failed => "failed",
        };
        lines.push(format!(
            "{ended}: {} epoch(s), {} step(s) in {:.0} s{early}",
            summary.epochs, summary.steps, summary.seconds
        ));
        lines.push(format!(
            "validation IoU {:.4}, Dice {:.4} (epoch {})",
            best.scores.iou,
            best.scores.dice,
            best.epoch + 1
        ));
        if let Some(threshold) = best.scores.best_threshold {
            lines.push(format!(
                "best threshold {:.2}: IoU {:.4}",
                threshold.threshold, threshold.iou
            ));
        }
        lines.extend(best.scores.uncounted());
        if best.scores.per_class.len() > 1 {
            lines.extend(best.scores.per_class.iter().map(ToString::to_string));
        }
    }
    lines.push("files:".to_owned());
    let files = &summary.artifacts;
    let there = |name| Some(PathBuf::from(name)).filter(|name| folder.join(name).exists());
    let (page, itself) = (there(report::FILE_NAME), there("summary.json"));
    for (path, what) in [
        (&files.best, "best weights"),
        (&files.last, "last weights"),
        (&files.model, "copy of the best weights"),
        (&files.config, "configuration"),
        (&files.metrics, "one line per epoch"),
        (&files.events, "what happened"),
        (&files.samples, "image, mask and prediction side by side"),
        (&itself, "summary"),
        (&page, "all of it on one page, for a browser"),
    ] {
        if let Some(path) = path {
            lines.push(format!("  {}  {what}", folder.join(path).display()));
        }
    }
    lines.join("\n")
}

/// What limited a run and what would help, and the command that goes on from it.
pub(super) fn last_words(limit: Option<&Limit>, uses: &[(&'static str, String)]) -> String {
    let mut lines = String::new();
    if let Some(limit) = limit {
        let advice = limit
            .advice()
            .map_or_else(String::new, |it| format!("; {it}"));
        // Writing to a `String` cannot fail.
        let _ = write!(lines, "\nlimited by {limit}{advice}");
    }
    if !uses.is_empty() {
        lines.push_str("\nnext:");
    }
    for (what, command) in uses {
        let _ = write!(lines, "\n  {command}\n    to {what}");
    }
    lines
}
