//! The cases that `train accuracy` measures.

use std::fmt;

use config::{CheckpointPolicy, ImageSize, Precision, RunConfig};
use estimator::{Peak, Purpose, Resident};
use tch::Device;

use crate::error::Result;
use crate::lab::measure::{EvaluationProbe, StepProbe};
use crate::lab::prediction;

/// A step of a configuration.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) config: RunConfig,
    pub(super) step: StepKind,
    /// Whether a constant of the estimator was fitted to this shape.
    pub(super) is_fitted: bool,
}

/// The kind of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    /// Forward, backward and update.
    Training,
    /// Scores of a batch between epochs.
    Validation,
    /// Scores of a batch outside training.
    Evaluation,
    /// Predictions at four times the height and width, as in `train predict`.
    Answers,
}

/// Width, image, batch, classes, accumulation.
pub(super) type Shape = (u32, (u32, u32), u32, u32, u32);

/// The estimator's constants were fitted to single convolutions and to steps with other image sizes:
/// 64x64, 64x96, 96x64, 96x96, 96x128, 128x64, 96x160 and 128x192.
const HELD_OUT: [Shape; 7] = [
    (8, (256, 256), 2, 1, 1),
    (28, (176, 112), 3, 1, 1),
    (32, (128, 128), 4, 1, 1),
    (48, (192, 80), 1, 1, 1),
    (16, (320, 192), 1, 1, 2),
    (12, (144, 144), 8, 1, 4),
    (16, (128, 160), 2, 4, 1),
];

/// This shape was used to fit a constant.
const FITTED: [Shape; 1] = [(20, (160, 96), 3, 1, 1)];

const EVALUATIONS: [StepKind; 3] = [
    StepKind::Validation,
    StepKind::Evaluation,
    StepKind::Answers,
];

/// Each policy, those that autograd runs first, then `mixed` with split concatenations.
pub(in crate::command) fn policies() -> impl Iterator<Item = (CheckpointPolicy, bool)> {
    let mut policies = CheckpointPolicy::NAMED.to_vec();
    policies.sort_by_key(|policy| !policy.runs_autograd());
    let whole = policies.into_iter().map(|policy| (policy, false));
    whole.chain([(CheckpointPolicy::Mixed, true)])
}

/// Training steps of each shape under each policy, then its evaluations; each in both precisions.
pub(super) fn all(channels_last: bool) -> Vec<Case> {
    let fitted = FITTED.into_iter().map(|shape| (shape, true));
    let shapes = HELD_OUT
        .into_iter()
        .map(|shape| (shape, false))
        .chain(fitted);
    let mut cases = Vec::new();
    for ((width, (height, columns), batch, classes, accumulation), is_fitted) in shapes {
        let config = |policy, split_concat, use_amp| RunConfig {
            width,
            img_size: ImageSize::new(height, columns),
            batch,
            classes,
            accumulation,
            use_amp,
            split_concat,
            use_channels_last: channels_last,
            ..RunConfig::default().with_policy(policy)
        };
        let trained = policies().map(|(policy, split)| (policy, split, StepKind::Training));
        let evaluated = EVALUATIONS.map(|step| (CheckpointPolicy::Off, false, step));
        for (policy, split_concat, step) in trained.chain(evaluated) {
            for use_amp in [false, true] {
                cases.push(Case {
                    config: config(policy, split_concat, use_amp),
                    step,
                    is_fitted,
                });
            }
        }
    }
    cases
}

impl Case {
    pub(super) fn precision(&self) -> Precision {
        if self.config.use_amp {
            Precision::Bf16
        } else {
            Precision::Fp32
        }
    }

    /// The predicted peak; `None` if the kernels are not known.
    pub(super) fn predicted(&self) -> Option<Peak> {
        let config = &self.config;
        let peak = match self.step.evaluation(config) {
            None => prediction::peak(config, Device::Cpu),
            Some((purpose, resident)) => {
                prediction::evaluation_peak(config, Device::Cpu, purpose, resident)
            }
        };
        peak.ok()
    }

    pub(super) fn measured_bytes(&self) -> Result<u64> {
        let (config, precision) = (&self.config, self.precision());
        // Libraries allocate in the first step.
        let peak = match self.step.evaluation(config) {
            None => {
                let mut probe = StepProbe::new(config, Device::Cpu, precision)?;
                probe.step()?;
                probe.peak_bytes()?
            }
            Some((purpose, resident)) => {
                let probe =
                    EvaluationProbe::new(config, Device::Cpu, precision, purpose, resident)?;
                probe.step()?;
                probe.peak_bytes()?
            }
        };
        Ok(peak.peak_bytes)
    }
}

impl StepKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Evaluation => "evaluate",
            Self::Answers => "predict",
        }
    }

    /// The purpose of an evaluation and its resident state; `None` for a training step.
    fn evaluation(self, config: &RunConfig) -> Option<(Purpose, Resident)> {
        let ImageSize { height, width } = config.img_size;
        match self {
            Self::Training => None,
            Self::Validation => Some((Purpose::Scores, Resident::Training)),
            Self::Evaluation => Some((Purpose::Scores, Resident::Parameters)),
            Self::Answers => {
                let original = ImageSize::new(4 * height, 4 * width);
                Some((Purpose::Answers(original), Resident::Parameters))
            }
        }
    }
}

impl fmt::Display for Case {
    /// The policy of a training step, or else the kind of step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            StepKind::Training => self.config.checkpointing().fmt(f),
            step => write!(f, "({})", step.name()),
        }
    }
}
