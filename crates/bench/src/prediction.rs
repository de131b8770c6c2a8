//! Predicts the memory of a case before it is measured.

use config::Precision;
use estimator::{Batch, Steps};
use machine::{Cpu, InstructionSet, Processor};

use crate::case::Case;
use crate::protocol::{Ready, Spec};
use crate::shared::BATCHES;

/// Predicts the peak of allocated bytes of one of Snug's steps, including the batches that stay on the
/// device. Returns `None` for PyTorch's steps, and if the kernels were never measured.
pub(crate) fn peak_bytes(case: &Case, ready: &Ready) -> Option<u64> {
    if case.implementation.is_pytorch() {
        return None;
    }
    // The estimator only reads the keys that decide memory.
    let config = Spec::new(case, "", ready.threads).config().ok()?;
    let steps = Steps::of(&config, &processor(ready)?).ok()?;
    let peak = (steps.training).peak(steps.machine, Batch::HandedOver);
    // Three colours and a mask.
    let batch_bytes = u64::from(case.batch) * 4 * case.img_size.pixels();
    Some(peak.ok()?.bytes + u64::from(BATCHES) * batch_bytes)
}

/// What a worker says that it computes on.
fn processor(ready: &Ready) -> Option<Processor> {
    if ready.compute_capability.is_some() {
        return Some(Processor::gpu(ready.compute_capability, None));
    }
    Some(Processor::Cpu(Cpu {
        threads: u32::try_from(ready.threads).ok()?,
        instruction_set: InstructionSet::of_libtorch(&ready.cpu_capability),
        bf16: ready.precisions.contains(&Precision::Bf16),
        fp16: ready.precisions.contains(&Precision::Fp16),
        amx_bf16: ready.amx_bf16,
    }))
}

#[cfg(test)]
mod tests {
    use config::{CheckpointPolicy, ImageSize, MemoryFormat};
    use estimator::Forecast;

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
            precisions: vec![Precision::Fp32, Precision::Bf16],
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
        for (case, ready) in [
            (pytorch, cpu("AVX512")),
            (fp16, cpu("AVX512")),
            (CASE, cpu("AVX2")),
            (CASE, cpu("DEFAULT")),
        ] {
            assert_eq!(peak_bytes(&case, &ready), None, "{case}");
        }
    }

    /// A worker's figure is the forecast of its step plus the batches that stay on the device.
    #[test]
    fn cases_are_forecast_as_runs_are() {
        let gpus = [(6, 1), (7, 5), (8, 6), (9, 0)].map(|compute_capability| Ready {
            compute_capability: Some(compute_capability),
            ..cpu("AVX512")
        });
        let amx = Ready {
            amx_bf16: true,
            ..cpu("AVX512")
        };
        let cpus = [cpu("AVX512"), cpu("AVX2"), cpu("DEFAULT"), amx];
        let (mut num_known, mut num_unknown) = (0, 0);
        for ready in gpus.iter().chain(&cpus) {
            for precision in [Precision::Fp32, Precision::Fp16, Precision::Bf16] {
                for memory_format in [MemoryFormat::ChannelsLast, MemoryFormat::ChannelsFirst] {
                    for policy in CheckpointPolicy::NAMED {
                        let case = Case {
                            precision,
                            memory_format,
                            policy: *policy,
                            ..CASE
                        };
                        let config = Spec::new(&case, "", 2).config().unwrap();
                        let forecast = Forecast::of(&config, &processor(ready).unwrap());
                        let held = u64::from(BATCHES) * 2 * 4 * 64 * 96;
                        let expected = forecast.ok().map(|it| it.training.bytes + held);
                        assert_eq!(peak_bytes(&case, ready), expected, "{case}");
                        match expected {
                            Some(_) => num_known += 1,
                            None => num_unknown += 1,
                        }
                    }
                }
            }
        }
        // On a CPU: fp16, bf16 with AVX2, and anything without vectors.
        assert_eq!((num_known, num_unknown), (170, 70));
    }
}
