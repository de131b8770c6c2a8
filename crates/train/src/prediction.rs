//! What the estimator says of a step here, before it runs.

use std::ops::RangeInclusive;

use config::RunConfig;
use estimator::{
    Batch, Cpu, EvaluationStep, Isa, MemoryFormat, Peak, Purpose, Resident, TrainingStep,
};
use schedule::Element;
use tch::Device;

use engine::precision::Precision;

/// The peak of tensor bytes of a training step, where the estimator knows the kernels: on a CPU with
/// AVX512 in fp32, or in bf16 without AMX, and with AVX2 in fp32. Elsewhere, and for a configuration
/// that has no peak, `None`. With AVX512 and channels-last it is what is measured within 3 %, else a
/// bound from above.
pub fn peak(
    config: &RunConfig,
    device: Device,
    precision: Precision,
    batch: Batch,
) -> Option<Peak> {
    let (cpu, element) = kernels(config, device, precision)?;
    let step = TrainingStep::of(config, element)?;
    step.peak(cpu, batch).ok()
}

/// The same of a batch that is evaluated.
pub fn evaluation_peak(
    config: &RunConfig,
    device: Device,
    precision: Precision,
    purpose: Purpose,
    resident: Resident,
) -> Option<Peak> {
    let (cpu, element) = kernels(config, device, precision)?;
    let step = EvaluationStep {
        network: config.network(),
        size: config.img_size,
        batch: config.batch,
        element,
        purpose,
        resident,
    };
    step.peak(cpu).ok()
}

/// The peak of a whole run on so many images: of its training steps, or of its validation where that
/// takes more.
pub fn run_peak(
    config: &RunConfig,
    device: Device,
    precision: Precision,
    num_train: usize,
    num_val: usize,
) -> Option<Peak> {
    // No batch has more images than there are.
    let of = |images: usize| RunConfig {
        batch: config.batch.min(u32::try_from(images).unwrap_or(u32::MAX)),
        ..config.clone()
    };
    let training = peak(&of(num_train), device, precision, Batch::HandedOver)?;
    let (purpose, resident) = (Purpose::Scores, Resident::Training);
    let validation = evaluation_peak(&of(num_val), device, precision, purpose, resident)?;
    Some(if validation.bytes > training.bytes {
        validation
    } else {
        training
    })
}

/// In percent of what is measured, how far a prediction for fp32 may be off: one from above for a
/// bound. `None` where there is none.
pub fn tolerated(config: &RunConfig, device: Device) -> Option<RangeInclusive<f64>> {
    let (cpu, _) = kernels(config, device, Precision::Fp32)?;
    Some(if cpu.is_bounded() {
        0.0..=20.0
    } else {
        -0.5..=3.0
    })
}

/// The CPU whose kernels are known, and the type of activations.
pub(crate) fn kernels(
    config: &RunConfig,
    device: Device,
    precision: Precision,
) -> Option<(Cpu, Element)> {
    if device != Device::Cpu {
        return None;
    }
    let here = machine::Cpu::detect();
    let element = match precision {
        Precision::Fp32 => Element::Single,
        // With AMX oneDNN takes kernels that nobody looked at.
        Precision::Bf16 if here.bf16 && !here.amx_bf16 => Element::Half,
        Precision::Bf16 | Precision::Fp16 => return None,
    };
    // libtorch's own word, which `ATEN_CPU_CAPABILITY` can lower; oneDNN has its own.
    let isa = match torch_ext::library::cpu_capability().as_str() {
        "AVX512" => Isa::Avx512,
        "AVX2" => Isa::Avx2,
        _ => return None,
    };
    let memory_format = if config.use_channels_last {
        MemoryFormat::ChannelsLast
    } else {
        MemoryFormat::ChannelsFirst
    };
    let cpu = Cpu {
        threads: u32::try_from(tch::get_num_threads()).ok()?,
        isa,
        memory_format,
    };
    Some((cpu, element))
}
