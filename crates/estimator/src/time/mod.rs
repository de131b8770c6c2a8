//! The time of a step: each operation takes the time of its floating-point operations or of the
//! bytes that it moves, whichever is longer, and the cost of starting it.

mod link;
mod ranks;
mod ready;
#[cfg(test)]
mod tests;

use config::{Network, Precision};
use machine::{Hardware, InstructionSet, Processor, Rates};

use crate::static_bytes::num_parameters;
use crate::step::Work;

pub use link::{Link, LinkError};
pub use ranks::{Exchange, Ranks, Ring};

/// The speed that a device reaches, as opposed to its peak rates ([`Rates`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// FLOP/s within convolutions, in the type of activations.
    pub conv_flops: f64,
    /// Bytes per second in operations other than convolutions.
    pub memory_bytes_per_second: f64,
    /// Seconds to start a kernel while no other kernel can start.
    pub kernel_seconds: f64,
}

/// The share of the peak of a GPU's tensor cores that its convolutions reach. We did not measure
/// it. NVIDIA published steps of a U-Net of width 64 (572x572, batch 8; in images per second: A100
/// 119 in fp16 and 46.3 in TF32, V100 59.6 in fp16); a step predicted with this share has 1.08,
/// 1.41 and 0.98 times their FLOP/s.
const CONV_SHARE: f64 = 0.6;
/// The share for fp32 on CUDA cores, where cuDNN's Winograd algorithms multiply less than is
/// counted: V100 reaches 17.9 images per second, which is above its peak. The prediction with this
/// share is 0.83 of that.
const CORES_SHARE: f64 = 1.0;
/// The share of peak bandwidth that kernels reach when they pass over a tensor.
const MEMORY_SHARE: f64 = 0.8;
/// Seconds between the ends of two empty kernels that one thread launches.
const GPU_KERNEL_SECONDS: f64 = 4e-6;

/// The rates of a CPU: FLOP/s of one thread with AVX512 in fp32, and in bf16 if the CPU can
/// multiply bf16; bytes per second of all threads; and the overhead of an operator outside its
/// kernel. The last comes from a step on images of 16x16, which takes 5.1 to 5.5 ms; the others are
/// fitted to 22 measured steps of one machine (AMD EPYC, 2 cores,
/// `docs/measurements/2026-11-25-amd-epyc-*`), most of width 16 at 256x256 and of width 64 at
/// 512x512, over all policies. The root-mean-square error is 14 %; errors are -12 to +7 % at width
/// 64, +4 to +21 % at width 16, and at width 8 -13 % in fp32 and -38 % in bf16. A narrow network
/// does not fill the vectors, which these two rates cannot express.
const CPU_THREAD_FLOPS: f64 = 220e9;
const CPU_THREAD_HALF_FLOPS: f64 = 420e9;
const CPU_BYTES_PER_SECOND: f64 = 19e9;
const CPU_KERNEL_SECONDS: f64 = 20e-6;

impl Speed {
    /// The speed of a device. A GPU with unknown rates gets those of a typical card, and a CPU gets
    /// the speed of one with AVX512 and the same number of threads; see [`Self::is_known`].
    pub fn of(on: &Processor, precision: Precision) -> Self {
        match on {
            Processor::Gpu { rates, .. } => {
                Self::of_gpu(&rates.unwrap_or_else(typical_rates), precision)
            }
            Processor::Cpu(cpu) => Self::of_cpu(cpu.threads, precision),
        }
    }

    /// Whether [`Self::of`] gives the speed of this device, rather than of a substitute that only
    /// serves to compare recipes.
    pub fn is_known(on: &Processor) -> bool {
        match on {
            Processor::Gpu { rates, .. } => rates.is_some(),
            // The rates are fitted to one machine, which has AVX512.
            Processor::Cpu(cpu) => cpu.instruction_set == InstructionSet::Avx512,
        }
    }

    /// The speed of a GPU, from its peak rates. Half precision runs on tensor cores if the GPU has
    /// them; fp32 runs in TF32, which libtorch allows for convolutions by default.
    pub fn of_gpu(rates: &Rates, precision: Precision) -> Self {
        let conv_flops = match precision {
            Precision::Fp32 | Precision::Tf32 => match rates.tf32_flops {
                Some(peak) => CONV_SHARE * peak,
                None => CORES_SHARE * rates.fp32_flops,
            },
            Precision::Fp16 | Precision::Bf16 => {
                let peak = rates.fp16_flops.or(rates.bf16_flops);
                CONV_SHARE * peak.unwrap_or(rates.fp32_flops)
            }
        };
        Self {
            conv_flops,
            memory_bytes_per_second: MEMORY_SHARE * rates.memory_bytes_per_second,
            kernel_seconds: GPU_KERNEL_SECONDS,
        }
    }

    /// The speed of a CPU with AVX512 that can multiply bf16.
    pub fn of_cpu(threads: u32, precision: Precision) -> Self {
        let of_thread = match precision {
            Precision::Fp32 | Precision::Tf32 => CPU_THREAD_FLOPS,
            Precision::Fp16 | Precision::Bf16 => CPU_THREAD_HALF_FLOPS,
        };
        Self {
            conv_flops: of_thread * f64::from(threads.max(1)),
            memory_bytes_per_second: CPU_BYTES_PER_SECOND,
            kernel_seconds: CPU_KERNEL_SECONDS,
        }
    }

    pub(crate) fn seconds(&self, work: Work) -> f64 {
        let compute = work.flops / self.conv_flops;
        let memory = work.bytes / self.memory_bytes_per_second;
        compute.max(memory) + work.kernels * self.kernel_seconds
    }

    /// Seconds of the loss and its backward, which are passes over fp32 logits.
    pub(crate) fn loss_seconds(&self, logits_bytes: u64) -> f64 {
        self.seconds(Work::passes(logits_bytes, 24.0, 20.0))
    }

    /// Seconds of `AdamW`, which reads the parameter, the gradient and two moments, and writes
    /// three of them.
    pub(crate) fn update_seconds(&self, network: &Network) -> f64 {
        let parameters = num_parameters(network).unwrap_or(u64::MAX);
        self.seconds(Work::passes(parameters.saturating_mul(4), 7.0, 8.0))
    }
}

fn typical_rates() -> Rates {
    Hardware::typical()
        .or_else(|| Hardware::cards().first())
        .map_or(
            Rates {
                memory_bytes_per_second: 360e9,
                fp32_flops: 12.7e12,
                tf32_flops: None,
                fp16_flops: None,
                bf16_flops: None,
            },
            |card| card.rates,
        )
}
