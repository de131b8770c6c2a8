//! Compares predictions with measured steps: ours on a CPU, and steps that NVIDIA published.

use config::CheckpointPolicy::{self, Block, Mixed, Off, Selective, Stage};
use config::{ImageSize, Precision, RunConfig};
use machine::Hardware;

use super::Speed;
use crate::{Cpu, Cuda, Flops, TrainingStep};

/// A measured step on a CPU with two threads.
struct Measured {
    width: u32,
    size: (u32, u32),
    batch: u32,
    precision: Precision,
    policy: CheckpointPolicy,
    split: bool,
    seconds: f64,
}

const fn narrow(
    precision: Precision,
    policy: CheckpointPolicy,
    split: bool,
    seconds: f64,
) -> Measured {
    Measured {
        width: 16,
        size: (256, 256),
        batch: 4,
        precision,
        policy,
        split,
        seconds,
    }
}

const fn wide(
    precision: Precision,
    policy: CheckpointPolicy,
    split: bool,
    seconds: f64,
) -> Measured {
    Measured {
        width: 64,
        size: (512, 512),
        batch: 2,
        ..narrow(precision, policy, split, seconds)
    }
}

const FULL: Precision = Precision::Fp32;
const HALF: Precision = Precision::Bf16;

/// `docs/measurements/2026-11-25-amd-epyc-bench.md`: medians over its tables.
const NARROW: [Measured; 8] = [
    narrow(FULL, Off, false, 0.2452),
    narrow(FULL, Selective, false, 0.263),
    narrow(HALF, Off, false, 0.143),
    narrow(HALF, Selective, false, 0.156),
    narrow(HALF, Mixed, false, 0.178),
    narrow(HALF, Block, false, 0.185),
    narrow(HALF, Stage, false, 0.190),
    narrow(HALF, Mixed, true, 0.176),
];

/// `docs/measurements/2026-11-25-amd-epyc-checkpointing.md`; in half precision, the mean time of
/// `off` in two tables, times the ratio to `off`.
const WIDE: [Measured; 8] = [
    wide(FULL, Off, false, 7.079),
    wide(FULL, Selective, false, 7.072),
    wide(HALF, Off, false, 3.59),
    wide(HALF, Selective, false, 3.58),
    wide(HALF, Mixed, false, 4.04),
    wide(HALF, Block, false, 4.42),
    wide(HALF, Stage, false, 4.54),
    wide(HALF, Mixed, true, 4.10),
];

/// The error that remains with one pair of rates for all widths.
const TOLERANCE: f64 = 0.25;

fn predicted(measured: &Measured) -> f64 {
    let config = RunConfig {
        width: measured.width,
        img_size: ImageSize::new(measured.size.0, measured.size.1),
        batch: measured.batch,
        use_amp: measured.precision == Precision::Bf16,
        split_concat: measured.split,
        ..RunConfig::default().with_policy(measured.policy)
    };
    let step = TrainingStep::of(&config, measured.precision).unwrap();
    let speed = Speed::of_cpu(2, measured.precision);
    // They were measured with libtorch's kernels.
    let cpu = Cpu {
        exact_kernels: true,
        ..Cpu::avx512(2)
    };
    step.seconds(cpu, &speed).unwrap()
}

#[test]
fn measured_steps_of_a_cpu() {
    let mut squares = 0.0;
    for measured in NARROW.iter().chain(&WIDE) {
        let ratio = predicted(measured) / measured.seconds;
        let name = (measured.width, measured.precision, measured.policy);
        assert!((ratio - 1.0).abs() < TOLERANCE, "{name:?}: {ratio:.3}");
        squares += ratio.ln().powi(2);
    }
    let count = (NARROW.len() + WIDE.len()) as f64;
    let spread = (squares / count).sqrt();
    assert!(spread < 0.12, "{spread:.3}");
}

/// The policies' measured order of time, at both sizes in half precision.
#[test]
fn policies_in_the_order_of_their_time() {
    for all in [&NARROW, &WIDE] {
        let times: Vec<f64> = [Off, Selective, Mixed, Block, Stage]
            .into_iter()
            .map(|policy| {
                let is_it =
                    |it: &&Measured| it.precision == HALF && it.policy == policy && !it.split;
                predicted(all.iter().find(is_it).unwrap())
            })
            .collect();
        assert!(times.is_sorted(), "{times:?}");
    }
}

/// Forward FLOP of NVIDIA's U-Net, whose convolutions have no padding, so each shrinks its map by
/// two.
fn unpadded_forward(side: u64) -> u64 {
    let conv = |side: u64, inputs: u64, outputs: u64| 2 * 9 * side * side * inputs * outputs;
    let (mut side, mut inputs, mut flops) = (side, 3, 0);
    for level in 0..5 {
        let width = 64 << level;
        flops += conv(side - 2, inputs, width) + conv(side - 4, width, width);
        (side, inputs) = (side - 4, width);
        if level < 4 {
            side /= 2;
        }
    }
    for level in (0..4).rev() {
        let width = 64 << level;
        side *= 2;
        flops += 2 * side * side * 2 * width * width;
        flops += conv(side - 2, 2 * width, width) + conv(side - 4, width, width);
        side -= 4;
    }
    flops
}

/// NVIDIA's steps and ours differ in size, so FLOP per second are compared.
#[test]
fn published_steps_of_two_gpus() {
    const FACTOR: f64 = 1.6;
    assert_eq!(unpadded_forward(572) / 1_000_000_000, 301);
    let size = ImageSize::new(512, 512);
    let mut ratios = Vec::new();
    for (name, precision, images_per_second) in [
        ("A100-SXM4-40GB", Precision::Fp16, 119.0),
        ("A100-SXM4-40GB", Precision::Tf32, 46.3),
        ("V100-SXM2-16GB", Precision::Fp16, 59.6),
        ("V100-SXM2-16GB", Precision::Fp32, 17.9),
    ] {
        let card = Hardware::lookup(name).unwrap();
        let config = RunConfig {
            img_size: size,
            batch: 8,
            use_amp: precision == Precision::Fp16,
            ..RunConfig::default()
        };
        let step = TrainingStep::of(&config, precision).unwrap();
        let speed = Speed::of_gpu(&card.rates, precision);
        let gpu = Cuda {
            exact_kernels: true,
            ..Cuda::new(card.compute_capability)
        };
        let seconds = step.seconds(gpu, &speed).unwrap();
        let flops = Flops::per_image(&config.network(), size).unwrap().training;
        let ours = flops as f64 * f64::from(config.batch) / seconds;
        let theirs = 3.0 * unpadded_forward(572) as f64 * images_per_second;
        let ratio = ours / theirs;
        let said = format!("{name}, {precision:?}: {ratio:.2}");
        assert!((1.0 / FACTOR..FACTOR).contains(&ratio), "{said}");
        ratios.push(said);
    }
    // The comments of the constants state these figures.
    let expected = [
        "A100-SXM4-40GB, Fp16: 1.08",
        "A100-SXM4-40GB, Tf32: 1.41",
        "V100-SXM2-16GB, Fp16: 0.98",
        "V100-SXM2-16GB, Fp32: 0.83",
    ];
    assert_eq!(ratios, expected);
}
