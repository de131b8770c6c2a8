//! What the estimator says of a step here, before it runs.

use config::RunConfig;
use estimator::{Batch, Cpu, Peak, TrainingStep};
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
    let element = match precision {
        Precision::Fp32 => Element::Single,
        Precision::Bf16 if CpuSupport::detect().bf16 => Element::Half,
        Precision::Bf16 | Precision::Fp16 => return None,
    };
    let is_known = device == Device::Cpu
        && config.use_channels_last
        && torch_ext::library::cpu_capability() == "AVX512";
    if !is_known {
        return None;
    }
    let threads = u32::try_from(tch::get_num_threads()).ok()?;
    let step = TrainingStep::of(config, element)?;
    step.peak(Cpu { threads }, batch).ok()
}
