//! Random faults of every kind, step after step: memory returns to its level, each fault is
//! reported, and no sample is trained twice or left out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use config::{CheckpointPolicy, Precision, RunConfig};
use data::{DataError, Sample, Source, SynthSource};
use engine::Result;
use engine::fault::StepFault;
use engine::interrupt::Interrupt;
use engine::ladder::{Failure, Ladder, Means, Rung};
use engine::trainer::{EpochReport, Observer, Trainer};
use tch::Device;
use torch_ext::meter;
use train::lab::fault::{self, Fault};

use super::loader_of;
use crate::techniques::alone;

/// Pseudorandom numbers, the same in every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// The next number from 0 to `end - 1`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// Images of an epoch, in batches of two.
const PAGES: usize = 20;
const SIDE: u32 = 32;

/// Pages, with a count of how often each was handed out.
struct Counting {
    pages: SynthSource,
    counts: Mutex<BTreeMap<usize, u32>>,
}

impl Source for Counting {
    fn len(&self) -> usize {
        self.pages.len()
    }

    fn size(&self) -> (usize, usize) {
        self.pages.size()
    }

    fn name(&self, index: usize) -> String {
        self.pages.name(index)
    }

    fn load(&self, index: usize) -> Result<Sample, DataError> {
        *self.counts.lock().unwrap().entry(index).or_default() += 1;
        self.pages.load(index)
    }
}

/// Plants a fault for most steps, and records the reactions.
struct Log {
    chance: Chance,
    num_allocations: u64,
    planted: BTreeMap<&'static str, u32>,
    rungs: Vec<(u64, Failure, Rung)>,
    images: usize,
    /// Tensor bytes at the end of each step, by the active policy.
    levels: BTreeMap<&'static str, Vec<u64>>,
    losses: Vec<f64>,
}

impl Log {
    fn new(num_allocations: u64) -> Self {
        Self {
            chance: Chance(7),
            num_allocations,
            planted: BTreeMap::new(),
            rungs: Vec::new(),
            images: 0,
            levels: BTreeMap::new(),
            losses: Vec::new(),
        }
    }

    fn plant(&mut self, step: u64) {
        let (name, fault) = match self.chance.below(10) {
            0..6 => {
                let after = self.chance.below(self.num_allocations);
                let after = u32::try_from(after).unwrap();
                ("oom", StepFault::OutOfMemory { after })
            }
            6..8 => ("recompute", StepFault::Recompute),
            _ => return fault::plant(&[]),
        };
        *self.planted.entry(name).or_default() += 1;
        let times = 1;
        fault::plant(&[Fault::Step { fault, step, times }]);
    }
}

impl Observer for Log {
    fn batch_done(&mut self, images: usize, _loss: Option<f64>) {
        self.images += images;
    }

    fn step_done(&mut self, trainer: &Trainer, _is_last: bool) {
        let policy = trainer.config.checkpoint_policy().as_str();
        let level = meter::read().allocated_bytes;
        self.levels.entry(policy).or_default().push(level);
        self.plant(trainer.steps() + 1);
    }

    fn rung_taken(&mut self, trainer: &Trainer, failure: &Failure, rung: &Rung) {
        self.rungs.push((trainer.steps(), *failure, rung.clone()));
    }

    fn epoch_done(&mut self, _trainer: &Trainer, report: &EpochReport) -> Result<()> {
        self.losses.push(report.train_loss);
        Ok(())
    }
}

fn pages(seed: u64, num: usize) -> Counting {
    Counting {
        pages: SynthSource::new(seed, num, SIDE, SIDE).unwrap(),
        counts: Mutex::default(),
    }
}

/// Trains with `log`, which may plant faults.
fn fit(config: &RunConfig, train: &Arc<Counting>, log: &mut dyn Observer) -> Vec<tch::Tensor> {
    let mut trainer = Trainer::new(config.clone(), Device::Cpu, Precision::Fp32)
        .unwrap()
        .with_ladder(Ladder::new(None, Means::of(Device::Cpu)));
    let train = loader_of(Arc::clone(train) as Arc<dyn Source>, config, true);
    let val = loader_of(Arc::new(pages(2, 2)), config, false);
    trainer
        .fit(&train, &val, log, &Interrupt::default())
        .unwrap();
    fault::plant(&[]);
    trainer
        .tensors()
        .into_iter()
        .map(|(_, t)| t.copy())
        .collect()
}

struct Silent;

impl Observer for Silent {}

/// Wants no more than one epoch.
#[derive(Default)]
struct OneEpoch {
    epochs: u32,
}

impl Observer for OneEpoch {
    fn epoch_done(&mut self, _: &Trainer, _: &EpochReport) -> Result<()> {
        self.epochs += 1;
        Ok(())
    }

    fn ends_run(&self) -> bool {
        true
    }
}

#[test]
fn an_observer_can_end_a_run_after_an_epoch() {
    let _turn = alone();
    let config = RunConfig {
        width: 2,
        img_size: config::ImageSize::new(SIDE, SIDE),
        use_amp: false,
        epochs: 3,
        ..RunConfig::default()
    };
    let mut one = OneEpoch::default();
    fit(&config, &Arc::new(pages(1, PAGES)), &mut one);
    assert_eq!(one.epochs, 1);
}

/// Trains 200 steps, or `SNUG_TEST_FAULT_STEPS` if set.
#[test]
fn random_faults_leave_no_trace() {
    let _turn = alone();
    let steps = std::env::var("SNUG_TEST_FAULT_STEPS").ok();
    let steps: u32 = steps.map_or(200, |text| text.parse().unwrap());
    let epochs = steps.div_ceil(u32::try_from(PAGES / 2).unwrap());
    let config = RunConfig {
        width: 2,
        img_size: config::ImageSize::new(SIDE, SIDE),
        batch: 2,
        use_amp: false,
        use_grad_checkpoint: true,
        grad_checkpoint_policy: Some(CheckpointPolicy::Block),
        epochs,
        patience: 0,
        lr: 1e-3,
        ..RunConfig::default()
    };
    // A number of allocations that every step makes, whatever its policy.
    let one_step = RunConfig {
        use_grad_checkpoint: false,
        grad_checkpoint_policy: None,
        max_steps: Some(1),
        ..config.clone()
    };
    let two_steps = RunConfig {
        max_steps: Some(2),
        ..one_step.clone()
    };
    let [one, two] = [one_step, two_steps].map(|config| {
        let before = meter::read().num_allocations;
        fit(&config, &Arc::new(pages(1, PAGES)), &mut Silent);
        meter::read().num_allocations - before
    });

    let plain = fit(&config, &Arc::new(pages(1, PAGES)), &mut Silent);
    let train = Arc::new(pages(1, PAGES));
    let mut log = Log::new(two - one);
    let faulty = fit(&config, &train, &mut log);

    let pairs = plain.iter().zip(&faulty);
    assert!(pairs.into_iter().all(|(a, b)| a.equal(b)));
    assert_eq!(log.images, PAGES * epochs as usize);
    let counts = train.counts.lock().unwrap();
    assert_eq!(counts.len(), PAGES);
    assert!(counts.values().all(|count| *count == epochs), "{counts:?}");
    // With each policy, every step ends at the same level: failures leave nothing behind.
    for (policy, levels) in &log.levels {
        let (least, most) = (levels.iter().min(), levels.iter().max());
        assert_eq!(least, most, "{policy}: {levels:?}");
    }
    // The optimizer, whose share of the allocations is large at this size, retries by itself, and a library may do
    // without a buffer.
    let memory = log.rungs.iter();
    let memory = memory.filter(|(_, failure, _)| matches!(failure, Failure::OutOfMemory { .. }));
    let (failed, planted) = (memory.count(), log.planted["oom"] as usize);
    println!("{failed} of {planted} allocations failed in {steps} steps, all survived");
    assert!(failed <= planted && failed * 10 >= planted * 5);
    let others: Vec<_> = log
        .rungs
        .iter()
        .filter(|(_, failure, _)| *failure == Failure::Checkpointing)
        .map(|(_, _, rung)| rung.to.as_str())
        .collect();
    assert_eq!(others, ["use_reentrant true", "checkpointing off"]);
}
