//! Proofs on the real network: each technique changes what it should, and nothing else.

mod checkpointing;
mod failures;
mod gpu;
mod layout;
mod memory;
mod schedules;
mod segments;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::{ImageSize, Network, Precision, RunConfig};
use engine::Error;
use engine::batch::{MicroBatch, Upload, noise};
use engine::learner::Learner;
use engine::model::{Checkpointing, ForwardMode, Kernels, UNet};
use schedule::{Keep, Plan, Schedule, Segment};
use tch::{Device, Tensor};

/// Not square, so that height and width cannot be confused.
const SIZE: [u32; 2] = [32, 48];

/// Tests that read the process-wide meter, plant failures or probe operators run one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    torch_ext::init().unwrap();
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The recipe of a run.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) precision: Precision,
    pub(crate) channels_last: bool,
    pub(crate) checkpointing: Checkpointing,
    pub(crate) split_concat: bool,
    pub(crate) kernels: Kernels,
}

pub(crate) const PLAIN: Setting = Setting {
    precision: Precision::Fp32,
    channels_last: true,
    checkpointing: Checkpointing::Off,
    split_concat: false,
    kernels: Kernels::Fused,
};
pub(crate) const BLOCK: Checkpointing = segments(Segment::Block, false);
pub(crate) const REENTRANT: Checkpointing = segments(Segment::Block, true);
pub(crate) const STAGE: Checkpointing = segments(Segment::Stage, false);
pub(crate) const STAGE_REENTRANT: Checkpointing = segments(Segment::Stage, true);

const fn segments(unit: Segment, use_reentrant: bool) -> Checkpointing {
    Checkpointing::Segments {
        unit,
        use_reentrant,
    }
}

/// A plan, compiled for this machine.
pub(crate) fn scheduled(plan: &Plan) -> Checkpointing {
    let target = engine::checkpointing::target(Device::Cpu, true);
    let schedule = Schedule::compile(&Network::new(4, 1), plan, target).unwrap();
    Checkpointing::Scheduled(Arc::new(schedule))
}

pub(crate) fn selective() -> Checkpointing {
    scheduled(&Plan::selective(&Network::new(4, 1)))
}

pub(crate) fn mixed() -> Checkpointing {
    scheduled(&Plan::mixed(&Network::new(4, 1), false))
}

/// As `off` runs with our own kernels.
pub(crate) fn everything() -> Checkpointing {
    scheduled(&Plan::uniform(&Network::new(4, 1), Keep::Everything))
}

/// Every policy, with its name. All give the same bits as [`PLAIN`], which autograd runs.
pub(crate) fn policies() -> Vec<(&'static str, Checkpointing)> {
    vec![
        ("off, scheduled", everything()),
        ("selective", selective()),
        ("block", BLOCK),
        ("block, reentrant", REENTRANT),
        ("stage", STAGE),
        ("stage, reentrant", STAGE_REENTRANT),
        ("mixed", mixed()),
    ]
}

impl Setting {
    pub(crate) fn mode(&self) -> ForwardMode {
        ForwardMode {
            training: true,
            checkpointing: self.checkpointing.clone(),
            split_concat: self.split_concat,
            kernels: self.kernels,
        }
    }
}

/// A small network in training.
pub(crate) struct Run {
    learner: Learner,
}

impl Run {
    pub(crate) fn new(width: u32, setting: &Setting) -> Self {
        Self::seeded(width, 7, setting)
    }

    pub(crate) fn seeded(width: u32, seed: u64, setting: &Setting) -> Self {
        Self::of(Network::new(width, 1), seed, setting)
    }

    pub(crate) fn of(network: Network, seed: u64, setting: &Setting) -> Self {
        let config = RunConfig {
            width: network.width,
            in_channels: network.in_channels,
            classes: network.classes,
            seed,
            lr: 1e-3,
            weight_decay: 0.01,
            use_channels_last: setting.channels_last,
            use_grad_checkpoint: false,
            ..RunConfig::default()
        };
        let mut learner = Learner::new(&config, Device::Cpu, setting.precision).unwrap();
        // Plans that no configuration can name are proved as well.
        learner.mode = setting.mode();
        Self { learner }
    }

    pub(crate) fn model(&self) -> &UNet {
        &self.learner.model
    }

    pub(crate) fn loss(&self, (images, masks): &(Tensor, Tensor)) -> Tensor {
        let (images, masks) = (images.shallow_clone(), masks.shallow_clone());
        self.learner.forward((images, masks), 1.0, None).unwrap()
    }

    /// Runs forward and backward, after which gradients exist.
    pub(crate) fn gradients(
        &mut self,
        (images, masks): &(Tensor, Tensor),
    ) -> torch_ext::Result<()> {
        let whole = [MicroBatch::whole(images, masks)];
        match self.learner.accumulate_gradients(whole, &mut ()) {
            Err(Error::Tensor(error)) => Err(error),
            outcome => {
                outcome.unwrap();
                Ok(())
            }
        }
    }

    pub(crate) fn update(&mut self) {
        let _is_skipped = self.learner.optimizer_step().unwrap();
        self.clear();
    }

    pub(crate) fn clear(&mut self) {
        self.learner.zero_grad().unwrap();
    }
}

/// Images `[N, 3, H, W]` in either format and masks `[N, H, W]`, which depend on the seed only.
pub(crate) fn batch(seed: u64, num: u32, channels_last: bool) -> (Tensor, Tensor) {
    batch_of(seed, num, SIZE, channels_last)
}

pub(crate) fn batch_of(
    seed: u64,
    batch: u32,
    size: [u32; 2],
    channels_last: bool,
) -> (Tensor, Tensor) {
    batch_with(3, seed, batch, size, channels_last)
}

/// As [`batch_of`], with other channels.
pub(crate) fn batch_with(
    in_channels: u32,
    seed: u64,
    batch: u32,
    [height, width]: [u32; 2],
    channels_last: bool,
) -> (Tensor, Tensor) {
    let config = RunConfig {
        in_channels,
        batch,
        img_size: ImageSize::new(height, width),
        use_channels_last: channels_last,
        ..RunConfig::default()
    };
    let upload = Upload::of(&config, Device::Cpu);
    upload.batch(&noise(&config, seed)).unwrap()
}

/// Gradients by name.
pub(crate) fn gradients_of(run: &Run) -> Vec<(String, Tensor)> {
    run.model()
        .parameters()
        .entries()
        .iter()
        .filter(|e| e.spec.role.is_trainable())
        .map(|e| (e.spec.name.clone(), e.tensor.grad().copy()))
        .collect()
}

/// Names of the tensors that differ in any bit.
pub(crate) fn differing(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> Vec<String> {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .filter(|(x, y)| !x.1.equal(&y.1))
        .map(|(x, _)| x.0.clone())
        .collect()
}

/// All tensors of the state dict, BatchNorm's buffers included, by name.
pub(crate) fn state_of(run: &Run) -> Vec<(String, Tensor)> {
    let entries = run.model().parameters().entries();
    entries
        .iter()
        .map(|e| (e.spec.name.clone(), e.tensor.detach().copy()))
        .collect()
}
