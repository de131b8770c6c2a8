//! Scheduled steps beyond the policies: any plan, any shape, and other demands of a run.

use std::sync::Arc;

use config::{Network, Precision};
use engine::model::{Checkpointing, ForwardMode, Kernels};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use schedule::{Keep, Op, Plan, Schedule, Segment, Target};
use tch::{Device, Kind, Tensor};

use super::{
    PLAIN, Run, Setting, alone, batch, batch_of, batch_with, differing, gradients_of, mixed,
    scheduled, selective, state_of,
};

/// The gradients of a run on one batch, and all its tensors after a step.
fn step(setting: &Setting, width: u32, images: &(Tensor, Tensor)) -> [Vec<(String, Tensor)>; 2] {
    let network = Network {
        in_channels: u32::try_from(images.0.size()[1]).unwrap(),
        ..Network::new(width, 1)
    };
    let mut run = Run::of(network, 7, setting);
    run.gradients(images).unwrap();
    let gradients = gradients_of(&run);
    run.update();
    [gradients, state_of(&run)]
}

fn assert_equal(setting: &Setting, width: u32, images: &(Tensor, Tensor)) {
    let plain = Setting {
        checkpointing: Checkpointing::Off,
        ..setting.clone()
    };
    let (ours, theirs) = (step(setting, width, images), step(&plain, width, images));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(
            differing(ours, theirs),
            Vec::<String>::new(),
            "{:?}, channels-last {}, width {width}, {:?}",
            setting.precision,
            setting.channels_last,
            images.0.size()
        );
    }
}

/// Whatever a plan keeps, and whatever the library does not need, results equal the plain run.
#[test]
fn any_plan_computes_the_same() {
    /// Each case trains two networks for a step.
    const CASES: u32 = 40;
    let _turn = alone();
    // The same plans each time, so that a failure is repeatable.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let keep = prop::sample::select(Keep::ALL.to_vec());
    let plans = prop::collection::vec(keep, 9);
    let target =
        any::<[bool; 3]>().prop_map(|[in_place_norm, shapeless_input_grad, fused]| Target {
            in_place_norm,
            shapeless_input_grad,
            fused,
        });
    let strategy = (plans, target, any::<bool>(), any::<bool>(), 1..3_u32);
    runner
        .run(&strategy, |(stages, target, channels_last, half, num)| {
            let network = Network::new(4, 1);
            let schedule = Schedule::compile(&network, &Plan::new(stages), target).unwrap();
            let setting = Setting {
                precision: if half {
                    Precision::Bf16
                } else {
                    Precision::Fp32
                },
                channels_last,
                checkpointing: Checkpointing::Scheduled(Arc::new(schedule)),
                ..PLAIN
            };
            assert_equal(&setting, 4, &batch(30, num, channels_last));
            Ok(())
        })
        .unwrap();
}

/// One row, one image, few channels: shapes that a schedule might cut or view wrongly.
#[test]
fn odd_shapes() {
    let _turn = alone();
    for channels_last in [true, false] {
        for (width, num, size) in [
            (2, 1, [16, 32]),
            (2, 3, [16, 48]),
            (3, 1, [48, 80]),
            (8, 1, [32, 16]),
        ] {
            for checkpointing in [selective(), mixed()] {
                let setting = Setting {
                    channels_last,
                    checkpointing,
                    ..PLAIN
                };
                assert_equal(&setting, width, &batch_of(31, num, size, channels_last));
            }
        }
    }
}

/// Images of other channels than RGB, of which one has the same order in both formats.
#[test]
fn other_channels() {
    let _turn = alone();
    for channels_last in [true, false] {
        for channels in [1, 4, 16] {
            let images = batch_with(channels, 35, 2, [32, 48], channels_last);
            let strides = images.0.stride();
            assert_eq!(strides[3] == 1, !channels_last || channels == 1);
            assert_eq!(
                strides[1] == 1,
                channels_last,
                "{channels} channels: {strides:?}"
            );
            for checkpointing in [selective(), mixed()] {
                let setting = Setting {
                    channels_last,
                    checkpointing,
                    ..PLAIN
                };
                assert_equal(&setting, 4, &images);
            }
        }
    }
}

/// Rounding of fp32 sums over an image of this size through the network.
const ONE_CHANNEL_TOLERANCE: f64 = 1e-4;

/// With one channel, strides fit both formats, and libtorch decides by the strides. Plain and
/// scheduled runs may therefore use kernels that add in different orders.
#[test]
fn one_channel_is_equal_within_rounding() {
    let _turn = alone();
    for channels_last in [true, false] {
        let images = batch_of(34, 2, [32, 48], channels_last);
        let plain = Setting {
            channels_last,
            ..PLAIN
        };
        let [expected, _] = step(&plain, 1, &images);
        for checkpointing in [selective(), mixed()] {
            let setting = Setting {
                checkpointing,
                ..plain.clone()
            };
            let [ours, _] = step(&setting, 1, &images);
            for ((name, ours), (_, theirs)) in ours.iter().zip(&expected) {
                let error = (ours - theirs).abs().max().double_value(&[]);
                let scale = theirs.abs().max().double_value(&[]).max(1e-3);
                assert!(
                    error < ONE_CHANNEL_TOLERANCE * scale,
                    "{name}: {error} of {scale}"
                );
            }
        }
    }
}

/// With parts of 16 MiB a tensor has several, and the last one has another length.
#[test]
fn tensors_of_several_parts() {
    let _turn = alone();
    for channels_last in [true, false] {
        let images = batch_of(32, 5, [208, 336], channels_last);
        // 16 channels of 5 x 208 x 336 in fp32: 21 MiB.
        for checkpointing in [selective(), mixed()] {
            let setting = Setting {
                channels_last,
                checkpointing,
                ..PLAIN
            };
            assert_equal(&setting, 16, &images);
        }
    }
}

/// Most CPUs emulate fp16, which is slow but gives the same bits.
#[test]
fn fp16_computes_the_same() {
    let _turn = alone();
    let setting = Setting {
        precision: Precision::Fp16,
        checkpointing: selective(),
        ..PLAIN
    };
    assert_equal(&setting, 2, &batch(33, 1, true));
}

/// Backward adds to existing gradients.
#[test]
fn gradients_accumulate() {
    let _turn = alone();
    let run = |checkpointing| {
        let mut run = Run::new(
            4,
            &Setting {
                checkpointing,
                ..PLAIN
            },
        );
        for seed in [40, 41, 42] {
            run.gradients(&batch(seed, 2, true)).unwrap();
        }
        gradients_of(&run)
    };
    let plain = run(Checkpointing::Off);
    let once = {
        let mut run = Run::new(4, &PLAIN);
        run.gradients(&batch(40, 2, true)).unwrap();
        gradients_of(&run)
    };
    assert_eq!(differing(&plain, &once).len(), 82);
    for checkpointing in [selective(), mixed()] {
        assert_eq!(differing(&run(checkpointing), &plain), Vec::<String>::new());
    }
}

/// The comparisons would prove nothing if they could not fail. This alters the shift of one batch
/// norm between forward and backward without autograd noticing. Gradients depend on it only through
/// rebuilt tensors, and with fused kernels not at all, as those keep what follows from it.
#[test]
fn an_altered_segment_is_seen() {
    let _turn = alone();
    let images = batch(43, 2, true);
    let plain = |kernels| Setting { kernels, ..PLAIN };
    let altered = |checkpointing, kernels| {
        let setting = Setting {
            checkpointing,
            ..plain(kernels)
        };
        let run = Run::new(4, &setting);
        let loss = run.loss(&images);
        let shift = run.model().parameters().get("downs.2.conv.1.bias").unwrap();
        // `data` shares the bytes but not the version counter.
        torch_ext::ops::add_scalar_(&shift.data(), 1.0).unwrap();
        torch_ext::backward(&loss).unwrap();
        gradients_of(&run)
    };
    let expected = |kernels| {
        let mut run = Run::new(4, &plain(kernels));
        run.gradients(&images).unwrap();
        gradients_of(&run)
    };
    let unaltered = [
        (Checkpointing::Off, Kernels::Library),
        (Checkpointing::Off, Kernels::Fused),
        (selective(), Kernels::Fused),
        (mixed(), Kernels::Fused),
    ];
    for (checkpointing, kernels) in unaltered {
        assert_eq!(
            differing(&altered(checkpointing, kernels), &expected(kernels)),
            Vec::<String>::new(),
            "nothing is rebuilt from it"
        );
    }
    for checkpointing in [selective(), mixed()] {
        let altered = altered(checkpointing, Kernels::Library);
        let differing = differing(&altered, &expected(Kernels::Library));
        assert!(
            !differing.is_empty() && differing.len() < 82,
            "{differing:?}"
        );
    }
}

/// A visible write is an error, as with autograd.
#[test]
fn a_parameter_written_to_before_backward_is_an_error() {
    let _turn = alone();
    let images = batch(48, 2, true);
    for checkpointing in [selective(), mixed()] {
        let setting = Setting {
            checkpointing,
            ..PLAIN
        };
        let run = Run::new(2, &setting);
        let logits = run.model().forward(&images.0, &setting.mode()).unwrap();
        let weight = run.model().parameters().get("ups_tr.1.weight").unwrap();
        tch::no_grad(|| torch_ext::ops::add_scalar_(weight, 1.0).unwrap());
        let error = torch_ext::backward(&logits.sum(Kind::Float)).unwrap_err();
        assert!(
            matches!(&error, torch_ext::Error::RecomputeMismatch(said) if said.contains("modified")),
            "{error:?}"
        );
    }
}

/// In fp32, two orders of a sum of 2 x 9 x C products agree to a few units in the last place of the
/// largest term. Over 23 layers and their backward the difference stays below this.
const SPLIT_TOLERANCE: f64 = 2e-4;

#[test]
fn a_split_concatenation_is_equal_within_rounding() {
    let _turn = alone();
    let images = batch_of(44, 2, [64, 96], true);
    let gradients = |checkpointing, split_concat| {
        let setting = Setting {
            checkpointing,
            split_concat,
            ..PLAIN
        };
        step(&setting, 8, &images)[0]
            .iter()
            .map(|(name, grad)| (name.clone(), grad.copy()))
            .collect::<Vec<_>>()
    };
    let network = Network::new(8, 1);
    let plain = gradients(Checkpointing::Off, false);
    let block = Checkpointing::Segments {
        unit: Segment::Block,
        use_reentrant: false,
    };
    let stage = Checkpointing::Segments {
        unit: Segment::Stage,
        use_reentrant: false,
    };
    let split_plan = |plan: Plan| scheduled(&plan.with_split_concat(true));
    for (name, checkpointing) in [
        ("off", Checkpointing::Off),
        ("block", block),
        ("stage", stage),
        ("selective", split_plan(Plan::selective(&network))),
        ("mixed", split_plan(Plan::mixed(&network, true))),
        (
            "everything",
            split_plan(Plan::uniform(&network, Keep::Everything)),
        ),
        (
            "nothing",
            split_plan(Plan::uniform(&network, Keep::Nothing)),
        ),
    ] {
        let split = gradients(checkpointing, true);
        let mut worst = 0.0_f64;
        for ((tensor, ours), (_, theirs)) in split.iter().zip(&plain) {
            let scale = theirs.abs().max().double_value(&[]);
            let error = (ours - theirs).abs().max().double_value(&[]);
            // The gradient of a bias before batch norm is pure rounding.
            let is_bias_before_norm =
                tensor.ends_with("conv.0.bias") || tensor.ends_with("conv.3.bias");
            if !is_bias_before_norm {
                worst = worst.max(error / scale);
            }
        }
        println!("{name}: largest error {worst:.1e} of the largest gradient of a tensor");
        assert!(worst < SPLIT_TOLERANCE, "{name}: {worst}");
        assert!(worst > 0.0, "{name}: nothing was split");
    }
}

#[test]
fn a_second_backward_is_refused() {
    let _turn = alone();
    let run = Run::new(2, &PLAIN);
    let mode = ForwardMode {
        training: true,
        checkpointing: selective(),
        split_concat: false,
        kernels: Kernels::Fused,
    };
    let images = batch(45, 1, true);
    let loss = run
        .model()
        .forward(&images.0, &mode)
        .unwrap()
        .sum(Kind::Float);
    torch_ext::backward_with(&loss, None, true).unwrap();
    let error = torch_ext::backward(&loss).unwrap_err();
    assert!(error.to_string().contains("second time"), "{error}");
    // Images that require a gradient would never get it.
    let wanting = images.0.set_requires_grad(true);
    let error = run.model().forward(&wanting, &mode).unwrap_err();
    assert!(error.to_string().contains("`block` or `stage`"), "{error}");
}

/// A forward without a backward holds nothing after it is dropped.
#[test]
fn a_dropped_step_leaves_nothing() {
    let _turn = alone();
    let run = Run::new(2, &PLAIN);
    let images = batch(46, 2, true);
    let mode = |checkpointing| ForwardMode {
        training: true,
        checkpointing,
        split_concat: false,
        kernels: Kernels::Fused,
    };
    drop(run.model().forward(&images.0, &mode(selective())).unwrap());
    let level = torch_ext::meter::read().allocated_bytes;
    for checkpointing in [selective(), mixed()] {
        drop(
            run.model()
                .forward(&images.0, &mode(checkpointing))
                .unwrap(),
        );
        assert_eq!(torch_ext::meter::read().allocated_bytes, level);
    }
    // Without a graph nothing is held.
    let logits = tch::no_grad(|| run.model().forward(&images.0, &mode(selective())).unwrap());
    assert!(!logits.requires_grad());
}

#[test]
fn a_schedule_of_another_network_is_refused() {
    let _turn = alone();
    let run = Run::new(2, &PLAIN);
    let shallow = Network {
        depth: 3,
        ..Network::new(2, 1)
    };
    let target = engine::checkpointing::target(Device::Cpu, true);
    let schedule = Schedule::compile(&shallow, &Plan::selective(&shallow), target).unwrap();
    assert!(schedule.forward().contains(&Op::Head));
    let mode = ForwardMode {
        training: true,
        checkpointing: Checkpointing::Scheduled(Arc::new(schedule)),
        split_concat: false,
        kernels: Kernels::Fused,
    };
    assert!(run.model().forward(&batch(47, 1, true).0, &mode).is_err());
}

/// A few steps on batches that do not come from the random generator, which belongs to the process.
fn trained(mut run: Run) -> Vec<(String, Tensor)> {
    for seed in 50..54 {
        run.gradients(&batch(seed, 2, true)).unwrap();
        run.update();
    }
    state_of(&run)
}

/// Trains several models in one process, one after another and on several threads: they share only
/// the allocator.
#[test]
fn models_train_side_by_side() {
    let _turn = alone();
    let run = |seed, checkpointing| {
        let setting = Setting {
            checkpointing,
            ..PLAIN
        };
        Run::seeded(4, seed, &setting)
    };
    let expected = [1, 2].map(|seed| trained(run(seed, Checkpointing::Off)));
    assert!(!differing(&expected[0], &expected[1]).is_empty());

    let [first, second] = [run(1, selective()), run(2, mixed())];
    let in_turn = [trained(first), trained(second)];
    let [first, second] = [run(1, mixed()), run(2, selective())];
    let at_once = std::thread::scope(|scope| {
        let first = scope.spawn(move || trained(first));
        let second = scope.spawn(move || trained(second));
        [first.join().unwrap(), second.join().unwrap()]
    });
    for ours in [in_turn, at_once] {
        for (ours, theirs) in ours.iter().zip(&expected) {
            assert_eq!(differing(ours, theirs), Vec::<String>::new());
        }
    }
}
