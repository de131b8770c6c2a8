//! What several ranks say of an epoch.

use std::time::Duration;

use engine::team::{Overlap, RankShare};
use engine::trainer::EpochReport;
use serde_json::json;

use super::{Recorder, milliseconds};
use crate::command::console;

impl Recorder {
    /// Logs whether gradients travel during backward, and what that was decided by.
    pub(super) fn log_overlap(&mut self, step: u64, overlap: Overlap) {
        let [after, during] = [overlap.after, overlap.during].map(milliseconds);
        let event = json!({
            "event": "overlap",
            "step": step,
            "on": overlap.is_on,
            "step_ms_after": after,
            "step_ms_during": during,
        });
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
        self.progress.clear();
        console::note(&if overlap.is_on {
            format!(
                "ranks: gradients travel during backward (a step takes {during:.0} ms; {after:.0} ms if they travel \
                 after it)"
            )
        } else {
            format!(
                "ranks: gradients travel after backward (a step takes {after:.0} ms; {during:.0} ms if they travel \
                 during it)"
            )
        });
    }

    /// Logs what each of several ranks says of the epoch, and names one that all others wait for.
    /// `micro_batches` is the number of them in a step.
    pub(super) fn compare_ranks(&mut self, report: &EpochReport, micro_batches: u32) {
        if report.ranks.is_empty() {
            return;
        }
        let each = report.ranks.iter().map(|it| {
            json!({
                "waited_seconds": it.waited.as_secs_f64(),
                "data_seconds": it.data.as_secs_f64(),
                "peak_allocated_bytes": it.peak_bytes,
            })
        });
        let event =
            json!({"event": "ranks", "epoch": report.epoch + 1, "ranks": each.collect::<Vec<_>>()});
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
        // Where some have nothing to do, they wait for the others.
        let are_all_busy = micro_batches as usize >= report.ranks.len();
        let slowest = slowest(&report.ranks, report.spent.training).filter(|_| are_all_busy);
        if let Some((rank, share)) = slowest.filter(|(rank, _)| self.slowest != Some(*rank)) {
            self.slowest = Some(rank);
            self.progress.clear();
            console::note(&format!(
                "ranks: the others waited for rank {rank} {:.0} % of the time",
                100.0 * share
            ));
        }
    }
}

/// The rank that others wait for, and the share of the `training` time that the least patient of them waits, if that is
/// much.
fn slowest(ranks: &[RankShare], training: Duration) -> Option<(usize, f64)> {
    const MUCH: f64 = 0.15;
    let (rank, own) = ranks.iter().enumerate().min_by_key(|(_, it)| it.waited)?;
    let others = ranks.iter().enumerate().filter(|(it, _)| *it != rank);
    let least = others.map(|(_, it)| it.waited).min()?;
    let share = least.saturating_sub(own.waited).as_secs_f64() / training.as_secs_f64().max(1e-9);
    (share > MUCH).then_some((rank, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_that_all_others_wait_for_is_named() {
        let ranks = |waited: &[u64]| -> Vec<RankShare> {
            let share = |&seconds| RankShare {
                waited: Duration::from_secs(seconds),
                data: Duration::ZERO,
                peak_bytes: 0,
            };
            waited.iter().map(share).collect()
        };
        let named = |waited: &[u64]| slowest(&ranks(waited), Duration::from_secs(100));
        assert_eq!(named(&[30, 1, 40]), Some((1, 0.29)));
        assert_eq!(named(&[1, 1, 40]), None);
        assert_eq!(named(&[9, 0]), None);
        assert_eq!(named(&[]), None);
    }
}
