//! Checks before a run, and the ladder of prediction.

use std::time::Duration;

use config::{CheckpointPolicy, Precision, RunConfig};
use data::Batch;
use engine::Error;
use engine::interrupt::Interrupt;
use engine::ladder::{Failure, StepRecipe};
use engine::predictor::Predictor;
use engine::trainer::{Cause, Clock, Trainer};
use tch::{Device, Tensor};
use torch_ext::{Error as TensorError, meter};
use train::run::proposal::{Limits, ladder};

use super::{IMAGES, Watch, config, loader, policy};
use crate::techniques::alone;

fn trainer(config: &RunConfig, precision: Precision) -> Trainer {
    let ladder = ladder(config, Device::Cpu, IMAGES, Limits::default());
    Trainer::new(config.clone(), Device::Cpu, precision)
        .unwrap()
        .with_ladder(ladder)
}

fn batches(config: &RunConfig) -> Vec<Batch> {
    let epoch = loader(config, 1, true).epoch(0);
    epoch.take(1).map(|batch| batch.unwrap()).collect()
}

fn copies(trainer: &Trainer) -> Vec<Tensor> {
    let tensors = trainer.tensors().into_iter();
    tensors.map(|(_, tensor)| tensor.detach().copy()).collect()
}

fn num_differing(a: &[Tensor], b: &[Tensor]) -> usize {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| !a.equal(b)).count()
}

/// Trains to the end.
fn fit(mut trainer: Trainer) -> Vec<Tensor> {
    let (train, val) = (
        loader(&trainer.config, 1, true),
        loader(&trainer.config, 2, false),
    );
    let mut watch = Watch::default();
    trainer
        .fit(&train, &val, &mut watch, &Interrupt::default())
        .unwrap();
    assert!(watch.rungs.is_empty());
    copies(&trainer)
}

/// Seconds of a step, with and without checkpointing and channels-last.
struct Speeds {
    checkpointing: [u64; 2],
    channels_last: [u64; 2],
}

impl Speeds {
    fn of(&self, recipe: &StepRecipe) -> Duration {
        let pick = |[with, without]: [u64; 2], is_on| if is_on { with } else { without };
        let config = &recipe.config;
        let checkpointing = pick(self.checkpointing, config.use_grad_checkpoint);
        let layout = pick(self.channels_last, config.use_channels_last);
        Duration::from_millis(checkpointing + layout)
    }
}

/// The rungs of a warm-up, the trainer after it, and the number of timed steps.
fn warm_up(speeds: &Speeds, num_steps: u64) -> (Vec<String>, Trainer, u32) {
    let config = policy(CheckpointPolicy::Block);
    let mut trainer = trainer(&config, Precision::Fp32);
    let before = copies(&trainer);
    let (mut watch, mut num_tries) = (Watch::default(), 0);
    let mut clock = |trainer: &mut Trainer, batches: &[Batch]| {
        num_tries += 1;
        // The pass really runs, but its time is made up.
        trainer.time_of_step(batches)?;
        Ok(speeds.of(&trainer.recipe()))
    };
    trainer
        .warm_up(&batches(&config), num_steps, &mut clock, &mut watch)
        .unwrap();
    assert_eq!(num_differing(&before, &copies(&trainer)), 0);
    for (failure, _) in &watch.rungs {
        assert!(matches!(failure, Failure::Slow { .. }), "{failure}");
    }
    let rungs = watch.rungs.into_iter();
    let rungs = rungs.map(|(_, rung)| format!("{} -> {}", rung.from, rung.to));
    (rungs.collect(), trainer, num_tries)
}

#[expect(clippy::print_stderr, reason = "a test that skips says so")]
fn is_predicted() -> bool {
    let policy = policy(CheckpointPolicy::Block);
    let is_predicted = trainer(&policy, Precision::Fp32).may_warm_up(1000);
    if !is_predicted {
        eprintln!("skipped: memory is not predicted for this CPU");
    }
    is_predicted
}

/// The guide's Q3 and Q4.
#[test]
fn techniques_that_do_not_pay_are_dropped_before_a_long_run() {
    let _turn = alone();
    if !is_predicted() {
        return;
    }
    let slow = Speeds {
        checkpointing: [900, 600],
        channels_last: [500, 300],
    };
    let (rungs, trainer, _) = warm_up(&slow, 1000);
    assert_eq!(
        rungs,
        [
            "checkpointing block -> checkpointing off",
            "channels-last on -> channels-last off"
        ]
    );
    // The result is as if the recipe had been chosen from the start.
    let plain = RunConfig {
        use_channels_last: false,
        ..config()
    };
    let plain = fit(Trainer::new(plain, Device::Cpu, Precision::Fp32).unwrap());
    assert_eq!(num_differing(&plain, &fit(trainer)), 0);
}

#[test]
fn techniques_stay_if_they_pay_or_the_run_is_short() {
    let _turn = alone();
    if !is_predicted() {
        return;
    }
    let paying = Speeds {
        checkpointing: [600, 590],
        channels_last: [500, 900],
    };
    let (rungs, trainer, _) = warm_up(&paying, 1000);
    assert_eq!(rungs, [""; 0]);
    let weight = trainer
        .learner
        .model
        .parameters()
        .get("out_conv.weight")
        .unwrap();
    assert!(trainer.config.use_channels_last && weight.defined());
    let plain = fit(Trainer::new(config(), Device::Cpu, Precision::Fp32).unwrap());
    assert_eq!(num_differing(&plain, &fit(trainer)), 0);
    let slow = Speeds {
        checkpointing: [900, 100],
        channels_last: [900, 100],
    };
    // Runs of few steps are not timed; a run of 90 seconds is recognised from one step.
    assert_eq!(warm_up(&slow, 100).2, 0);
    let (rungs, _, num_tries) = warm_up(
        &Speeds {
            checkpointing: [50, 10],
            channels_last: [40, 10],
        },
        1000,
    );
    assert_eq!((rungs.len(), num_tries), (0, 1));
}

#[test]
fn a_step_that_fails_while_it_is_timed_is_left_to_the_run() {
    let _turn = alone();
    let config = policy(CheckpointPolicy::Block);
    let mut trainer = trainer(&config, Precision::Fp32);
    let batches = batches(&config);
    let out_of_memory = |trainer: &mut Trainer, batches: &[Batch]| {
        meter::fail_after(Some(30));
        let outcome = trainer.time_of_step(batches);
        meter::fail_after(None);
        outcome
    };
    let no_number = |_: &mut Trainer, _: &[Batch]| {
        let cause = Cause::Forward;
        Err(Error::NonFiniteLoss { step: 0, cause })
    };
    let before = copies(&trainer);
    let mut watch = Watch::default();
    for mut clock in [
        Box::new(out_of_memory) as Box<Clock<'_>>,
        Box::new(no_number),
    ] {
        trainer
            .warm_up(&batches, 1000, &mut clock, &mut watch)
            .unwrap();
    }
    assert!(watch.rungs.is_empty() && !trainer.is_poisoned());
    assert_eq!(num_differing(&before, &copies(&trainer)), 0);
}

/// The first half of the guide's Q1: the check before the run shows whether AMP is to blame.
#[test]
fn amp_is_compared_with_fp32_and_nothing_changes() {
    let _turn = alone();
    let config = RunConfig {
        use_amp: true,
        ..config()
    };
    for precision in [Precision::Bf16, Precision::Fp16] {
        let mut trainer = trainer(&config, precision);
        let before = copies(&trainer);
        let batch = &batches(&config)[0];
        let agreement = trainer.preflight(batch).unwrap().unwrap();
        assert!(agreement.holds(), "{precision:?}: {agreement}");
        assert!(
            agreement.mean > 0.0 && agreement.mean <= agreement.largest,
            "{agreement}"
        );
        assert_eq!(num_differing(&before, &copies(&trainer)), 0);
        // Logits beyond 65504.
        let weight = trainer
            .learner
            .model
            .parameters()
            .get("out_conv.weight")
            .unwrap();
        tch::no_grad(|| torch_ext::ops::add_scalar_(weight, 1e6).unwrap());
        let agreement = trainer.preflight(batch).unwrap().unwrap();
        assert_eq!(agreement.holds(), precision == Precision::Bf16);
    }
    let mut fp32 = trainer(&config, Precision::Fp32);
    assert_eq!(fp32.preflight(&batches(&config)[0]).unwrap(), None);
}

#[test]
fn an_image_is_predicted_in_less_memory() {
    let _turn = alone();
    let config = config();
    let trainer = trainer(&config, Precision::Fp32);
    let side = super::SIDE as usize;
    let mut batch = Batch::new(3, side, side);
    let whole = &batches(&config)[0];
    batch.images = whole.images[..3 * side * side].to_vec();
    batch.masks = whole.masks[..side * side].to_vec();
    batch.len = 1;
    let new = || Predictor::new(trainer.learner.evaluator(), 0.5);
    let answer = |predictor: &mut Predictor<'_>| {
        let mut rungs = Vec::new();
        let answer = predictor.predict(&batch, (90, 70), &mut |words| rungs.push(words.to_owned()));
        meter::set_limit(None);
        meter::fail_after(None);
        (answer, rungs)
    };
    let (plain, rungs) = answer(&mut new());
    let plain = plain.unwrap();
    assert_eq!((plain.len(), rungs.len()), (90 * 70, 0));
    let level = meter::read().allocated_bytes;
    meter::reset_peak();
    answer(&mut new()).0.unwrap();
    let peak = meter::read().peak_bytes - level;

    meter::fail_after(Some(20));
    let (again, rungs) = answer(&mut new());
    assert_eq!(again.unwrap(), plain);
    assert_eq!(rungs, ["again, unchanged"]);

    // Less and less memory, until nothing fits.
    let mut ended = false;
    for percent in [90, 70, 50, 30, 20, 10, 2] {
        meter::set_limit(Some(level + peak * percent / 100));
        match answer(&mut new()) {
            (Ok(answered), rungs) => {
                assert!(!ended && !rungs.is_empty(), "{percent} %: {rungs:?}");
                let same = answered.iter().zip(&plain).filter(|(a, b)| a == b).count();
                assert!(same * 100 >= plain.len() * 98, "{percent} %: {same}");
            }
            (Err(Error::Tensor(error)), rungs) => {
                assert!(matches!(error, TensorError::OutOfMemory { .. }), "{error}");
                assert!(rungs.len() >= 2, "{rungs:?}");
                ended = true;
            }
            (Err(error), _) => panic!("{error}"),
        }
        assert_eq!(meter::read().allocated_bytes, level, "{percent} %");
    }
    assert!(ended);
}
