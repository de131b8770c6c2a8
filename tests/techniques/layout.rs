//! The whole network stays in channels-last, forward and backward.

use config::Precision;
use engine::model::Checkpointing;
use layout::Watch;

use super::{PLAIN, Run, Setting, alone, batch, batch_of, policies};

/// If an image is smaller than the kernel, the backward pass of a convolution copies the weight to
/// channels-first on CPUs without AVX512. Four halvings of this size leave 3x4 pixels.
const SIZE: [u32; 2] = [48, 64];

fn report(setting: &Setting) -> layout::FormatReport {
    let mut run = Run::new(4, setting);
    let images = batch_of(8, 2, SIZE, setting.channels_last);
    let watch = Watch::begin().unwrap();
    run.gradients(&images).unwrap();
    watch.finish().unwrap()
}

#[test]
fn every_activation_and_gradient_stays_channels_last() {
    let _turn = alone();
    for precision in [Precision::Fp32, Precision::Bf16] {
        let off = ("off", Checkpointing::Off);
        for (name, checkpointing) in policies().into_iter().chain([off]) {
            let report = report(&Setting {
                precision,
                checkpointing,
                ..PLAIN
            });
            println!("{precision:?} {name}: {} images watched", report.num_images);
            assert!(report.num_images > 100, "{report:?}");
            assert!(
                report.all_channels_last(),
                "{precision:?} {name}: {report:?}"
            );
        }
    }
}

#[test]
fn the_watch_notices_a_run_without_channels_last() {
    let _turn = alone();
    let report = report(&Setting {
        channels_last: false,
        ..PLAIN
    });
    assert!(
        report
            .offenders
            .iter()
            .any(|(name, _)| name == "aten::conv2d"),
        "{report:?}"
    );
}

/// Other kernels add in a different order, which gives fp32 rounding differences over 23 layers.
const TOLERANCE: f64 = 1e-4;

#[test]
fn the_format_changes_only_rounding() {
    let _turn = alone();
    let answer = |channels_last| {
        let run = Run::new(
            4,
            &Setting {
                channels_last,
                ..PLAIN
            },
        );
        let images = batch(9, 2, channels_last);
        let mode = engine::model::ForwardMode {
            training: true,
            checkpointing: Checkpointing::Off,
            split_concat: false,
            kernels: engine::model::Kernels::Fused,
        };
        tch::no_grad(|| run.model().forward(&images.0, &mode).unwrap())
    };
    let difference = (answer(true) - answer(false)).abs().max().double_value(&[]);
    assert!(difference < TOLERANCE, "{difference}");
}
