//! Predicts the memory of a case before it is measured.

use estimator::{Batch, Cpu, Cuda, HalfPrecision, Isa, Machine, TrainingStep};
use schedule::Element;

use crate::case::{Case, MemoryFormat, Precision};
use crate::protocol::{Ready, Spec};
use crate::shared::BATCHES;

/// Predicts the peak of allocated bytes of one of Snug's steps, including the batches that stay on the
/// device. Returns `None` for PyTorch's steps, and if the kernels are not known: on a CPU, the kernels
/// for fp16, for AMX, and for instruction sets other than AVX512 and AVX2.
pub(crate) fn peak_bytes(case: &Case, ready: &Ready) -> Option<u64> {
    if case.implementation.is_pytorch() {
        return None;
    }
    // The estimator only reads the keys that decide memory.
    let config = Spec::new(case, "", ready.threads).config().ok()?;
    let element = if case.precision.is_amp() {
        Element::Half
    } else {
        Element::Single
    };
    let step = TrainingStep::of(&config, element)?;
    let peak = step.peak(machine(case, ready)?, Batch::HandedOver).ok()?;
    // A pixel has three colours and a mask.
    let batch_bytes = u64::from(case.batch) * 4 * case.img_size.pixels();
    Some(peak.bytes + u64::from(BATCHES) * batch_bytes)
}

fn machine(case: &Case, ready: &Ready) -> Option<Machine> {
    if let Some(compute_capability) = ready.compute_capability {
        let mut cuda = Cuda::new(compute_capability);
        cuda.channels_last = case.memory_format == MemoryFormat::ChannelsLast;
        if case.precision == Precision::Bf16 {
            cuda.half = HalfPrecision::Bf16;
        }
        return Some(cuda.into());
    }
    let is_known = match case.precision {
        Precision::Fp32 => true,
        Precision::Bf16 => !ready.amx_bf16,
        Precision::Tf32 | Precision::Fp16 => false,
    };
    let cpu = Cpu {
        threads: u32::try_from(ready.threads).ok()?,
        isa: match ready.cpu_capability.as_str() {
            "AVX512" => Isa::Avx512,
            "AVX2" => Isa::Avx2,
            _ => return None,
        },
        memory_format: match case.memory_format {
            MemoryFormat::ChannelsLast => estimator::MemoryFormat::ChannelsLast,
            MemoryFormat::ChannelsFirst => estimator::MemoryFormat::ChannelsFirst,
        },
    };
    is_known.then_some(cpu.into())
}

#[cfg(test)]
mod tests {
    use config::{CheckpointPolicy, ImageSize};

    use super::*;
    use crate::case::Implementation;

    const CASE: Case = Case {
        implementation: Implementation::Snug,
        img_size: ImageSize::new(64, 96),
        width: 8,
        batch: 2,
        precision: Precision::Bf16,
        memory_format: MemoryFormat::ChannelsLast,
        policy: CheckpointPolicy::Off,
        split_concat: false,
    };

    fn cpu(capability: &str) -> Ready {
        Ready {
            threads: 2,
            cpu_capability: capability.to_owned(),
            ..Ready::default()
        }
    }

    #[test]
    fn steps_on_known_kernels_are_predicted() {
        let whole = peak_bytes(&CASE, &cpu("AVX512")).unwrap();
        let selective = Case {
            policy: CheckpointPolicy::Selective,
            ..CASE
        };
        assert!(peak_bytes(&selective, &cpu("AVX512")).unwrap() < whole);
        let gpu = Ready {
            compute_capability: Some((8, 6)),
            ..cpu("AVX2")
        };
        for precision in [Precision::Tf32, Precision::Fp16, Precision::Bf16] {
            assert!(peak_bytes(&Case { precision, ..CASE }, &gpu).is_some());
        }
    }

    #[test]
    fn what_is_not_known_is_not_predicted() {
        let pytorch = Case {
            implementation: Implementation::PytorchEager,
            ..CASE
        };
        let fp16 = Case {
            precision: Precision::Fp16,
            ..CASE
        };
        let amx = Ready {
            amx_bf16: true,
            ..cpu("AVX512")
        };
        for (case, ready) in [
            (pytorch, cpu("AVX512")),
            (fp16, cpu("AVX512")),
            (CASE, cpu("AVX2")),
            (CASE, cpu("DEFAULT")),
            (CASE, amx),
        ] {
            assert_eq!(peak_bytes(&case, &ready), None, "{case}");
        }
    }
}
