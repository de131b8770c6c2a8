//! The CPU of this machine and its instruction sets.

use std::fmt;
use std::sync::OnceLock;

/// The properties of a CPU that a training step depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Threads that libtorch uses: `OMP_NUM_THREADS`, or else as many as a program may use. By
    /// default libtorch starts one per core, which can be fewer.
    pub threads: u32,
    /// The widest instructions that libtorch's kernels can use.
    pub instruction_set: InstructionSet,
    /// Whether it can multiply bf16 numbers: AVX512-BF16 or AMX-BF16.
    pub bf16: bool,
    /// Whether it can multiply fp16 numbers: AVX512-FP16 or AMX-FP16.
    pub fp16: bool,
    /// Whether it has AMX-BF16, for which oneDNN has separate kernels.
    pub amx_bf16: bool,
}

/// Instruction sets for which libtorch has kernels, by libtorch's names for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX512 (F, BW, DQ and VL).
    Avx512,
    /// AVX2, with fused multiply-adds.
    Avx2,
    /// Neither AVX512 nor AVX2.
    Other,
}

impl Cpu {
    /// A CPU with AVX512-BF16 and without AMX, whose kernels the estimator knows best.
    pub const fn avx512(threads: u32) -> Self {
        Self {
            threads,
            instruction_set: InstructionSet::Avx512,
            bf16: true,
            fp16: false,
            amx_bf16: false,
        }
    }

    /// Detects the CPU of this machine, once. The environment variables with which libtorch limits
    /// threads and instruction sets apply here as well.
    pub fn detect() -> Self {
        static FOUND: OnceLock<Cpu> = OnceLock::new();
        *FOUND.get_or_init(Self::ask)
    }

    fn ask() -> Self {
        let found = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = std::env::var("OMP_NUM_THREADS").ok();
        let wanted = wanted.and_then(|threads| threads.trim().parse().ok());
        let lowered = std::env::var("ATEN_CPU_CAPABILITY").ok();
        let cpuinfo = cpuinfo();
        // Rust does not detect AMX yet. Linux lists it if the kernel lets programs use it.
        let lists = |flag| cpuinfo.as_deref().is_some_and(|text| has_flag(text, flag));
        let amx_bf16 = lists("amx_bf16");
        let vectors = Vectors::detect();
        let threads = u32::try_from(found).unwrap_or(u32::MAX);
        Self {
            threads: wanted.filter(|threads| *threads > 0).unwrap_or(threads),
            instruction_set: vectors.instruction_set.lowered(lowered.as_deref()),
            bf16: vectors.bf16 || amx_bf16,
            fp16: vectors.fp16 || lists("amx_fp16"),
            amx_bf16,
        }
    }

    /// Its name, if the system reports one.
    pub fn name() -> Option<String> {
        model(&cpuinfo()?).map(str::to_owned)
    }
}

impl InstructionSet {
    /// Lowers the set to the value of `ATEN_CPU_CAPABILITY`, with which libtorch uses lesser
    /// kernels.
    fn lowered(self, value: Option<&str>) -> Self {
        match (self, value) {
            (_, Some("default")) => Self::Other,
            (Self::Avx512, Some("avx2")) => Self::Avx2,
            _ => self,
        }
    }

    /// The set that libtorch says its kernels use (`at::get_cpu_capability`), which
    /// `ATEN_CPU_CAPABILITY` can lower.
    pub fn of_libtorch(name: &str) -> Self {
        match name {
            "AVX512" => Self::Avx512,
            "AVX2" => Self::Avx2,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Avx512 => "AVX512",
            Self::Avx2 => "AVX2",
            Self::Other => "DEFAULT",
        })
    }
}

/// What Linux reports about the CPU.
fn cpuinfo() -> Option<String> {
    std::fs::read_to_string("/proc/cpuinfo").ok()
}

/// The first value with this name.
fn value<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

fn model(cpuinfo: &str) -> Option<&str> {
    value(cpuinfo, "model name")
}

fn has_flag(cpuinfo: &str, flag: &str) -> bool {
    let flags = value(cpuinfo, "flags").unwrap_or_default();
    flags.split_whitespace().any(|it| it == flag)
}

/// What the CPU's vector units can do.
struct Vectors {
    instruction_set: InstructionSet,
    bf16: bool,
    fp16: bool,
}

impl Vectors {
    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        use std::arch::is_x86_feature_detected as has;
        let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        let instruction_set = if avx512 {
            InstructionSet::Avx512
        } else if has!("avx2") && has!("fma") {
            InstructionSet::Avx2
        } else {
            InstructionSet::Other
        };
        Self {
            instruction_set,
            bf16: has!("avx512bf16"),
            fp16: has!("avx512fp16"),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    const fn detect() -> Self {
        Self {
            instruction_set: InstructionSet::Other,
            bf16: false,
            fp16: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 amx_bf16 amx_tile\n\
                    model name\t: other\n";
        assert_eq!(model(text), Some("AMD EPYC"));
        assert!(has_flag(text, "amx_bf16"));
        assert!(!has_flag(text, "amx_fp16") && !has_flag(text, "amx"));
        assert_eq!(model("Features: asimd\n"), None);
        assert!(!has_flag("Features: asimd\n", "asimd"));
    }

    #[test]
    fn names_are_those_of_libtorch() {
        for name in ["AVX512", "AVX2", "DEFAULT"] {
            assert_eq!(InstructionSet::of_libtorch(name).to_string(), name);
        }
        assert_eq!(
            InstructionSet::of_libtorch("ZVECTOR"),
            InstructionSet::Other
        );
    }

    #[test]
    fn the_environment_lowers_and_never_raises() {
        use InstructionSet::{Avx2, Avx512, Other};
        assert_eq!(Avx512.lowered(Some("avx2")), Avx2);
        assert_eq!(Avx512.lowered(Some("default")), Other);
        assert_eq!(Avx2.lowered(Some("avx512")), Avx2);
        assert_eq!(Avx512.lowered(None), Avx512);
    }

    #[test]
    fn what_is_detected_is_consistent() {
        let cpu = Cpu::detect();
        assert!(cpu.threads > 0);
        assert!(cpu.bf16 || !cpu.amx_bf16);
    }
}
