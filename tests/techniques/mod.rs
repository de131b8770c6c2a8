//! Proofs on the real network: each technique changes what it should, and nothing else.

mod checkpointing;
mod failures;
mod layout;
mod memory;
mod schedules;
mod segments;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::Network;
use schedule::{Plan, Schedule};
use tch::{Device, Kind, Tensor};
use train::compose::Autocast;
use train::loss::segmentation_loss;
use train::model::{Checkpointing, ForwardMode, UNet, Unit};
use train::optimizer::AdamW;
use train::precision::Precision;

/// Not square, so that height and width cannot be confused.
const SIZE: [i64; 2] = [32, 48];

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
}

pub(crate) const PLAIN: Setting = Setting {
    precision: Precision::Fp32,
    channels_last: true,
    checkpointing: Checkpointing::Off,
    split_concat: false,
};
pub(crate) const BLOCK: Checkpointing = segments(Unit::Block, false);
pub(crate) const REENTRANT: Checkpointing = segments(Unit::Block, true);
pub(crate) const STAGE: Checkpointing = segments(Unit::Stage, false);
pub(crate) const STAGE_REENTRANT: Checkpointing = segments(Unit::Stage, true);

const fn segments(unit: Unit, use_reentrant: bool) -> Checkpointing {
    Checkpointing::Segments {
        unit,
        use_reentrant,
    }
}

/// A plan, compiled for this machine.
pub(crate) fn scheduled(plan: &Plan) -> Checkpointing {
    let target = train::compose::schedule_target(Device::Cpu);
    let schedule = Schedule::compile(&Network::new(4, 1), plan, target).unwrap();
    Checkpointing::Scheduled(Arc::new(schedule))
}

pub(crate) fn selective() -> Checkpointing {
    scheduled(&Plan::selective(&Network::new(4, 1)))
}

pub(crate) fn mixed() -> Checkpointing {
    scheduled(&Plan::mixed(&Network::new(4, 1), false))
}

/// Every policy but `off`, with its name. All give the same bits as `off`.
pub(crate) fn policies() -> Vec<(&'static str, Checkpointing)> {
    vec![
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
        }
    }
}

/// A small network in training.
pub(crate) struct Run {
    pub(crate) model: UNet,
    optimizer: AdamW,
    setting: Setting,
}

impl Run {
    pub(crate) fn new(width: u32, setting: &Setting) -> Self {
        let network = Network::new(width, 1);
        let model = UNet::new(network, Device::Cpu, 7, setting.channels_last).unwrap();
        let optimizer = AdamW::new(model.parameters().trainable(), 1e-3, 0.01).unwrap();
        Self {
            model,
            optimizer,
            setting: setting.clone(),
        }
    }

    /// Runs forward and backward, after which gradients exist.
    pub(crate) fn gradients(&mut self, batch: &(Tensor, Tensor)) -> torch_ext::Result<()> {
        let mode = self.setting.mode();
        let logits = {
            let _autocast = Autocast::enter(Device::Cpu, self.setting.precision)?;
            self.model.forward(&batch.0, &mode)?
        };
        let loss = segmentation_loss(&logits, &batch.1)?;
        drop(logits);
        torch_ext::backward(&loss)
    }

    pub(crate) fn update(&mut self) {
        self.optimizer.fused_step(None, None).unwrap();
        self.optimizer.zero_grad().unwrap();
    }

    pub(crate) fn clear(&mut self) {
        self.optimizer.zero_grad().unwrap();
    }
}

/// Images `[N, 3, H, W]` in either format and masks `[N, H, W]`, which depend on the seed only.
pub(crate) fn batch(seed: i64, num: i64, channels_last: bool) -> (Tensor, Tensor) {
    batch_of(seed, num, SIZE, channels_last)
}

pub(crate) fn batch_of(
    seed: i64,
    num: i64,
    [h, w]: [i64; 2],
    channels_last: bool,
) -> (Tensor, Tensor) {
    tch::manual_seed(seed);
    let bytes = Tensor::randint(256, [num, h, w, 3], (Kind::Uint8, Device::Cpu));
    let images = train::compose::images_to_device(&bytes, Device::Cpu, channels_last).unwrap();
    let masks = Tensor::rand([num, h, w], (Kind::Float, Device::Cpu))
        .gt(0.7)
        .to_kind(Kind::Uint8);
    (images, masks)
}

/// Gradients by name.
pub(crate) fn gradients_of(run: &Run) -> Vec<(String, Tensor)> {
    run.model
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
    let entries = run.model.parameters().entries();
    entries
        .iter()
        .map(|e| (e.spec.name.clone(), e.tensor.detach().copy()))
        .collect()
}
