//! The number format of convolutions, and the one place that decides what AMP means on a device.

use crate::choices::{AmpDtype, choices};
use crate::run::RunConfig;

choices! {
    /// The number format of convolutions. Weights are fp32 in each.
    Precision, "precision", "`fp32`, `tf32`, `fp16` or `bf16`" {
        /// No autocast.
        Fp32 = "fp32",
        /// No autocast: fp32 tensors, whose products the tensor cores of a GPU round to TF32.
        Tf32 = "tf32",
        /// Autocast to IEEE half precision, with a gradient scaler.
        Fp16 = "fp16",
        /// Autocast to bfloat16.
        Bf16 = "bf16",
    }
}

impl Precision {
    /// Whether autocast is on, so that activations take two bytes each.
    pub const fn is_half(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16)
    }

    /// Bytes of one number of an activation.
    pub const fn activation_bytes(self) -> u64 {
        if self.is_half() { 2 } else { 4 }
    }
}

/// The arithmetic of a device, as far as AMP depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// An NVIDIA GPU.
    Cuda,
    /// A CPU.
    Cpu {
        /// Whether it multiplies bf16 in hardware (AVX512-BF16 or AMX-BF16).
        bf16: bool,
        /// Whether it multiplies fp16 in hardware (AVX512-FP16 or AMX-FP16).
        fp16: bool,
    },
}

impl Arithmetic {
    /// The precision of `amp_dtype = "auto"`: fp16 on CUDA, as in the guide, and bf16 on a CPU that
    /// multiplies it. On any other CPU half precision is slower than fp32.
    pub const fn auto(self) -> Precision {
        match self {
            Self::Cuda => Precision::Fp16,
            Self::Cpu { bf16: true, .. } => Precision::Bf16,
            Self::Cpu { .. } => Precision::Fp32,
        }
    }

    /// Half precision of choice; `None` where `auto` stays with fp32.
    pub fn half(self) -> Option<Precision> {
        Some(self.auto()).filter(|precision| precision.is_half())
    }
}

impl RunConfig {
    /// The precision of this run on a device. A type that the user names is taken, even where the
    /// hardware has to emulate it.
    pub const fn precision_on(&self, device: Arithmetic) -> Precision {
        match (self.use_amp, self.amp_dtype) {
            (false, _) => Precision::Fp32,
            (true, AmpDtype::Auto) => device.auto(),
            (true, AmpDtype::Fp16) => Precision::Fp16,
            (true, AmpDtype::Bf16) => Precision::Bf16,
        }
    }

    /// The same run, computing in `precision`.
    #[must_use]
    pub const fn with_precision(mut self, precision: Precision) -> Self {
        self.use_amp = precision.is_half();
        match precision {
            Precision::Fp16 => self.amp_dtype = AmpDtype::Fp16,
            Precision::Bf16 => self.amp_dtype = AmpDtype::Bf16,
            Precision::Fp32 | Precision::Tf32 => {}
        }
        self
    }

    /// Whether batch norm, ReLU and pooling run on our own kernels: those of a CPU take fp32 and bf16, those of a GPU
    /// channels by the eight, and both channels-last tensors only.
    pub const fn is_fused_on(&self, device: Arithmetic) -> bool {
        let takes = match device {
            Arithmetic::Cuda => self.width.is_multiple_of(8),
            Arithmetic::Cpu { .. } => !matches!(self.precision_on(device), Precision::Fp16),
        };
        takes && self.use_channels_last && !self.exact_kernels
    }

    /// What to tell the user about [`Self::precision_on`]; `None` where it is just what was asked
    /// for.
    pub const fn precision_note(&self, device: Arithmetic) -> Option<&'static str> {
        match (self.use_amp, self.amp_dtype, device) {
            (true, AmpDtype::Auto, Arithmetic::Cuda) => Some("AMP: fp16 with a gradient scaler"),
            (true, AmpDtype::Auto, Arithmetic::Cpu { bf16: true, .. }) => {
                Some("AMP: bf16, which this CPU multiplies in hardware")
            }
            (true, AmpDtype::Auto, Arithmetic::Cpu { .. }) => Some(
                "AMP: off, since this CPU has neither AVX512-BF16 nor AMX and half precision \
                 would be slower than fp32 (`--amp bf16` forces it)",
            ),
            (true, AmpDtype::Bf16, Arithmetic::Cpu { bf16: false, .. }) => {
                Some("AMP: bf16 as asked, emulated: this CPU has neither AVX512-BF16 nor AMX")
            }
            (true, AmpDtype::Fp16, Arithmetic::Cpu { fp16: false, .. }) => {
                Some("AMP: fp16 as asked, emulated and slow: this CPU has no AVX512-FP16")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Arithmetic = Arithmetic::Cpu {
        bf16: false,
        fp16: false,
    };
    const BF16: Arithmetic = Arithmetic::Cpu {
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
        let auto = with(AmpDtype::Auto);
        assert_eq!(auto.precision_on(BF16), Precision::Bf16);
        assert_eq!(auto.precision_on(Arithmetic::Cuda), Precision::Fp16);
        assert_eq!(auto.precision_on(PLAIN), Precision::Fp32);
        let note = auto.precision_note(PLAIN);
        assert!(note.is_some_and(|note| note.contains("AVX512-BF16")));
        assert_eq!((BF16.half(), PLAIN.half()), (Some(Precision::Bf16), None));
    }

    #[test]
    fn a_named_type_is_taken() {
        for device in [PLAIN, BF16, Arithmetic::Cuda] {
            let bf16 = with(AmpDtype::Bf16);
            assert_eq!(bf16.precision_on(device), Precision::Bf16);
            let fp16 = with(AmpDtype::Fp16);
            assert_eq!(fp16.precision_on(device), Precision::Fp16);
            let off = RunConfig {
                use_amp: false,
                ..bf16
            };
            assert_eq!(off.precision_on(device), Precision::Fp32);
            assert_eq!(off.precision_note(device), None);
        }
    }
}
