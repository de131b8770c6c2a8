//! Checkpointing each DoubleConv computes what the plain run computes, bit for bit.

use super::{
    BLOCK, PLAIN, REENTRANT, Run, Setting, alone, batch, differing, gradients_of, state_of,
};
use train::model::Checkpointing;
use train::precision::Precision;

const STEPS: i64 = 5;

/// Runs both for some steps. Returns how many gradients were compared.
fn compare(setting: Setting, plain: Setting) -> usize {
    let mut checkpointed = Run::new(4, setting);
    let mut reference = Run::new(4, plain);
    let mut compared = 0;
    for step in 0..STEPS {
        let images = batch(100 + step, 2, setting.channels_last);
        reference.gradients(&images).unwrap();
        checkpointed.gradients(&images).unwrap();
        let (ours, theirs) = (gradients_of(&checkpointed), gradients_of(&reference));
        for (name, grad) in &ours {
            assert!(grad.defined(), "{name} has no gradient");
            assert!(
                grad.count_nonzero(None).int64_value(&[]) > 0,
                "{name}: all zero"
            );
        }
        assert_eq!(
            differing(&ours, &theirs),
            Vec::<String>::new(),
            "{setting:?} step {step}"
        );
        compared += ours.len();
        reference.update();
        checkpointed.update();
    }
    // Parameters, and BatchNorm's running statistics and counters.
    assert_eq!(
        differing(&state_of(&checkpointed), &state_of(&reference)),
        Vec::<String>::new()
    );
    compared
}

#[test]
fn gradients_and_buffers_equal_the_plain_run() {
    let _turn = alone();
    for precision in [Precision::Fp32, Precision::Bf16] {
        for channels_last in [false, true] {
            for checkpointing in [BLOCK, REENTRANT] {
                let plain = Setting {
                    precision,
                    channels_last,
                    checkpointing: Checkpointing::Off,
                };
                let setting = Setting {
                    checkpointing,
                    ..plain
                };
                let compared = compare(setting, plain);
                println!("{setting:?}: {compared} gradients compared, all equal");
                assert_eq!(compared, 82 * 5);
            }
        }
    }
}

/// The comparison above is worth nothing if it cannot fail.
#[test]
fn the_comparison_sees_one_altered_segment() {
    let _turn = alone();
    let images = batch(1, 2, true);
    let mut reference = Run::new(4, PLAIN);
    let mut altered = Run::new(
        4,
        Setting {
            checkpointing: BLOCK,
            ..PLAIN
        },
    );
    let name = "up_convs.1.conv.3.weight";
    let weight = altered
        .model
        .parameters()
        .get(name)
        .unwrap()
        .shallow_clone();
    tch::no_grad(|| drop(weight.get(0).f_add_scalar_(1e-3).unwrap()));
    reference.gradients(&images).unwrap();
    altered.gradients(&images).unwrap();
    let differing = differing(&gradients_of(&altered), &gradients_of(&reference));
    assert!(differing.len() > 40, "only {differing:?}");
}

#[test]
fn each_double_conv_is_recomputed_once() {
    let _turn = alone();
    for (checkpointing, early_stops) in [(BLOCK, 9), (REENTRANT, 0)] {
        let mut run = Run::new(
            4,
            Setting {
                checkpointing,
                ..PLAIN
            },
        );
        let images = batch(2, 2, true);
        let before = torch_ext::segment::stats();
        run.gradients(&images).unwrap();
        let after = torch_ext::segment::stats();
        assert_eq!(after.num_recomputes - before.num_recomputes, 9);
        assert_eq!(after.num_early_stops - before.num_early_stops, early_stops);
        assert_eq!(after.depth, 0);
    }
}

/// Convolution kernels of a backward: a plain one runs none forward, a checkpointed one runs
/// the 18 of its double convolutions again.
#[test]
fn backward_runs_the_convolutions_again() {
    let _turn = alone();
    for (checkpointing, expected) in [(Checkpointing::Off, 0), (BLOCK, 18), (REENTRANT, 18)] {
        let run = Run::new(
            4,
            Setting {
                checkpointing,
                ..PLAIN
            },
        );
        let images = batch(3, 2, true);
        let mode = train::model::ForwardMode {
            training: true,
            checkpointing,
        };
        let logits = run.model.forward(&images.0, mode).unwrap();
        let loss = train::loss::segmentation_loss(&logits, &images.1).unwrap();
        let probe = torch_ext::probe::Probe::begin().unwrap();
        torch_ext::backward(&loss).unwrap();
        let counts = probe.finish().unwrap();
        let calls = counts
            .iter()
            .find(|c| c.name == "aten::conv2d")
            .map_or(0, |c| c.num_calls);
        assert_eq!(calls, expected, "{checkpointing:?}");
    }
}

#[test]
fn nothing_is_recorded_without_a_graph() {
    let _turn = alone();
    let run = Run::new(
        4,
        Setting {
            checkpointing: BLOCK,
            ..PLAIN
        },
    );
    let images = batch(4, 1, true);
    let mode = train::model::ForwardMode {
        training: false,
        checkpointing: BLOCK,
    };
    let with = tch::no_grad(|| run.model.forward(&images.0, mode).unwrap());
    let plain = train::model::ForwardMode::EVALUATION;
    let without = tch::no_grad(|| run.model.forward(&images.0, plain).unwrap());
    assert!(with.equal(&without));
    assert!(!with.requires_grad());
}
