//! The precision of a run, and the reason for it.

use config::{AmpDtype, RunConfig};
use machine::Cpu;
use tch::{Device, Kind};
use torch_ext::device_info;

/// Precision of convolutions. Weights are fp32 in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// No autocast.
    Fp32,
    /// Autocast to IEEE half precision, with a gradient scaler.
    Fp16,
    /// Autocast to bfloat16.
    Bf16,
}

/// A precision, with a note if it was chosen for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The chosen precision.
    pub precision: Precision,
    /// A note for the user; `None` if the choice equals the request.
    pub note: Option<String>,
}

impl Precision {
    /// The dtype of autocast; `None` without it.
    pub const fn autocast_kind(self) -> Option<Kind> {
        match self {
            Self::Fp32 => None,
            Self::Fp16 => Some(Kind::Half),
            Self::Bf16 => Some(Kind::BFloat16),
        }
    }

    /// `fp32`, `fp16` or `bf16`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }
}

/// The half precisions that the CPU multiplies in hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuSupport {
    /// AVX512-BF16 or AMX-BF16.
    pub bf16: bool,
    /// AVX512-FP16 or AMX-FP16.
    pub fp16: bool,
}

impl CpuSupport {
    /// Detects the support of this machine.
    pub fn detect() -> Self {
        let Cpu { bf16, fp16, .. } = Cpu::detect();
        Self { bf16, fp16 }
    }
}

/// Compute capability from which a GPU multiplies bf16 and TF32.
pub const BF16_FROM: u32 = 8;

/// Whether `device` multiplies bf16 in hardware.
pub fn multiplies_bf16(device: Device) -> bool {
    match device {
        Device::Cuda(n) => {
            device_info::compute_capability(n).is_some_and(|it| it.major >= BF16_FROM)
        }
        _ => CpuSupport::detect().bf16,
    }
}

/// The precision of a run on `device`. `auto` is fp16 on CUDA, as in the guide, and on a CPU
/// bf16 if the hardware supports it; a requested dtype is used, with a note if it is slow.
pub fn choose(config: &RunConfig, device: Device, cpu: CpuSupport) -> Choice {
    let (precision, note) = match (config.use_amp, config.amp_dtype, device) {
        (false, ..) => (Precision::Fp32, None),
        (true, AmpDtype::Auto, Device::Cpu) if cpu.bf16 => (
            Precision::Bf16,
            Some("AMP: bf16, which this CPU multiplies in hardware".to_owned()),
        ),
        (true, AmpDtype::Auto, Device::Cpu) => (
            Precision::Fp32,
            Some(
                "AMP: off, since this CPU has neither AVX512-BF16 nor AMX and half precision \
                 would be slower than fp32 (`--amp bf16` forces it)"
                    .to_owned(),
            ),
        ),
        (true, AmpDtype::Auto, _) => (
            Precision::Fp16,
            Some("AMP: fp16 with a gradient scaler".to_owned()),
        ),
        (true, AmpDtype::Bf16, Device::Cpu) if !cpu.bf16 => (
            Precision::Bf16,
            Some(
                "AMP: bf16 as asked, emulated: this CPU has neither AVX512-BF16 nor AMX".to_owned(),
            ),
        ),
        (true, AmpDtype::Fp16, Device::Cpu) if !cpu.fp16 => (
            Precision::Fp16,
            Some("AMP: fp16 as asked, emulated and slow: this CPU has no AVX512-FP16".to_owned()),
        ),
        (true, AmpDtype::Bf16, _) => (Precision::Bf16, None),
        (true, AmpDtype::Fp16, _) => (Precision::Fp16, None),
    };
    Choice { precision, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: CpuSupport = CpuSupport {
        bf16: false,
        fp16: false,
    };
    const BF16: CpuSupport = CpuSupport {
        bf16: true,
        fp16: false,
    };

    fn with(dtype: AmpDtype) -> RunConfig {
        RunConfig {
            use_amp: true,
            amp_dtype: dtype,
            ..RunConfig::default()
        }
    }

    #[test]
    fn auto_follows_the_hardware_and_says_why() {
        let chosen = choose(&with(AmpDtype::Auto), Device::Cpu, BF16);
        assert_eq!(chosen.precision, Precision::Bf16);
        let chosen = choose(&with(AmpDtype::Auto), Device::Cpu, NONE);
        assert_eq!(chosen.precision, Precision::Fp32);
        assert!(chosen.note.is_some_and(|n| n.contains("AVX512-BF16")));
        let chosen = choose(&with(AmpDtype::Auto), Device::Cuda(0), NONE);
        assert_eq!(chosen.precision, Precision::Fp16);
    }

    #[test]
    fn what_was_asked_for_is_taken() {
        for cpu in [NONE, BF16] {
            assert_eq!(
                choose(&with(AmpDtype::Bf16), Device::Cpu, cpu).precision,
                Precision::Bf16
            );
            assert_eq!(
                choose(&with(AmpDtype::Fp16), Device::Cpu, cpu).precision,
                Precision::Fp16
            );
        }
        let off = RunConfig {
            use_amp: false,
            ..with(AmpDtype::Bf16)
        };
        assert_eq!(choose(&off, Device::Cpu, BF16).precision, Precision::Fp32);
    }
}
