//! Steps without gradients.

use config::{ImageSize, Network, Precision};
use proptest::prelude::*;
use schedule::Op;

use super::TWO_THREADS;
use crate::{At, EstimateError, EvaluationStep, Purpose, Resident, StaticBytes};

fn step(
    width: u32,
    (height, columns): (u32, u32),
    batch: u32,
    precision: Precision,
) -> EvaluationStep {
    EvaluationStep {
        network: Network::new(width, 1),
        size: ImageSize::new(height, columns),
        batch,
        precision,
        purpose: Purpose::Scores,
        resident: Resident::Parameters,
        ignores: false,
    }
}

/// Peaks in bytes that the counting allocator recorded with two threads on an AMD EPYC with
/// AVX512-BF16, channels-last: two images of 128x192 at width 16, and one of 64x96 at width 4 whose
/// mask is predicted at four times the height and width.
#[test]
fn recorded_peaks() {
    /// The error from scalars, which are not counted.
    const TOLERATED: std::ops::RangeInclusive<f64> = -0.001..=0.001;
    let half = Precision::Bf16;
    let answers = |classes, precision| EvaluationStep {
        network: Network::new(4, classes),
        purpose: Purpose::Answers(ImageSize::new(256, 384)),
        ..step(4, (64, 96), 1, precision)
    };
    for (step, measured) in [
        (step(16, (128, 192), 2, Precision::Fp32), 21_010_132),
        (step(16, (128, 192), 2, half), 14_718_676),
        (answers(1, Precision::Fp32), 1_475_984),
        (answers(1, half), 1_463_696),
        (answers(4, Precision::Fp32), 3_122_624),
        (answers(4, half), 3_073_472),
    ] {
        let peak = step.peak(TWO_THREADS).unwrap();
        let error = peak.bytes as f64 / f64::from(measured) - 1.0;
        assert!(TOLERATED.contains(&error), "{step:?}: {error}");
    }
}

#[test]
fn scores_outweigh_a_narrow_network() {
    let narrow = step(2, (256, 384), 1, Precision::Bf16);
    assert_eq!(narrow.peak(TWO_THREADS).unwrap().at, At::Scores);
    let wide = step(16, (256, 384), 1, Precision::Bf16);
    let at = wide.peak(TWO_THREADS).unwrap().at;
    assert!(matches!(at, At::Forward(Op::Norm { .. })), "{at:?}");
}

#[test]
fn the_optimizer_is_there_in_training_alone() {
    let alone = step(16, (64, 96), 2, Precision::Fp32);
    let beside = EvaluationStep {
        resident: Resident::Training,
        ..alone
    };
    let [alone, beside] = [alone, beside].map(|step| step.peak(TWO_THREADS).unwrap());
    let more = beside.bytes - alone.bytes;
    assert_eq!(more, beside.breakdown.optimizer_bytes);
    let fixed = StaticBytes::of(&Network::new(16, 1)).unwrap();
    assert!(more >= fixed.optimizer.0);
    assert_eq!(alone.breakdown.optimizer_bytes, 0);
    assert_eq!(beside.breakdown.gradients_bytes, 0);
}

#[test]
fn the_timeline_holds_the_peak() {
    let memory = step(16, (64, 96), 2, Precision::Bf16)
        .memory(TWO_THREADS)
        .unwrap();
    let most = memory.timeline.iter().map(|moment| moment.bytes).max();
    assert_eq!(most, Some(memory.peak.bytes));
    assert_eq!(memory.timeline.first().unwrap().at, At::Upload);
    assert_eq!(memory.timeline.last().unwrap().at, At::Scores);
}

#[test]
fn absurd_input_is_an_error() {
    for (width, size, batch) in [
        (64, (8, 8), 1),
        (u32::MAX, (512, 512), 1),
        (1 << 20, (1 << 16, 1 << 16), u32::MAX),
    ] {
        let peak = step(width, size, batch, Precision::Bf16).peak(TWO_THREADS);
        assert!(peak.is_err(), "{width} {size:?} {batch}: {peak:?}");
    }
    let answers = EvaluationStep {
        purpose: Purpose::Answers(ImageSize::new(u32::MAX, u32::MAX)),
        batch: u32::MAX,
        ..step(8, (64, 64), 1, Precision::Fp32)
    };
    let peak = answers.peak(TWO_THREADS);
    assert!(matches!(peak, Err(EstimateError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn monotone(
        // One channel counts as channels-first and takes more memory than two channels.
        width in 2..48_u32,
        (rows, columns) in (1..12_u32, 1..12_u32),
        batch in 1..9_u32,
        classes in 1..5_u32,
        half: bool,
        answers: bool,
    ) {
        let precision = if half { Precision::Bf16 } else { Precision::Fp32 };
        let bytes = |width, (rows, columns): (u32, u32), batch| {
            let mut step = step(width, (rows * 16, columns * 16), batch, precision);
            step.network.classes = classes;
            if answers {
                step.purpose = Purpose::Answers(ImageSize::new(rows * 40, columns * 40));
            }
            step.peak(TWO_THREADS).unwrap().bytes
        };
        // A single small image goes through libtorch's own kernels, which have other scratch
        // memory.
        let here = bytes(width, (rows, columns), batch + 1);
        prop_assert!(here <= bytes(width, (rows, columns), batch + 2));
        prop_assert!(here <= bytes(width + 1, (rows, columns), batch + 1));
        prop_assert!(here <= bytes(width, (rows * 2, columns * 2), batch + 1));
    }
}
