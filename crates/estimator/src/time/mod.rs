//! How long a step takes: each operation by its floating-point operations or by the bytes that it
//! moves, whichever takes longer, and what it costs to start.

#[cfg(test)]
mod tests;

use config::Network;
use machine::{Hardware, InstructionSet, Processor, Rates};
use schedule::Element;

use crate::static_bytes::num_parameters;
use crate::step::Work;

/// What a device reaches, as opposed to what it could do at best ([`Rates`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// FLOP/s within convolutions, in the type of activations.
    pub conv_flops: f64,
    /// Bytes per second of what is not a convolution.
    pub memory_bytes_per_second: f64,
    /// Seconds for a kernel to start, where the next cannot start meanwhile.
    pub kernel_seconds: f64,
}

/// A share of the peak of a GPU's tensor cores that its convolutions reach. Not measured by us: of
/// the FLOP/s of the steps of a U-Net of width 64 that NVIDIA published (572x572, batch 8, in images
/// per second A100 119 in fp16 and 46.3 in TF32, V100 59.6 in fp16), a step that is predicted with
/// it has 1.08, 1.41 and 0.98.
const CONV_SHARE: f64 = 0.6;
/// The same of fp32 on CUDA cores, where cuDNN's Winograd algorithms multiply less than is counted:
/// V100, 17.9 images per second, is more than its peak. Predicted with this: 0.83 of that.
const CORES_SHARE: f64 = 1.0;
/// The same of bandwidth, for kernels that pass over a tensor.
const MEMORY_SHARE: f64 = 0.8;
/// Between the ends of two kernels that do nothing, from one thread.
const GPU_KERNEL_SECONDS: f64 = 4e-6;

/// FLOP/s of one CPU thread with AVX512 in fp32, and in bf16 where the CPU multiplies it, bytes per
/// second of all threads, and what an operator costs besides its kernel. The last is of a step on
/// images of 16x16, which takes 5.1 to 5.5 ms; the others are fitted to 22 measured steps of one
/// machine (AMD EPYC, 2 cores, `docs/measurements/2026-11-25-amd-epyc-*`), most of width 16 at 256x256
/// and of width 64 at 512x512, over all policies. Errors: the root of the mean square is 14 %; at
/// width 64 from -12 to +7 %, at width 16 from +4 to +21 %, at width 8 -13 % in fp32 and -38 % in
/// bf16. A narrow network does not fill the vectors, which these two rates cannot say.
const CPU_THREAD_FLOPS: f64 = 220e9;
const CPU_THREAD_HALF_FLOPS: f64 = 420e9;
const CPU_BYTES_PER_SECOND: f64 = 19e9;
const CPU_KERNEL_SECONDS: f64 = 20e-6;

impl Speed {
    /// Of a device. That of a GPU whose rates are not known is a typical card's, and that of a CPU is
    /// of one with AVX512 and as many threads: see [`Self::is_known`].
    pub fn of(on: &Processor, element: Element) -> Self {
        match on {
            Processor::Gpu { rates, .. } => {
                Self::of_gpu(&rates.unwrap_or_else(typical_rates), element)
            }
            Processor::Cpu(cpu) => Self::of_cpu(cpu.threads, element),
        }
    }

    /// Whether [`Self::of`] is the speed of this device, or of one that only serves to compare
    /// recipes.
    pub fn is_known(on: &Processor) -> bool {
        match on {
            Processor::Gpu { rates, .. } => rates.is_some(),
            // Fitted to one machine, with AVX512.
            Processor::Cpu(cpu) => cpu.instruction_set == InstructionSet::Avx512,
        }
    }

    /// Of a GPU by its peak rates. Half precision runs on tensor cores where there are any; fp32
    /// in TF32, which libtorch allows convolutions by itself.
    pub fn of_gpu(rates: &Rates, element: Element) -> Self {
        let conv_flops = match element {
            Element::Single => match rates.tf32_flops {
                Some(peak) => CONV_SHARE * peak,
                None => CORES_SHARE * rates.fp32_flops,
            },
            Element::Half => {
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

    /// Of a CPU with AVX512 that multiplies bf16.
    pub fn of_cpu(threads: u32, element: Element) -> Self {
        let of_thread = match element {
            Element::Single => CPU_THREAD_FLOPS,
            Element::Half => CPU_THREAD_HALF_FLOPS,
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

    /// The loss and its backward: passes over logits in fp32.
    pub(crate) fn loss_seconds(&self, logits_bytes: u64) -> f64 {
        self.seconds(Work::passes(logits_bytes, 24.0, 20.0))
    }

    /// `AdamW`: parameter, gradient and two moments read, three written.
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
