//! The dashboard of a run: what happens, as its updates.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Bytes;
use dashboard::{
    Colors, Command, Dashboard, Epoch, Phase, Picture, Prediction, State, Update, View,
};
use data::masks::IGNORE;
use data::{Sample, Source};
use engine::device;
use engine::trainer::{EpochReport, Trainer};
use locale::{Language, translated};
use tch::Device;

use super::samples;

/// The number of images that are searched for one with foreground.
const LOOKED_AT: usize = 50;
/// Memory is read at most this often.
const EVERY: Duration = Duration::from_millis(200);

/// What a dashboard shows from the beginning.
pub(crate) struct Shown {
    /// Name of the run.
    pub(crate) title: String,
    /// The language of its words.
    pub(crate) language: Language,
    /// Bytes at the predicted peak, if it is predicted.
    pub(crate) predicted_bytes: Option<u64>,
    /// Bytes that the run may use, if they are limited.
    pub(crate) limit_bytes: Option<u64>,
    /// Images of an epoch.
    pub(crate) num_images: usize,
    /// Images of which one is shown with its prediction.
    pub(crate) val: Arc<dyn Source>,
}

/// An open dashboard.
pub(crate) struct Live {
    dashboard: Dashboard,
    device: Device,
    num_images: u64,
    done: u64,
    read_at: Instant,
    val: Arc<dyn Source>,
    /// The image that is shown after each epoch.
    looked_at: Option<usize>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// Opens a dashboard for the run of `trainer`, which calls `on_command` on a thread of its own.
    ///
    /// # Errors
    /// If the terminal cannot be taken over; it is left as it was.
    pub(crate) fn open(
        trainer: &Trainer,
        shown: Shown,
        on_command: impl Fn(Command) + Send + 'static,
    ) -> io::Result<Self> {
        let device = trainer.learner.device();
        let state = State {
            title: shown.title,
            device: device::name(device),
            recipe: recipe(trainer),
            num_epochs: trainer.config.epochs,
            ends_after: Some(trainer.config.epochs_of(shown.num_images as u64)),
            memory: dashboard::Memory {
                peak: None,
                predicted: shown.predicted_bytes.map(Bytes),
                limit: shown
                    .limit_bytes
                    .or_else(|| device::total_bytes(device))
                    .map(Bytes),
            },
            ..State::default()
        };
        let view = View::new(shown.language, Colors::from_env());
        Ok(Self {
            dashboard: Dashboard::start(state, view, on_command)?,
            device,
            num_images: shown.num_images as u64,
            done: 0,
            read_at: Instant::now(),
            val: shown.val,
            looked_at: None,
        })
    }

    /// An epoch (from 0) begins, of which `num_left` images are left.
    pub(crate) fn epoch_started(&mut self, epoch: u32, num_left: usize) {
        self.done = self.num_images.saturating_sub(num_left as u64);
        self.dashboard.send(Update::EpochStarted {
            epoch: epoch + 1,
            done: self.done,
            num_images: self.num_images,
        });
    }

    /// A batch is done.
    pub(crate) fn batch_done(&mut self, images: usize, loss: Option<f64>) {
        self.done += images as u64;
        let done = self.done;
        self.dashboard.send(Update::Batch { done, loss });
        if self.read_at.elapsed() >= EVERY {
            self.read_at = Instant::now();
            self.say_memory();
        }
    }

    /// Validation begins.
    pub(crate) fn validation_started(&self) {
        self.dashboard.send(Update::Phase(Phase::Validating));
    }

    /// An epoch is done.
    pub(crate) fn epoch_done(&mut self, trainer: &Trainer, report: &EpochReport) {
        self.dashboard.send(Update::EpochDone(Epoch {
            epoch: report.epoch + 1,
            train_loss: report.train_loss,
            val_loss: report.val_loss,
            iou: report.scores.iou,
            dice: report.scores.dice,
        }));
        self.dashboard.send(Update::DataWait(report.data_wait));
        self.dashboard.send(Update::Recipe(recipe(trainer)));
        self.say_memory();
        let degrees = device::temperature(self.device);
        self.dashboard.send(Update::Temperature(degrees));
        // A picture is no reason to end a run.
        if let Some(prediction) = self.prediction(trainer) {
            self.dashboard
                .send(Update::Prediction(Box::new(prediction)));
        }
        self.dashboard.send(Update::Phase(Phase::Saving));
    }

    /// The recipe is another one, for which nothing was predicted.
    pub(crate) fn forget_prediction(&self) {
        self.dashboard.send(Update::MemoryPredicted(None));
    }

    fn say_memory(&self) {
        let peak = device::peak(self.device);
        let bytes = peak.reserved_bytes.unwrap_or(peak.allocated_bytes);
        self.dashboard.send(Update::MemoryPeak(Bytes(bytes)));
    }

    /// The prediction for the first image that has foreground, always the same.
    fn prediction(&mut self, trainer: &Trainer) -> Option<Prediction> {
        let val = Arc::clone(&self.val);
        let has_foreground = |&index: &usize| {
            val.load(index)
                .is_ok_and(|it| it.mask.iter().any(|class| !matches!(*class, 0 | IGNORE)))
        };
        let index = *self.looked_at.get_or_insert_with(|| {
            (0..val.len().min(LOOKED_AT))
                .find(has_foreground)
                .unwrap_or(0)
        });
        let evaluator = trainer.learner.evaluator();
        let (sample, answer) = samples::answered(evaluator, val.as_ref(), index).ok()?;
        let width = val.size().1;
        let picture = |rgb: &[u8]| Picture::new(width, rgb.as_chunks::<3>().0.to_vec());
        let Sample { mask, .. } = &sample;
        Some(Prediction {
            name: val.name(index),
            image: picture(&sample.rgb())?,
            mask: picture(&samples::colours(val.as_ref(), mask))?,
            answer: picture(&samples::colours(val.as_ref(), &answer))?,
        })
    }
}

fn recipe(trainer: &Trainer) -> String {
    let config = &trainer.config;
    let recipe = format!(
        "{}, {}, checkpointing {}",
        config.workload(),
        trainer.learner.precision.as_str(),
        config.checkpointing()
    );
    translated(&recipe).into_owned()
}
