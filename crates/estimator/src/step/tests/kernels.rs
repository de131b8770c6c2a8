//! Kernels for which only a bound is known, and kernels that are unknown.

use config::{ImageSize, MemoryFormat, Network, Precision};
use proptest::prelude::*;
use schedule::{Keep, Plan, Recompute, Segment};

use super::step;
use crate::{Batch, Cpu, EstimateError, EvaluationStep, Isa, Purpose, Resident, TrainingStep};

const fn cpu(isa: Isa, memory_format: MemoryFormat) -> Cpu {
    Cpu {
        threads: 2,
        isa,
        memory_format,
        exact_kernels: true,
    }
}

const AVX512_FIRST: Cpu = cpu(Isa::Avx512, MemoryFormat::ChannelsFirst);
const AVX2: Cpu = cpu(Isa::Avx2, MemoryFormat::ChannelsLast);
const AVX2_FIRST: Cpu = cpu(Isa::Avx2, MemoryFormat::ChannelsFirst);

fn evaluation(width: u32, size: (u32, u32), batch: u32, precision: Precision) -> EvaluationStep {
    EvaluationStep {
        network: Network::new(width, 1),
        size: ImageSize::new(size.0, size.1),
        batch,
        precision,
        purpose: Purpose::Scores,
        resident: Resident::Parameters,
        ignores: false,
    }
}

/// Peaks of two images of 64x96 at width 16 under `off`, under `selective` and in evaluation, as
/// the counting allocator recorded them with two threads on an AMD EPYC with AVX512-BF16; for AVX2
/// with `ATEN_CPU_CAPABILITY=avx2` and `ONEDNN_MAX_CPU_ISA=AVX2`.
const RECORDED: [(Cpu, Precision, [u64; 3]); 4] = [
    (
        AVX512_FIRST,
        Precision::Fp32,
        [41_991_868, 35_956_668, 11_929_172],
    ),
    (
        AVX512_FIRST,
        Precision::Bf16,
        [38_069_664, 34_074_464, 11_118_676],
    ),
    (AVX2, Precision::Fp32, [43_791_548, 38_218_684, 11_892_356]),
    (
        AVX2_FIRST,
        Precision::Fp32,
        [41_598_076, 35_956_668, 11_929_172],
    ),
];

#[test]
fn bounds_hold() {
    const ABOVE: f64 = 0.2;
    for (cpu, precision, [off, selective, evaluated]) in RECORDED {
        let mut step = step(16, (64, 96), 2, precision);
        let plain = step.peak(cpu, Batch::Kept).unwrap().bytes;
        step.recompute = Recompute::Plan(Plan::uniform(&step.network, Keep::Convs));
        let less = step.peak(cpu, Batch::Kept).unwrap().bytes;
        let without = evaluation(16, (64, 96), 2, precision)
            .peak(cpu)
            .unwrap()
            .bytes;
        for (bound, measured) in [(plain, off), (less, selective), (without, evaluated)] {
            let error = bound as f64 / measured as f64 - 1.0;
            assert!(
                (0.0..=ABOVE).contains(&error),
                "{cpu:?} {precision:?}: {error}"
            );
        }
        assert!(cpu.is_bounded());
    }
    assert!(!Cpu::avx512(2).is_bounded());
}

/// A step in fp32 of a network whose tensors have few channels, and its peak, recorded in the same
/// way by `train memory`.
struct Narrow(Cpu, u32, (u32, u32), u32, Recompute, u64);

fn recorded_narrow() -> [Narrow; 8] {
    let stage = || Recompute::Segments(Segment::Stage);
    let mixed = |width| Recompute::Plan(Plan::mixed(&Network::new(width, 1), false));
    [
        Narrow(AVX512_FIRST, 1, (160, 96), 1, mixed(1), 2_456_128),
        Narrow(AVX512_FIRST, 1, (96, 128), 3, stage(), 6_524_148),
        Narrow(AVX512_FIRST, 3, (96, 128), 3, Recompute::Off, 15_672_032),
        Narrow(AVX2_FIRST, 1, (160, 96), 1, mixed(1), 1_589_144),
        Narrow(AVX2_FIRST, 1, (96, 128), 3, stage(), 4_332_472),
        Narrow(AVX2_FIRST, 2, (96, 128), 3, stage(), 5_978_308),
        Narrow(AVX2_FIRST, 2, (160, 96), 1, Recompute::Off, 4_258_468),
        Narrow(AVX2, 1, (160, 96), 1, stage(), 1_418_908),
    ]
}

#[test]
fn bounds_hold_of_narrow_networks() {
    const ABOVE: f64 = 0.1;
    for Narrow(cpu, width, size, batch, recompute, measured) in recorded_narrow() {
        let step = TrainingStep {
            recompute,
            ..step(width, size, batch, Precision::Fp32)
        };
        let bound = step.peak(cpu, Batch::Kept).unwrap().bytes;
        let error = bound as f64 / measured as f64 - 1.0;
        assert!((0.0..=ABOVE).contains(&error), "{step:?} {cpu:?}: {error}");
    }
}

#[test]
fn what_avx2_takes_in_half_precision_is_not_known() {
    for cpu in [AVX2, AVX2_FIRST] {
        let step = step(16, (64, 96), 2, Precision::Bf16);
        assert_eq!(step.peak(cpu, Batch::Kept), Err(EstimateError::Kernels));
        let evaluation = evaluation(16, (64, 96), 2, Precision::Bf16);
        assert_eq!(evaluation.peak(cpu), Err(EstimateError::Kernels));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn monotone_in_batch_and_size(
        width in 1..48_u32,
        (rows, columns) in (1..12_u32, 1..12_u32),
        batch in 2..9_u32,
        half: bool,
    ) {
        let precision = if half { Precision::Bf16 } else { Precision::Fp32 };
        for cpu in [AVX512_FIRST, AVX2, AVX2_FIRST] {
            if !cpu.knows(precision) {
                continue;
            }
            let bytes = |(rows, columns): (u32, u32), batch| {
                let size = (rows * 16, columns * 16);
                let trained = step(width, size, batch, precision).peak(cpu, Batch::HandedOver);
                let evaluated = evaluation(width, size, batch, precision).peak(cpu);
                (trained.unwrap().bytes, evaluated.unwrap().bytes)
            };
            let here = bytes((rows, columns), batch);
            for there in [
                bytes((rows, columns), batch + 1),
                bytes((rows * 2, columns * 2), batch),
            ] {
                prop_assert!(here.0 <= there.0 && here.1 <= there.1, "{cpu:?}");
            }
        }
    }
}
