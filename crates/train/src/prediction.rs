//! What the estimator says of a step here, before it runs.

use config::RunConfig;
use estimator::{Batch, Cpu, EvaluationStep, Peak, Purpose, Resident, TrainingStep};
use schedule::Element;
use tch::Device;

use crate::precision::{CpuSupport, Precision};

/// The peak of tensor bytes of a training step, where the estimator knows the kernels: on a CPU with
/// AVX512, channels-last, in fp32 or in bf16 that the CPU multiplies. Elsewhere, and for a
/// configuration that has no peak, `None`.
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

/// The CPU whose kernels are known, and the type of activations.
pub(crate) fn kernels(
    config: &RunConfig,
    device: Device,
    precision: Precision,
) -> Option<(Cpu, Element)> {
    let element = match precision {
        Precision::Fp32 => Element::Single,
        Precision::Bf16 if CpuSupport::detect().bf16 => Element::Half,
        Precision::Bf16 | Precision::Fp16 => return None,
    };
    let is_known = device == Device::Cpu
        && config.use_channels_last
        && torch_ext::library::cpu_capability() == "AVX512";
    let threads = u32::try_from(tch::get_num_threads()).ok()?;
    is_known.then_some((Cpu { threads }, element))
}
