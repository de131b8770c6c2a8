//! What this machine has to compute with where there is no GPU.

use config::Bytes;

use crate::{ledger, ram};

/// A CPU and its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuFacts {
    /// Threads that a program may use. libtorch takes one for each core, which can be fewer.
    pub threads: u32,
    /// Memory that programs can have without swapping, where the system says.
    pub available: Option<Bytes>,
    /// AVX512, whose kernels the estimator knows best.
    pub avx512: bool,
    /// AVX512-BF16, which multiplies bf16.
    pub bf16: bool,
}

impl CpuFacts {
    /// Asks this machine.
    pub fn detect() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            available: ram::read().map(|ram| ram.available),
            avx512: has_avx512(),
            bf16: has_bf16(),
        }
    }
}

/// This machine's CPU as runs on it are entered into the ledger: by the model that Linux names and
/// the kernels that libtorch takes.
pub(crate) fn as_device(cpu: &CpuFacts) -> ledger::Device {
    let name = name();
    let instruction_set = if cpu.avx512 {
        "AVX512"
    } else if has_avx2() {
        "AVX2"
    } else {
        "DEFAULT"
    };
    ledger::Device::cpu(
        name.as_deref().unwrap_or("CPU"),
        instruction_set,
        cpu.threads,
    )
}

/// The CPU's name, where the system says.
pub fn name() -> Option<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    model(&cpuinfo).map(str::to_owned)
}

/// The first `model name` of Linux's `/proc/cpuinfo`.
fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
const fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
const fn has_avx512() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
const fn has_bf16() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(model(text), Some("AMD EPYC"));
        assert_eq!(model("Features: asimd\n"), None);
    }
}
