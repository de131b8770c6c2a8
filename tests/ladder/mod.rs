//! Runs whose steps fail: the results equal those without the failure.

mod before;
pub(crate) mod faults;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::{Bytes, CheckpointPolicy, ImageSize, Precision, RunConfig};
use data::{Loader, LoaderConfig, Source, SynthSource};
use engine::Result;
use engine::fault::StepFault;
use engine::guard::{FillLimit, Guard, MemoryPlace};
use engine::interrupt::Interrupt;
use engine::ladder::{Failure, Ladder, Means, Rung};
use engine::trainer::{EpochReport, Observer, Trainer};
use machine::ram::Ram;
use tch::{Device, Tensor};
use torch_ext::meter;
use train::lab::fault::{self, Fault};
use train::run::proposal::{self, Images, Limits};

use crate::techniques::alone;

const PAGES: usize = 6;
const IMAGES: Images = Images {
    training: PAGES,
    validation: PAGES,
    ranks: 1,
};
const SIDE: u32 = 64;

fn config() -> RunConfig {
    RunConfig {
        width: 2,
        img_size: ImageSize::new(SIDE, SIDE),
        batch: 3,
        use_amp: false,
        use_channels_last: true,
        epochs: 2,
        lr: 1e-3,
        ..RunConfig::default()
    }
}

fn loader(config: &RunConfig, seed: u64, shuffle: bool) -> Loader {
    let source = SynthSource::new(seed, PAGES, SIDE, SIDE).unwrap();
    loader_of(Arc::new(source), config, shuffle)
}

pub(crate) fn loader_of(source: Arc<dyn Source>, config: &RunConfig, shuffle: bool) -> Loader {
    let loader = LoaderConfig {
        batch: config.batch as usize,
        workers: 1,
        prefetch: 1,
        shuffle,
        seed: 5,
        augment: shuffle,
        drop_last: false,
    };
    Loader::new(source, loader).unwrap()
}

/// Plants a failure after a number of steps, and records the reaction.
#[derive(Default)]
struct Watch {
    plant: Option<(u64, u32)>,
    num_batches: u64,
    rungs: Vec<(Failure, Rung)>,
    losses: Vec<f64>,
}

impl Observer for Watch {
    fn batch_done(&mut self, _images: usize, _loss: Option<f64>) {
        self.num_batches += 1;
        if let Some((after, countdown)) = self.plant
            && self.num_batches == after
        {
            meter::fail_after(Some(countdown));
        }
    }

    fn rung_taken(&mut self, _trainer: &Trainer, failure: &Failure, rung: &Rung) {
        self.rungs.push((*failure, rung.clone()));
    }

    fn epoch_done(&mut self, _trainer: &Trainer, report: &EpochReport) -> Result<()> {
        self.losses.push(report.train_loss);
        Ok(())
    }
}

/// The complete final state of a run.
struct End {
    tensors: Vec<Tensor>,
    watch: Watch,
}

fn fit(config: &RunConfig, precision: Precision, plant: Option<(u64, u32)>) -> Result<End> {
    let mut trainer = Trainer::new(config.clone(), Device::Cpu, precision)?
        .with_ladder(Ladder::new(None, Means::of(Device::Cpu)));
    let (train, val) = (loader(config, 1, true), loader(config, 2, false));
    let mut watch = Watch {
        plant,
        ..Watch::default()
    };
    let outcome = trainer.fit(&train, &val, &mut watch, &Interrupt::default());
    meter::fail_after(None);
    outcome?;
    let tensors = trainer.tensors().into_iter();
    Ok(End {
        tensors: tensors.map(|(_, tensor)| tensor.detach().copy()).collect(),
        watch,
    })
}

fn num_differing(a: &End, b: &End) -> usize {
    assert_eq!(a.tensors.len(), b.tensors.len());
    let pairs = a.tensors.iter().zip(&b.tensors);
    pairs.filter(|(a, b)| !a.equal(b)).count()
}

fn policy(policy: CheckpointPolicy) -> RunConfig {
    config().with_policy(policy)
}

/// Twelve of this many allocations fail, each in a separate run. With
/// `SNUG_TEST_EVERY_ALLOCATION` set, all of them fail, which takes an hour.
fn stride(num: u64) -> usize {
    let every = std::env::var_os("SNUG_TEST_EVERY_ALLOCATION").is_some();
    if every {
        1
    } else {
        usize::try_from(num / 12).unwrap().max(1)
    }
}

#[test]
fn an_allocation_that_fails_once_leaves_no_trace() {
    let _turn = alone();
    for kind in [CheckpointPolicy::Off, CheckpointPolicy::Selective] {
        let config = policy(kind);
        // Libraries cache on first use.
        fit(&config, Precision::Fp32, None).unwrap();
        let before = meter::read().num_allocations;
        let plain = fit(&config, Precision::Fp32, None).unwrap();
        let num = meter::read().num_allocations - before;
        let mut num_failed = 0;
        // From the second of four steps on, in steps, in validation and in between.
        for k in (0..u32::try_from(num).unwrap()).step_by(stride(num)) {
            let end = fit(&config, Precision::Fp32, Some((1, k)))
                .unwrap_or_else(|error| panic!("{kind} at {k} of {num}: {error}"));
            num_failed += usize::from(!end.watch.rungs.is_empty());
            assert_eq!(num_differing(&plain, &end), 0, "{kind} at {k}");
            assert_eq!(plain.watch.losses, end.watch.losses, "{kind} at {k}");
            assert_eq!(plain.watch.num_batches, end.watch.num_batches);
        }
        println!("{kind}: {num_failed} failures of {num} allocations, all survived");
        assert!(num_failed >= 4);
    }
}

/// Runs twice, because libraries cache on first use. Returns the end, and the second run's peak
/// above `level`.
fn unlimited(config: &RunConfig, level: u64) -> (End, u64) {
    let plain = fit(config, Precision::Fp32, None).unwrap();
    meter::reset_peak();
    fit(config, Precision::Fp32, None).unwrap();
    (plain, meter::read().peak_bytes - level)
}

#[test]
fn a_run_that_is_squeezed_takes_another_policy_and_keeps_its_bits() {
    let _turn = alone();
    let config = policy(CheckpointPolicy::Off);
    let level = meter::read().allocated_bytes;
    let (plain, peak) = unlimited(&config, level);
    meter::set_limit(Some(level + peak * 3 / 4));
    let squeezed = fit(&config, Precision::Fp32, None);
    meter::set_limit(None);
    let squeezed = squeezed.unwrap();
    let words: Vec<_> = squeezed
        .watch
        .rungs
        .iter()
        .map(|(_, rung)| rung.to.as_str())
        .collect();
    assert_eq!(words, ["step retried", "checkpointing selective"]);
    assert_eq!(num_differing(&plain, &squeezed), 0);
}

/// Total RAM of a fake machine whose memory holds only this process's tensors.
static MACHINE: AtomicU64 = AtomicU64::new(0);

#[expect(clippy::unnecessary_wraps, reason = "as `ram::read`")]
fn machine() -> Option<Ram> {
    let total = MACHINE.load(Ordering::SeqCst);
    let available = total.saturating_sub(meter::read().allocated_bytes);
    Some(Ram {
        total: Bytes(total),
        available: Bytes(available),
    })
}

#[test]
fn the_guard_takes_a_rung_before_anything_fails() {
    let _turn = alone();
    let config = policy(CheckpointPolicy::Off);
    let level = meter::read().allocated_bytes;
    let (plain, peak) = unlimited(&config, level);
    // The guard allows nine tenths of this to be in use, which is three quarters of the peak.
    MACHINE.store((level + peak * 3 / 4) * 10 / 9, Ordering::SeqCst);
    let guard = Guard {
        gpu: FillLimit::OFF,
        ram: FillLimit::RAM,
        every: NonZeroU64::MIN,
        read_ram: machine,
    };
    let ladder = proposal::ladder(&config, Device::Cpu, IMAGES, Limits::default());
    let mut trainer = Trainer::new(config.clone(), Device::Cpu, Precision::Fp32)
        .unwrap()
        .with_ladder(ladder)
        .with_guard(guard);
    let (train, val) = (loader(&config, 1, true), loader(&config, 2, false));
    let mut watch = Watch::default();
    meter::reset_peak();
    let outcome = trainer.fit(&train, &val, &mut watch, &Interrupt::default());
    outcome.unwrap();
    assert!(meter::read().peak_bytes - level < peak);
    let kinds: Vec<_> = watch
        .rungs
        .iter()
        .map(|(failure, rung)| (failure, rung.to.as_str(), rung.is_bit_exact))
        .collect();
    let [(first, "step retried", true), (second, to, true), ..] = kinds[..] else {
        panic!("{kinds:?}");
    };
    assert!(matches!(
        first,
        Failure::MemoryPressure {
            place: MemoryPlace::Ram,
            ..
        }
    ));
    assert!(matches!(second, Failure::MemoryPressure { .. }));
    assert!(to.starts_with("checkpointing "), "{to}");
    let tensors = trainer.tensors().into_iter();
    let guarded = End {
        tensors: tensors.map(|(_, tensor)| tensor.detach().copy()).collect(),
        watch,
    };
    assert_eq!(num_differing(&plain, &guarded), 0);
}

#[test]
fn overflow_in_half_precision_moves_to_a_wider_type() {
    let _turn = alone();
    let config = RunConfig {
        use_amp: true,
        ..config()
    };
    let mut trainer = Trainer::new(config.clone(), Device::Cpu, Precision::Fp16)
        .unwrap()
        .with_ladder(Ladder::new(None, Means::of(Device::Cpu)));
    // Logits beyond 65504 are infinite in fp16, and the loss is NaN.
    let weight = trainer
        .learner
        .model
        .parameters()
        .get("out_conv.weight")
        .unwrap();
    tch::no_grad(|| torch_ext::ops::add_scalar_(weight, 1e6).unwrap());
    let (train, val) = (loader(&config, 1, true), loader(&config, 2, false));
    let mut watch = Watch::default();
    trainer
        .fit(&train, &val, &mut watch, &Interrupt::default())
        .unwrap();
    let (failure, rung) = &watch.rungs[0];
    assert_eq!(*failure, Failure::NonFiniteLoss);
    let next = if Means::of(Device::Cpu).has_bf16 {
        "AMP bf16"
    } else {
        "AMP off"
    };
    assert_eq!(rung.to, next);
    assert_eq!(trainer.steps(), 4);
    assert_eq!(watch.num_batches, 4);
}

#[test]
fn a_scale_that_is_far_too_high_is_lowered() {
    let _turn = alone();
    let config = RunConfig {
        use_amp: true,
        init_scale: 2_f64.powi(100),
        epochs: 4,
        ..config()
    };
    let end = fit(&config, Precision::Fp16, None).unwrap();
    let (failure, rung) = &end.watch.rungs[0];
    assert!(
        matches!(failure, Failure::Overflow { scale: Some(scale) } if *scale < config.init_scale)
    );
    assert_eq!(rung.to, "scale 1024");
    assert_eq!(end.watch.rungs.len(), 1);
    assert_eq!(end.watch.num_batches, 8, "each batch is trained once");
}

#[test]
fn without_a_ladder_a_failure_ends_the_run() {
    let _turn = alone();
    let config = config();
    let mut trainer = Trainer::new(config.clone(), Device::Cpu, Precision::Fp32).unwrap();
    let (train, val) = (loader(&config, 1, true), loader(&config, 2, false));
    let mut watch = Watch {
        plant: Some((1, 30)),
        ..Watch::default()
    };
    let outcome = trainer.fit(&train, &val, &mut watch, &Interrupt::default());
    meter::fail_after(None);
    assert!(outcome.is_err());
    assert!(watch.rungs.is_empty());
}

/// In every precision, an update with an infinite gradient leaves weights, optimizer and batch norm as they
/// were.
#[test]
fn a_skipped_update_leaves_no_trace() {
    let _turn = alone();
    let means = Means::of(Device::Cpu);
    let precisions = [Precision::Fp32, Precision::Fp16, Precision::Bf16];
    for precision in precisions
        .into_iter()
        .filter(|it| *it != Precision::Bf16 || means.has_bf16)
    {
        for kind in [CheckpointPolicy::Off, CheckpointPolicy::Block] {
            let steps = |max_steps| {
                let config = RunConfig {
                    init_scale: 1.0,
                    max_steps: Some(max_steps),
                    ..policy(kind).with_precision(precision)
                };
                let mut trainer = Trainer::new(config.clone(), Device::Cpu, precision).unwrap();
                let (train, val) = (loader(&config, 1, true), loader(&config, 2, false));
                let mut watch = Watch::default();
                trainer
                    .fit(&train, &val, &mut watch, &Interrupt::default())
                    .unwrap();
                trainer
            };
            let one = steps(1);
            fault::plant(&[Fault::Step {
                fault: StepFault::InfiniteGradients,
                step: 2,
                times: 1,
            }]);
            let two = steps(2);
            fault::plant(&[]);
            assert_eq!((two.steps(), two.skipped_updates().unwrap()), (2, 1));
            let (before, after) = (one.learner.tensors(), two.learner.tensors());
            assert_eq!(before.len(), after.len());
            for ((name, before), (_, after)) in before.iter().zip(&after) {
                assert!(before.equal(after), "{name} in {precision:?} with {kind:?}");
            }
        }
    }
}
