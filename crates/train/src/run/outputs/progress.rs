//! Progress: a dashboard or a bar on a terminal, otherwise a line per epoch on stderr.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use config::Bytes;
use config::cli::console;
use figures::numbers::duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use locale::{Language, translated};
use tch::Device;

use super::live::Live;
use engine::device;
use engine::trainer::{EpochReport, Trainer};

/// Time after which [`count`] says how far it is, and then again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says every few seconds how many images have been dealt with, as in `reading: 120 of 3000 images`. It
/// can be called from several threads.
pub fn count(what: &'static str) -> impl Fn(usize, usize) + Sync {
    let said = Mutex::new(Instant::now());
    move |done, all| {
        let Ok(mut said) = said.try_lock() else {
            return;
        };
        if said.elapsed() >= PATIENCE && done < all {
            console::note(&format!("{what}: {done} of {all} images"));
            *said = Instant::now();
        }
    }
}

/// The bar of an epoch, and lines between epochs.
#[derive(Debug)]
pub struct Progress {
    device: Device,
    epochs: u32,
    /// Epochs and steps done before this process started.
    before: (u32, u64),
    bar: ProgressBar,
    started: Instant,
    epoch_started: Instant,
    epoch: u32,
    images: u64,
    loss: Option<f64>,
    live: Option<Live>,
}

impl Progress {
    /// Progress of the run of `trainer` from here on.
    pub fn new(trainer: &Trainer) -> Self {
        let now = Instant::now();
        let epoch = trainer.position().epoch;
        Self {
            device: trainer.learner.device(),
            epochs: trainer.config.epochs,
            before: (epoch, trainer.steps()),
            bar: ProgressBar::hidden(),
            started: now,
            epoch_started: now,
            epoch,
            images: 0,
            loss: None,
            live: None,
        }
    }

    /// Shows everything from now on in a dashboard instead.
    pub(crate) fn show_in(&mut self, live: Live) {
        self.live = Some(live);
    }

    /// Gives the terminal back.
    pub fn close(&mut self) {
        self.live = None;
        self.clear();
    }

    /// The prediction of memory was for another recipe.
    pub fn forget_prediction(&self) {
        self.live.iter().for_each(Live::forget_prediction);
    }

    /// Shows a bar of `num_batches`, which have `num_images`, for `epoch` (from 0).
    pub fn epoch_started(&mut self, epoch: u32, num_batches: usize, num_images: usize) {
        self.epoch = epoch;
        self.images = 0;
        self.loss = None;
        self.epoch_started = Instant::now();
        if let Some(live) = &mut self.live {
            return live.epoch_started(epoch, num_images);
        }
        self.bar = bar(num_batches as u64);
        let prefix = format!("epoch {}/{}", epoch + 1, self.epochs);
        self.bar.set_prefix(translated(&prefix).into_owned());
    }

    /// A batch is done.
    pub fn batch_done(&mut self, images: usize, loss: Option<f64>) {
        self.images += images as u64;
        self.loss = loss.or(self.loss);
        if let Some(live) = &mut self.live {
            return live.batch_done(images, loss);
        }
        // The bar is hidden, so querying the device's memory would be wasted work.
        if self.bar.is_hidden() {
            return;
        }
        let loss = self
            .loss
            .map_or_else(|| "-".to_owned(), |l| format!("{l:.4}"));
        let message = format!(
            "loss {loss}  {:.1} img/s  peak {}",
            self.speed().unwrap_or_default(),
            self.memory()
        );
        self.bar.set_message(translated(&message).into_owned());
        self.bar.inc(1);
    }

    /// The epoch (from 0), the images of it that are done, images per second, and the loss as last read.
    pub fn state(&self) -> (u32, u64, Option<f64>, Option<f64>) {
        (self.epoch, self.images, self.speed(), self.loss)
    }

    /// Images per second in this epoch, if this process trained any: a resumed run may only validate.
    fn speed(&self) -> Option<f64> {
        let seconds = self.epoch_started.elapsed().as_secs_f64().max(1e-9);
        (self.images > 0).then(|| self.images as f64 / seconds)
    }

    /// Validation begins.
    pub fn validation_started(&mut self) {
        if let Some(live) = &self.live {
            return live.validation_started();
        }
        self.bar.set_message(translated("validating"));
    }

    /// Prints the line of a finished epoch.
    pub fn epoch_done(&mut self, trainer: &Trainer, report: &EpochReport) {
        if let Some(live) = &mut self.live {
            live.epoch_done(trainer, report);
        }
        self.bar.finish_and_clear();
        let eta = self.started.elapsed().mul_f64(self.left(trainer, report));
        let (epoch, epochs) = (report.epoch + 1, self.epochs);
        let (loss, iou, dice) = (report.train_loss, report.scores.iou, report.scores.dice);
        let (peak, eta) = (self.memory(), duration(eta));
        let best = if report.is_best { "  best" } else { "" };
        let width = epochs.to_string().len();
        self.line(&match self.speed() {
            Some(speed) => format!(
                "epoch {epoch:>width$}/{epochs}  loss {loss:.4}  val IoU {iou:.4}  Dice {dice:.4}  {speed:.1} img/s  \
                 peak {peak}  ETA {eta}{best}"
            ),
            None => format!(
                "epoch {epoch:>width$}/{epochs}  loss {loss:.4}  val IoU {iou:.4}  Dice {dice:.4}  peak {peak}  \
                 ETA {eta}{best}"
            ),
        });
    }

    /// What is left of the run after an epoch, in parts of what this process has done.
    fn left(&self, trainer: &Trainer, report: &EpochReport) -> f64 {
        let (epochs, steps) = self.before;
        let done = report.epoch + 1;
        let left =
            f64::from(self.epochs.saturating_sub(done)) / f64::from(done - epochs.min(done - 1));
        let left_of = |max: u64| {
            let done = trainer.steps().saturating_sub(steps).max(1);
            max.saturating_sub(trainer.steps()) as f64 / done as f64
        };
        trainer
            .config
            .max_steps
            .map_or(left, |max| left.min(left_of(max)))
    }

    /// Removes the bar, so that the next output stands alone.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// A line that is not for a dashboard, which has it already.
    fn line(&self, text: &str) {
        if self.live.is_none() {
            console::note(text);
        }
    }

    fn memory(&self) -> String {
        let peak = device::peak(self.device);
        let bytes = peak.reserved_bytes.unwrap_or(peak.allocated_bytes);
        if bytes < Bytes::GIB {
            format!("{:.0} MiB", Bytes(bytes).as_mib())
        } else {
            format!("{:.2} GiB", Bytes(bytes).as_gib())
        }
    }
}

fn bar(len: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    let eta = Language::spoken().word("progress", "ETA");
    let template = format!("{{prefix}} [{{bar:30}}] {{pos}}/{{len}}  {{msg}}  {eta} {{eta}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
