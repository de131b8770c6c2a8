//! Changes of the [`State`], and what each does to it.

use std::time::Duration;

use config::Bytes;

use crate::state::{Epoch, Event, EventKind, Phase, Prediction, State};

/// Points of a history inside an epoch or a run; more than a terminal has columns.
const MAX_POINTS: usize = 1024;
/// Events that are kept; whoever needs older ones reads the run's log.
const MAX_EVENTS: usize = 1000;
/// How long images are counted for one measurement of the speed, and at least at the end of an epoch.
const SPEED_WINDOW: Duration = Duration::from_secs(1);
const SHORT_WINDOW: Duration = Duration::from_millis(300);

/// Something that the program knows anew.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// Training of an epoch begins, or goes on after `done` images.
    EpochStarted {
        /// From 1.
        epoch: u32,
        /// Images of it that are done.
        done: u64,
        /// Images of an epoch.
        num_images: u64,
    },
    /// A batch is done. Such an update may be left out when many wait to be shown.
    Batch {
        /// Images of the epoch that are done.
        done: u64,
        /// The mean loss of the epoch so far, if it was read.
        loss: Option<f64>,
    },
    /// The program does something else now.
    Phase(Phase),
    /// An epoch was validated.
    EpochDone(Epoch),
    /// Share of an epoch's training time spent waiting for data, from 0 to 1.
    DataWait(f64),
    /// The most that the run has held of the device's memory so far.
    MemoryPeak(Bytes),
    /// The predicted peak; unknown for a recipe that was never predicted.
    MemoryPredicted(Option<Bytes>),
    /// Temperature of the device, in degrees Celsius.
    Temperature(Option<u32>),
    /// The recipe in one line.
    Recipe(String),
    /// Something happened.
    Event {
        /// What it is.
        kind: EventKind,
        /// In words.
        text: String,
    },
    /// A prediction to look at.
    Prediction(Box<Prediction>),
}

impl Update {
    /// Whether a later update of its kind says all that this one says.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Batch { .. } | Self::MemoryPeak(_) | Self::Temperature(_)
        )
    }
}

impl State {
    /// Changes what `update` is about.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::EpochStarted {
                epoch,
                done,
                num_images,
            } => self.start_epoch(epoch, done, num_images),
            Update::Batch { done, loss } => self.take_batch(done, loss),
            Update::Phase(phase) => {
                if self.phase == Phase::Training {
                    self.measure_speed(SHORT_WINDOW);
                }
                self.phase = phase;
            }
            Update::EpochDone(epoch) => {
                // A run that went back does some epochs again.
                self.epochs.retain(|it| it.epoch < epoch.epoch);
                self.epochs.push(epoch);
            }
            Update::DataWait(share) => self.data_wait = Some(share),
            Update::MemoryPeak(bytes) => self.memory.peak = Some(bytes),
            Update::MemoryPredicted(bytes) => self.memory.predicted = bytes,
            Update::Temperature(degrees) => self.temperature = degrees,
            Update::Recipe(recipe) => self.recipe = recipe,
            Update::Event { kind, text } => self.take_event(kind, &text),
            Update::Prediction(prediction) => self.prediction = Some(*prediction),
        }
    }

    fn start_epoch(&mut self, epoch: u32, done: u64, num_images: u64) {
        self.phase = Phase::Training;
        self.epoch = epoch;
        self.images = done;
        self.num_images = num_images;
        self.epochs.retain(|it| it.epoch < epoch);
        self.losses.clear();
        self.speed_since = (self.elapsed, done);
        let share = self.progress();
        // A run that went back has more to do than it had when it began.
        if self.begun.is_none_or(|(_, begun)| begun > share) {
            self.begun = Some((self.elapsed, share));
        }
    }

    fn take_batch(&mut self, done: u64, loss: Option<f64>) {
        self.images = done;
        if let Some(loss) = loss {
            push_thinned(&mut self.losses, (done as f64, loss));
        }
        self.measure_speed(SPEED_WINDOW);
    }

    /// Ends a measurement that took at least `window`.
    fn measure_speed(&mut self, window: Duration) {
        let (since, before) = self.speed_since;
        let took = self.elapsed.saturating_sub(since);
        if took >= window {
            let speed = self.images.saturating_sub(before) as f64 / took.as_secs_f64();
            push_thinned(&mut self.speeds, (self.elapsed.as_secs_f64(), speed));
            self.speed_since = (self.elapsed, self.images);
        }
    }

    fn take_event(&mut self, kind: EventKind, text: &str) {
        // A terminal obeys control characters, and an event is one line.
        let text = text.replace(char::is_control, " ").trim().to_owned();
        self.events.push(Event {
            at: self.elapsed,
            kind,
            text,
        });
        let too_many = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..too_many);
    }
}

/// Adds a point. Of a full series, every second point is dropped first, so that it still covers everything.
fn push_thinned(series: &mut Vec<(f64, f64)>, point: (f64, f64)) {
    if series.len() >= MAX_POINTS {
        let mut is_kept = false;
        series.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }
    series.push(point);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: u32) -> Epoch {
        Epoch {
            epoch,
            train_loss: 1.0,
            val_loss: 2.0,
            iou: 0.5,
            dice: 0.6,
        }
    }

    fn started(epoch: u32, done: u64) -> Update {
        Update::EpochStarted {
            epoch,
            done,
            num_images: 100,
        }
    }

    #[test]
    fn the_speed_counts_training_alone() {
        let mut state = State {
            num_epochs: 2,
            elapsed: Duration::from_secs(10),
            ..State::default()
        };
        state.apply(started(1, 40));
        assert_eq!((state.phase, state.images), (Phase::Training, 40));
        state.elapsed = Duration::from_millis(10_500);
        state.apply(Update::Batch {
            done: 50,
            loss: Some(0.7),
        });
        assert_eq!(state.speed(), None, "half a second is too short");
        state.elapsed = Duration::from_secs(12);
        state.apply(Update::Batch {
            done: 70,
            loss: None,
        });
        assert_eq!(state.speed(), Some(15.0));
        assert_eq!(state.losses, [(50.0, 0.7)]);
        // What is left of the epoch counts if it took long enough.
        state.images = 100;
        state.elapsed = Duration::from_millis(12_500);

        // A minute of validation is no part of the next epoch's speed.
        state.apply(Update::Phase(Phase::Validating));
        state.elapsed = Duration::from_secs(72);
        state.apply(Update::EpochDone(epoch(1)));
        state.apply(started(2, 0));
        assert!(state.losses.is_empty());
        state.elapsed = Duration::from_secs(73);
        state.apply(Update::Batch {
            done: 20,
            loss: None,
        });
        assert_eq!(state.speeds, [(12.0, 15.0), (12.5, 60.0), (73.0, 20.0)]);
    }

    #[test]
    fn epochs_that_are_done_again_replace_the_old_ones() {
        let mut state = State::default();
        for done in [1, 2, 3, 3] {
            state.apply(Update::EpochDone(epoch(done)));
        }
        assert_eq!(state.epochs, [1, 2, 3].map(epoch));
        state.apply(started(2, 0));
        assert_eq!(state.epochs, [epoch(1)]);
    }

    #[test]
    fn a_series_stays_short_and_covers_everything() {
        let mut series = Vec::new();
        for at in 0..100_000 {
            push_thinned(&mut series, (f64::from(at), 0.0));
        }
        assert!(series.len() <= MAX_POINTS);
        assert_eq!(series.first(), Some(&(0.0, 0.0)));
        assert_eq!(series.last(), Some(&(99_999.0, 0.0)));
        assert!(series.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn an_event_is_one_line_and_the_oldest_go() {
        let mut state = State::default();
        for _ in 0..=MAX_EVENTS {
            state.apply(Update::Event {
                kind: EventKind::Note,
                text: "old".to_owned(),
            });
        }
        state.apply(Update::Event {
            kind: EventKind::Warning,
            text: "two\n\u{1b}[31mlines\n".to_owned(),
        });
        assert_eq!(state.events.len(), MAX_EVENTS);
        assert_eq!(state.events[MAX_EVENTS - 1].text, "two  [31mlines");
    }

    #[test]
    fn facts_are_taken_over() {
        let mut state = State::default();
        state.apply(Update::MemoryPeak(Bytes(5)));
        state.apply(Update::MemoryPredicted(Some(Bytes(7))));
        state.apply(Update::Temperature(Some(71)));
        state.apply(Update::DataWait(0.42));
        state.apply(Update::Recipe("fp16".to_owned()));
        let memory = state.memory;
        assert_eq!(
            (memory.peak, memory.predicted),
            (Some(Bytes(5)), Some(Bytes(7)))
        );
        assert_eq!((state.temperature, state.data_wait), (Some(71), Some(0.42)));
        assert_eq!(state.recipe, "fp16");
    }
}
