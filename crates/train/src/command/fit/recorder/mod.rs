//! Records a run: progress, logs, weights, and at the end the summary.

mod finish;
mod measured;
mod ranks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use advisor::Change;
use advisor::ledger::{LargestBatch, Predicted};
use serde_json::json;
use tch::Device;

use self::measured::MeasuredStep;
use super::cores::{self, Cores};
use super::keeper::Keeper;
use super::report::{in_words, where_it_failed};
use super::story::Story;
use crate::command::console;
use dashboard::Command;
use engine::device;
use engine::interrupt::Interrupt;

use crate::error::{Error, Result};
use crate::lab::fault;
use crate::run::outputs::live::{Live, Shown};
use crate::run::outputs::{Fallback, Progress, RunDir, tensorboard};
use crate::run::snapshot::Record;
use config::Precision;
use engine::ladder::{Failure, Rung};
use engine::team::Overlap;
use engine::trainer::{Agreement, Decided, EpochReport, Observer, Trainer};

pub(super) const BEST: &str = "best.safetensors";
pub(super) const LAST: &str = "last/weights.safetensors";
const SAMPLES: &str = "samples";
/// The number of sample pictures.
const NUM_SAMPLES: usize = 4;

/// Observes a run and keeps its folder.
#[derive(Debug)]
pub(super) struct Recorder {
    dir: RunDir,
    keeper: Keeper,
    device: Device,
    progress: Progress,
    /// The record when this process took over.
    before: Record,
    best: Option<EpochReport>,
    /// The best threshold in the last validation, with one class.
    threshold: Option<f64>,
    epochs: u32,
    metrics_rows: u64,
    started: Instant,
    /// Whether a write failed and the user was told.
    is_failing: bool,
    predicted: Predicted,
    /// Whether a rung of this run led to another recipe.
    is_changed: bool,
    largest_batch: LargestBatch,
    /// Images per forward pass.
    batch: usize,
    /// The fallbacks before and during the run.
    fallbacks: Vec<Fallback>,
    /// Updates skipped up to the last epoch.
    skipped_updates: u64,
    /// The rank that others were said to wait for.
    slowest: Option<usize>,
    /// The first step, in which a GPU tries algorithms, is done.
    is_search_over: bool,
    reported_at: Instant,
    /// The event file for TensorBoard, if there is one.
    tensorboard: Option<String>,
    story: Story,
    measured: MeasuredStep,
    wishes: Wishes,
    cores: Cores,
}

/// What the user asks for during the run.
#[derive(Clone, Debug, Default)]
struct Wishes {
    interrupt: Interrupt,
    /// The run ends after the epoch.
    ends_run: Arc<AtomicBool>,
}

impl Wishes {
    /// Takes a command of a dashboard, on its thread.
    fn take(&self, command: Command) {
        match command {
            Command::StopNow => self.interrupt.request(),
            Command::StopAfterEpoch => self.ends_run.store(true, Ordering::Relaxed),
        }
    }
}

impl Recorder {
    /// Writes the resolved configuration first. `before` is the record of the run so far.
    pub(super) fn new(
        mut dir: RunDir,
        keeper: Keeper,
        before: Record,
        trainer: &Trainer,
        (predicted, largest_batch): (Predicted, LargestBatch),
        changes: &[Change],
        mut story: Story,
    ) -> Result<Self> {
        write_config(&mut dir, trainer)?;
        story.begin(&mut dir, trainer)?;
        let last = dir.file("last");
        std::fs::create_dir_all(&last).map_err(|e| Error::io("create", last, e))?;
        let steps = trainer.steps();
        let event = if steps == 0 { "started" } else { "resumed" };
        let precision = trainer.learner.precision.as_str();
        dir.log_event(&json!({"event": event, "precision": precision, "step": steps}))?;
        for change in changes {
            dir.log_event(&json!({"event": "changed", "change": change}))?;
        }
        let mut fallbacks = before.fallbacks.clone();
        fallbacks.extend(changes.iter().map(Fallback::before_the_run));
        Ok(Self {
            dir,
            keeper,
            device: trainer.learner.device(),
            progress: Progress::new(trainer),
            best: before.best.clone(),
            threshold: before.threshold,
            epochs: before.epochs,
            metrics_rows: before.metrics_rows,
            started: Instant::now(),
            is_failing: false,
            predicted: if before.is_changed {
                Predicted::default()
            } else {
                predicted
            },
            is_changed: before.is_changed,
            before,
            largest_batch,
            batch: trainer.config.batch as usize,
            fallbacks,
            skipped_updates: trainer.skipped_updates()?,
            slowest: None,
            is_search_over: false,
            reported_at: Instant::now(),
            tensorboard: None,
            measured: MeasuredStep::new(trainer),
            story,
            wishes: Wishes::default(),
            cores: Cores::new(false),
        })
    }

    /// Also writes an event file for TensorBoard, if it is wanted.
    pub(super) fn begin_tensorboard(&mut self, trainer: &Trainer, is_wanted: bool) -> Result<()> {
        if !is_wanted {
            return Ok(());
        }
        let name = tensorboard::file_name();
        let settings = trainer.config.to_toml().parse().unwrap_or_default();
        let records = tensorboard::beginning(trainer.steps(), &settings);
        self.dir.append_to(&name, &records)?;
        self.tensorboard = Some(name);
        Ok(())
    }

    /// Ends the run when `interrupt` asks for it.
    pub(super) fn obey(&mut self, interrupt: &Interrupt) {
        self.wishes.interrupt = interrupt.clone();
    }

    /// Lets the number of threads follow what other programs leave of the cores.
    pub(super) fn share_cores(&mut self) {
        self.cores = Cores::new(true);
    }

    fn threads_changed(&mut self, step: u64, changed: cores::Changed) {
        let cores::Changed {
            others,
            threads,
            all,
        } = changed;
        self.progress.clear();
        console::note(&format!(
            "cores: other programs use {:.1} of {}; from step {step} on, a step takes {threads} of {all} threads",
            others.used, others.cores
        ));
        let event = json!({
            "event": "threads", "step": step, "threads": threads, "all": all, "others": others.used,
        });
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
    }

    /// Shows the run in a dashboard, whose keys can end it.
    pub(super) fn begin_live(&mut self, trainer: &Trainer, shown: Shown) {
        let wishes = self.wishes.clone();
        match Live::open(trainer, shown, move |command| wishes.take(command)) {
            Ok(live) => self.progress.show_in(live),
            Err(error) => console::note(&format!("no dashboard: {error}")),
        }
    }

    fn show_in_tensorboard(&mut self, records: impl FnOnce() -> Vec<u8>) {
        if let Some(name) = &self.tensorboard {
            let written = self.dir.append_to(name, &records());
            self.warn_unwritten(written);
        }
    }

    /// The first step on a GPU tries algorithms, in workspaces that no later step needs: its peak is
    /// logged, and is no part of the run's.
    fn end_search(&mut self, trainer: &Trainer) {
        if !self.device.is_cuda() || trainer.config.deterministic {
            return;
        }
        let peak = device::peak(self.device);
        let logged = self.dir.log_event(&json!({
            "event": "algorithm-search",
            "peak_allocated_bytes": peak.allocated_bytes,
            "peak_reserved_bytes": peak.reserved_bytes,
        }));
        self.warn_unwritten(logged);
        device::reset_peak(self.device);
    }

    /// About once a second, for another program.
    fn report_progress(&mut self) {
        const EVERY: Duration = Duration::from_secs(1);
        if self.reported_at.elapsed() < EVERY {
            return;
        }
        self.reported_at = Instant::now();
        let (epoch, images, speed, loss) = self.progress.state();
        console::json(&json!({
            "event": "progress",
            "epoch": epoch + 1,
            "images": images,
            "images_per_second": speed,
            "loss": loss,
        }));
    }

    /// Skipped updates are normal only while the scaler looks for its scale.
    fn warn_skipped(&mut self, trainer: &Trainer, report: &EpochReport) {
        let num = report.skipped_updates.saturating_sub(self.skipped_updates);
        self.skipped_updates = report.skipped_updates;
        if num > 0 && trainer.learner.precision != Precision::Fp16 {
            self.progress.clear();
            console::warn(&format!(
                "epoch {}: {num} of its updates skipped, because a gradient was not finite; the weights \
                 stayed as they were",
                report.epoch + 1
            ));
        }
    }

    /// The part of a snapshot that describes the files and the summary.
    fn record(&self) -> Record {
        let peak = device::peak(self.device);
        let before = &self.before;
        Record {
            metrics_rows: self.metrics_rows,
            epochs: self.epochs,
            seconds: before.seconds + self.started.elapsed().as_secs_f64(),
            peak_allocated_bytes: peak.allocated_bytes.max(before.peak_allocated_bytes),
            peak_reserved_bytes: peak.reserved_bytes.max(before.peak_reserved_bytes),
            models_dir: before.models_dir.clone(),
            best: self.best.clone(),
            threshold: self.threshold,
            fallbacks: self.fallbacks.clone(),
            is_changed: self.is_changed,
            is_together: before.is_together,
        }
    }

    /// Warns once that a write failed. It is retried with the next write, and makes the run fail only if
    /// it still fails at the end.
    fn warn_unwritten(&mut self, written: Result<()>) {
        match written {
            Err(error) if !self.is_failing => {
                let hint = error.hint().map_or_else(String::new, |h| format!(" ({h})"));
                console::warn(&format!(
                    "{}; the run goes on and tries again{hint}",
                    error.message()
                ));
                self.is_failing = true;
            }
            written => self.is_failing = written.is_err(),
        }
    }

    /// Rewrites the configuration, which a warm-up may have changed.
    pub(super) fn write_config(&mut self, trainer: &Trainer) -> Result<()> {
        write_config(&mut self.dir, trainer)
    }

    /// Records how AMP compares with fp32.
    pub(super) fn compared(&mut self, precision: Precision, agreement: &Agreement) {
        let line = format!("AMP check ({}): {agreement}", precision.as_str());
        if agreement.holds() {
            console::note(&line);
        } else {
            console::warn(&format!("{line}; `--amp off` is safe"));
        }
        let event = json!({
            "event": "amp-check",
            "precision": precision.as_str(),
            "holds": agreement.holds(),
            "mean_difference": agreement.mean,
            "largest_difference": agreement.largest,
        });
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
    }
}

impl Observer<Error> for Recorder {
    fn epoch_started(&mut self, epoch: u32, num_batches: usize) {
        self.story.epoch_begins();
        let num_images = num_batches * self.batch;
        self.progress.epoch_started(epoch, num_batches, num_images);
    }

    fn batch_done(&mut self, images: usize, loss: Option<f64>) {
        self.progress.batch_done(images, loss);
        self.report_progress();
    }

    fn rung_taken(&mut self, trainer: &Trainer, failure: &Failure, rung: &Rung) {
        self.measured.step_failed();
        let step = trainer.steps();
        self.progress.clear();
        let rank = trainer.team().failed_rank();
        console::warn(&in_words(step, failure, rank, rung));
        // From here on the results differ: this snapshot preserves the state before the change.
        if !rung.is_bit_exact && step > 0 {
            self.keeper.try_write(trainer, self.record());
        }
        if rung.recipe != trainer.recipe() {
            // The prediction was for another recipe, and the peak so far stays in the record.
            self.predicted = Predicted::default();
            self.progress.forget_prediction();
            self.is_changed = true;
        }
        let fallback = Fallback::of(step, where_it_failed(failure, rank), rung);
        let event =
            json!({"event": "fallback", "fallback": fallback, "bit_exact": rung.is_bit_exact});
        self.story.rung_taken(&fallback);
        self.fallbacks.push(fallback);
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
    }

    fn graph_decided(&mut self, trainer: &Trainer, decided: Decided) {
        let step = trainer.steps();
        let share = decided.host_share;
        self.progress.clear();
        let why = share.map_or_else(String::new, |share| {
            format!(": launches take {:.0} % of a step's time", 100.0 * share)
        });
        let choice = if decided.is_recorded { "on" } else { "off" };
        console::note(&format!("CUDA graph: {choice}{why}"));
        let event = json!({"event": "cuda-graph", "step": step, "on": decided.is_recorded, "host_share": share});
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
    }

    fn overlap_decided(&mut self, trainer: &Trainer, overlap: Overlap) {
        self.log_overlap(trainer.steps(), overlap);
    }

    fn loss_explodes(&mut self, trainer: &Trainer, times: f64) {
        let step = trainer.steps();
        self.progress.clear();
        console::warn(&format!(
            "step {step}: the loss is {times:.0} times what it was at first; `--lr` is probably too \
             high"
        ));
        let event = json!({"event": "loss-explodes", "step": step, "times": times});
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
    }

    fn step_done(&mut self, trainer: &Trainer, is_last: bool) {
        self.measured.step_done(trainer, is_last);
        if let Some(changed) = self.cores.step_done() {
            self.threads_changed(trainer.steps(), changed);
        }
        if !self.is_search_over && !is_last {
            self.is_search_over = true;
            self.end_search(trainer);
        }
        if is_last || self.keeper.is_due() {
            let begun = Instant::now();
            self.keeper.try_write(trainer, self.record());
            self.story.saved_since(begun);
        }
    }

    fn validation_started(&mut self) {
        self.progress.validation_started();
    }

    fn epoch_done(&mut self, trainer: &Trainer, report: &EpochReport) -> Result<()> {
        let begun = Instant::now();
        self.story.epoch_took(report.spent);
        let step_ms = trainer.step_time_median().map(milliseconds);
        let peak = device::peak(self.device);
        if !self.dir.path().exists() {
            console::warn(&format!(
                "`{}` is gone, with what was in it: it is made again",
                self.dir.path().display()
            ));
            let config = self.write_config(trainer);
            self.warn_unwritten(config);
        }
        let row = json!({
            "epoch": report.epoch + 1,
            "steps": report.steps,
            "lr": report.lr,
            "train_loss": report.train_loss,
            "val_loss": report.val_loss,
            "val_iou": report.scores.iou,
            "val_dice": report.scores.dice,
            "best_threshold": report.scores.best_threshold,
            "per_class": report.scores.per_class,
            "scale": report.scale,
            "skipped_updates": report.skipped_updates,
            "step_ms_median": step_ms,
            "data_wait": report.data_wait,
            "peak_allocated_bytes": peak.allocated_bytes,
            "peak_reserved_bytes": peak.reserved_bytes,
        });
        self.warn_skipped(trainer, report);
        self.compare_ranks(report, trainer.config.accumulation);
        if report.is_best {
            self.best = Some(report.clone());
        }
        self.threshold = report.scores.best_threshold.map(|best| best.threshold);
        self.epochs = report.epoch + 1;
        self.metrics_rows += 1;
        // The order matters: a snapshot relies on the line, and a resumed run recreates the weights
        // files (`resume`).
        let logged = self.dir.log_metrics(&row);
        self.warn_unwritten(logged);
        self.show_in_tensorboard(|| tensorboard::epoch(report, step_ms, peak));
        fault::reached("epoch:logged");
        let record = self.record();
        self.keeper.try_write(trainer, record);
        let bytes = self.keeper.weights(trainer, self.threshold)?;
        if report.is_best {
            let saved = self.dir.write(BEST, bytes.clone());
            self.warn_unwritten(saved);
            fault::reached("epoch:best-saved");
        }
        let saved = self.dir.write(LAST, bytes);
        self.warn_unwritten(saved);
        self.story.saved_since(begun);
        self.progress.epoch_done(trainer, report);
        Ok(())
    }

    fn ends_run(&self) -> bool {
        self.wishes.ends_run.load(Ordering::Relaxed)
    }
}

fn write_config(dir: &mut RunDir, trainer: &Trainer) -> Result<()> {
    dir.write("config.toml", trainer.config.to_toml())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
