//! What is reported of an epoch.

use std::ops::AddAssign;
use std::time::Duration;

use data::Loading;
use serde::{Deserialize, Serialize};

use crate::metrics::Scores;
use crate::team::RankShare;

/// One finished epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 0.
    pub epoch: u32,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean validation loss.
    pub val_loss: f64,
    /// Validation scores.
    pub scores: Scores,
    /// Whether these scores are the best so far.
    pub is_best: bool,
    /// Learning rate of the epoch's steps.
    pub lr: f64,
    /// Scale of the gradient scaler after the epoch, if one is active.
    pub scale: Option<f64>,
    /// Updates so far that were skipped because a gradient was not finite.
    #[serde(default)]
    pub skipped_updates: u64,
    /// Share of the epoch's training time spent waiting for data.
    pub data_wait: f64,
    /// Optimizer steps so far.
    pub steps: u64,
    /// Where the time of the epoch went. It is not kept in files.
    #[serde(skip)]
    pub spent: Spent,
    /// What each of several ranks says of it. It is not kept in files.
    #[serde(skip)]
    pub ranks: Vec<RankShare>,
}

/// Where the time of epochs went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Training, waiting included.
    pub training: Duration,
    /// Waiting for data in training.
    pub waiting: Duration,
    /// What the loader's threads did meanwhile.
    pub loading: Loading,
    /// Validation.
    pub validation: Duration,
}

impl Spent {
    /// The share of the training time that went into waiting.
    pub fn wait_share(&self) -> f64 {
        self.waiting.as_secs_f64() / self.training.as_secs_f64().max(1e-9)
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.training += other.training;
        self.waiting += other.waiting;
        self.loading += other.loading;
        self.validation += other.validation;
    }
}
