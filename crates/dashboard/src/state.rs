//! What the dashboard shows, as plain data. [`Update`](crate::Update) changes it; nothing here draws.

use std::time::Duration;

use config::Bytes;

/// Everything that is shown about a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Name of the run.
    pub title: String,
    /// The device, such as `NVIDIA H200`.
    pub device: String,
    /// The recipe in one line.
    pub recipe: String,
    /// Epochs of the whole run.
    pub num_epochs: u32,
    /// Epochs after which the run ends, if not after all of them.
    pub ends_after: Option<f64>,
    /// The epoch under way, from 1; 0 before the first.
    pub epoch: u32,
    /// Images of this epoch that are done.
    pub images: u64,
    /// Images of an epoch.
    pub num_images: u64,
    /// What the program is doing.
    pub phase: Phase,
    /// Finished epochs, in order.
    pub epochs: Vec<Epoch>,
    /// The mean loss inside the epoch, against the images done.
    pub losses: Vec<(f64, f64)>,
    /// Images per second in training, against the seconds of the run.
    pub speeds: Vec<(f64, f64)>,
    /// Share of the last epoch's training time that was spent waiting for data.
    pub data_wait: Option<f64>,
    /// Memory of the device.
    pub memory: Memory,
    /// Temperature of the device, in degrees Celsius.
    pub temperature: Option<u32>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The last prediction that was made to be looked at.
    pub prediction: Option<Prediction>,
    /// Time since the program started to train. Who applies updates sets it first.
    pub elapsed: Duration,
    /// When the present measurement of the speed began, and the images that were done then.
    pub speed_since: (Duration, u64),
    /// When this process took over, and the share of the run that was done then.
    pub begun: Option<(Duration, f64)>,
}

/// What the program is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Before the first step.
    #[default]
    Preparing,
    /// Training steps.
    Training,
    /// Scoring the validation images.
    Validating,
    /// Writing a snapshot or weights.
    Saving,
}

/// The figures of a finished epoch. Any of them may be non-finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean validation loss.
    pub val_loss: f64,
    /// Intersection over union, from 0 to 1.
    pub iou: f64,
    /// Dice coefficient, from 0 to 1.
    pub dice: f64,
}

/// Memory of the device, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// The most that the run has held so far.
    pub peak: Option<Bytes>,
    /// The predicted peak.
    pub predicted: Option<Bytes>,
    /// What the card has, or what the run may use of it.
    pub limit: Option<Bytes>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Since the start.
    pub at: Duration,
    /// What it is.
    pub kind: EventKind,
    /// One line.
    pub text: String,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Good to know.
    Note,
    /// Something to look at.
    Warning,
}

/// An image, its mask and what the network makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// Name of the image's file.
    pub name: String,
    /// The image.
    pub image: Picture,
    /// What was drawn by hand.
    pub mask: Picture,
    /// What the network answers.
    pub answer: Picture,
}

/// A small RGB picture. A few hundred pixels a side are enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    rgb: Vec<[u8; 3]>,
}

impl Picture {
    /// A picture of rows of `width` pixels, or `None` if `rgb` is empty or ends within a row.
    pub fn new(width: usize, rgb: Vec<[u8; 3]>) -> Option<Self> {
        let is_whole = width > 0 && !rgb.is_empty() && rgb.len().is_multiple_of(width);
        is_whole.then_some(Self { width, rgb })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.rgb.len() / self.width
    }

    /// The mean colour of what lies under pixel (`x`, `y`) when the picture is scaled to `width` x `height`.
    pub(crate) fn scaled(
        &self,
        (x, y): (usize, usize),
        (width, height): (usize, usize),
    ) -> [u8; 3] {
        let span = |at: usize, to: usize, from: usize| {
            let first = (at * from / to.max(1)).min(from - 1);
            first..((at + 1) * from / to.max(1)).clamp(first + 1, from)
        };
        let columns = span(x, width, self.width);
        let rows = span(y, height, self.height());
        let num = columns.len() * rows.len();
        let mut sums = [0_usize; 3];
        for row in rows {
            for pixel in &self.rgb[row * self.width..][columns.clone()] {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += usize::from(*value);
                }
            }
        }
        sums.map(|sum| u8::try_from(sum / num).unwrap_or(u8::MAX))
    }
}

impl State {
    /// The share of the run that is done, from 0 to 1.
    pub fn progress(&self) -> f64 {
        if self.epoch == 0 || self.num_epochs == 0 {
            return 0.0;
        }
        let inside = self.images as f64 / self.num_images.max(1) as f64;
        let all = self.ends_after.unwrap_or(f64::from(self.num_epochs));
        ((f64::from(self.epoch - 1) + inside.min(1.0)) / all).min(1.0)
    }

    /// Images per second, as last measured.
    pub fn speed(&self) -> Option<f64> {
        self.speeds.last().map(|&(_, speed)| speed)
    }

    /// The time left if the run goes on as since its start. In the first epoch it lacks the validation.
    pub fn eta(&self) -> Option<Duration> {
        let (since, share) = self.begun?;
        let done = self.progress() - share;
        let took = self.elapsed.saturating_sub(since).as_secs_f64();
        // Division by almost nothing says nothing.
        if done <= 0.0 || took < 1.0 {
            return None;
        }
        Duration::try_from_secs_f64(took / done * (1.0 - self.progress())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_whole_and_is_scaled_by_means() {
        assert_eq!(Picture::new(0, vec![[0; 3]]), None);
        assert_eq!(Picture::new(2, vec![]), None);
        assert_eq!(Picture::new(2, vec![[0; 3]; 3]), None);
        let rgb = vec![[0; 3], [100; 3], [50; 3], [250, 0, 0]];
        let picture = Picture::new(2, rgb).unwrap();
        assert_eq!((picture.width(), picture.height()), (2, 2));
        assert_eq!(picture.scaled((0, 0), (1, 1)), [100, 37, 37]);
        assert_eq!(picture.scaled((1, 1), (2, 2)), [250, 0, 0]);
        // Enlarged, each pixel covers several.
        assert_eq!(picture.scaled((5, 1), (6, 6)), [100; 3]);
    }

    #[test]
    fn the_time_left_follows_the_share_done_since_the_start() {
        let mut state = State {
            num_epochs: 4,
            num_images: 100,
            ..State::default()
        };
        assert_eq!(state.eta(), None);
        // Resumed after two epochs, at 10 s; half an epoch took 30 s.
        state.begun = Some((Duration::from_secs(10), 0.5));
        state.epoch = 3;
        state.images = 50;
        state.elapsed = Duration::from_secs(40);
        // 0.125 of the run took 30 s, and 0.375 is left.
        assert_eq!(state.eta(), Some(Duration::from_secs(90)));
        // It ends within the fourth epoch: 0.1 of an epoch is left of 2.6.
        state.ends_after = Some(2.6);
        state.begun = Some((Duration::from_secs(10), 2.0 / 2.6));
        assert_eq!(state.eta(), Some(Duration::from_secs(6)));
    }
}
