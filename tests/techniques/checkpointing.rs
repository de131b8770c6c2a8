//! Checkpointed runs compute the same as the plain run, bit for bit.

use config::{Network, Precision};
use engine::model::{Checkpointing, Kernels};
use schedule::{Op, Plan, Schedule};
use tch::Device;

use super::{
    BLOCK, PLAIN, REENTRANT, Run, STAGE, STAGE_REENTRANT, Setting, alone, batch, differing,
    everything, gradients_of, mixed, policies, selective, state_of,
};

const STEPS: u64 = 5;

/// Runs both for some steps, and returns the number of compared gradients.
fn compare(setting: &Setting, plain: &Setting) -> usize {
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
    // Parameters, plus BatchNorm's running statistics and counters.
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
        let cases = [
            (false, Kernels::Library),
            (true, Kernels::Library),
            (true, Kernels::Fused),
        ];
        for (channels_last, kernels) in cases {
            let plain = Setting {
                precision,
                channels_last,
                kernels,
                ..PLAIN
            };
            for (name, checkpointing) in policies() {
                let setting = Setting {
                    checkpointing,
                    ..plain.clone()
                };
                let compared = compare(&setting, &plain);
                let format = if channels_last { "last" } else { "first" };
                println!(
                    "{name}, {precision:?}, channels-{format}, {kernels:?}: {compared} gradients, all equal"
                );
                assert_eq!(compared, 82 * 5);
            }
        }
    }
}

/// The comparison above would prove nothing if it could not fail.
#[test]
fn the_comparison_sees_one_altered_segment() {
    let _turn = alone();
    let images = batch(1, 2, true);
    let mut reference = Run::new(4, &PLAIN);
    let mut altered = Run::new(
        4,
        &Setting {
            checkpointing: BLOCK,
            ..PLAIN
        },
    );
    let name = "up_convs.1.conv.3.weight";
    let weight = altered
        .model()
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
fn each_segment_is_recomputed_once() {
    let _turn = alone();
    let early = [(BLOCK, 9), (REENTRANT, 0), (STAGE, 9), (STAGE_REENTRANT, 0)];
    for (checkpointing, early_stops) in early {
        let mut run = Run::new(
            4,
            &Setting {
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

/// Counts of forward operators that backward runs again, from libtorch's own callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recomputed {
    /// Convolutions of every kind.
    all: u64,
    /// Transposed convolutions among them.
    transposed: u64,
}

fn recomputed(setting: &Setting) -> Recomputed {
    let run = Run::new(4, setting);
    let images = batch(3, 2, setting.channels_last);
    let loss = run.loss(&images);
    let probe = torch_ext::probe::Probe::begin().unwrap();
    torch_ext::backward(&loss).unwrap();
    let counts = probe.finish().unwrap();
    let calls = |name: &str| {
        let row = counts.iter().find(|c| c.name == name);
        row.map_or(0, |c| c.num_calls)
    };
    // All gradients were computed: 23 convolutions, most of them in two halves.
    assert!(calls("aten::convolution_backward") >= 23);
    // With autocast a convolution is counted twice, the second time under the name of the call.
    let per_call = match setting.precision {
        Precision::Fp32 => 1,
        _ if matches!(setting.checkpointing, Checkpointing::Scheduled(_)) => 1,
        _ => 2,
    };
    Recomputed {
        all: calls("aten::convolution"),
        transposed: calls("aten::conv_transpose2d") / per_call,
    }
}

/// A plain backward runs no forward convolutions. `selective` runs the first one of all again,
/// `block` all 18 but no transposed one, `stage` also those, and `mixed` those in its schedule.
#[test]
fn backward_runs_the_convolutions_again() {
    let _turn = alone();
    let of = |convs, transposed| Recomputed {
        all: convs + transposed,
        transposed,
    };
    let network = Network::new(4, 1);
    let plan = Plan::mixed(&network, false);
    let target = engine::checkpointing::target(Device::Cpu, true);
    let schedule = Schedule::compile(&network, &plan, target).unwrap();
    let count = |is: fn(&Op) -> bool| schedule.backward().iter().filter(|op| is(op)).count() as u64;
    let listed = of(
        count(|op| matches!(op, Op::Conv(..))),
        count(|op| matches!(op, Op::Up(_))),
    );
    assert!(
        (1..18).contains(&(listed.all - listed.transposed)),
        "{listed:?}"
    );
    let expected = [
        (Checkpointing::Off, of(0, 0)),
        (everything(), of(0, 0)),
        (selective(), of(1, 3)),
        (BLOCK, of(18, 0)),
        (REENTRANT, of(18, 0)),
        (STAGE, of(18, 4)),
        (STAGE_REENTRANT, of(18, 4)),
        (mixed(), listed),
    ];
    for precision in [Precision::Fp32, Precision::Bf16] {
        for (checkpointing, expected) in &expected {
            let setting = Setting {
                precision,
                checkpointing: checkpointing.clone(),
                ..PLAIN
            };
            assert_eq!(&recomputed(&setting), expected, "{setting:?}");
        }
    }
}

#[test]
fn nothing_is_recorded_without_a_graph() {
    let _turn = alone();
    let run = Run::new(
        4,
        &Setting {
            checkpointing: BLOCK,
            ..PLAIN
        },
    );
    let images = batch(4, 1, true);
    let mode = engine::model::ForwardMode {
        training: false,
        checkpointing: BLOCK,
        split_concat: false,
        kernels: Kernels::Fused,
    };
    let with = tch::no_grad(|| run.model().forward(&images.0, &mode).unwrap());
    let plain = engine::model::ForwardMode::evaluation(Kernels::Fused);
    let without = tch::no_grad(|| run.model().forward(&images.0, &plain).unwrap());
    assert!(with.equal(&without));
    assert!(!with.requires_grad());
}
