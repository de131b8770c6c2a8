//! What the machine has: libraries, the CPU, memory and disk space, and the GPU.

use std::time::{Duration, Instant};

use machine::load::Moment;
use machine::{BF16_FROM, Cpu, Processor, Segments, nvml};
use tch::Device;
use torch_ext::library::{self, CudaLibrary};
use torch_ext::{cuda, device_info, norm, nvrtc};

use super::{Check, Finding, Section};
use engine::compose::FEATURES;
use engine::device;

const GIB: f64 = (1_u64 << 30) as f64;

/// Free bytes below which a first run is likely to fail: the program, a small network and its
/// pages; weights of the guide's network twice, and samples.
const LITTLE_MEMORY: u64 = 2 << 30;
const LITTLE_DISK: u64 = 1 << 30;

type Look = (&'static str, fn(&Examined) -> Finding);

const LOOKS: [Look; 19] = [
    ("libtorch", |_| libtorch()),
    ("features", |_| features()),
    ("cpu", |_| cpu()),
    ("cores", |_| cores()),
    ("cpu-bf16", |facts| {
        in_hardware("bf16", "AVX512-BF16 nor AMX-BF16", facts.cpu.bf16)
    }),
    ("cpu-fp16", |facts| {
        in_hardware("fp16", "AVX512-FP16 nor AMX-FP16", facts.cpu.fp16)
    }),
    ("memory", |_| memory()),
    ("disk", |_| disk()),
    ("cuda-library", cuda_library),
    ("nvml", nvml_state),
    ("gpu", gpu),
    ("compute-capability", compute_capability),
    ("gpu-precision", gpu_precision),
    ("gpu-memory", gpu_memory),
    ("driver", driver),
    ("cuda-runtime", cuda_runtime),
    ("cudnn", cudnn),
    ("nvrtc", compiles_kernels),
    ("kernels", own_kernels),
];

/// Facts that several lines need.
struct Examined {
    /// The CUDA device to examine: the chosen one, or else the first.
    gpu: Option<usize>,
    /// Names of the GPUs that NVML sees, or why it sees none.
    seen: Result<Vec<String>, String>,
    cpu: Cpu,
}

/// All lines, in order.
pub(super) fn all(device: Device) -> Vec<Check> {
    let gpu = match device {
        Device::Cuda(n) => Some(n),
        _ => cuda::is_available().then_some(0),
    };
    let facts = Examined {
        gpu,
        seen: nvml::all_gpus().map(|gpus| gpus.into_iter().map(|gpu| gpu.name).collect()),
        cpu: Cpu::detect(),
    };
    LOOKS
        .into_iter()
        .map(|(name, look)| {
            let begun = Instant::now();
            look(&facts).named(Section::Found, name, begun.elapsed())
        })
        .collect()
}

fn libtorch() -> Finding {
    let path = library::library_path();
    let path = path.map_or_else(
        || "an unknown place".to_owned(),
        |p| p.display().to_string(),
    );
    Finding::ok(format!("{}, from {path}", library::runtime_version()))
}

fn features() -> Finding {
    let all = ["amp", "checkpoint", "layout"];
    let (with, without): (Vec<_>, Vec<_>) = all.into_iter().partition(|f| FEATURES.contains(f));
    let listed = |names: &[&str]| match names {
        [] => "none of the techniques".to_owned(),
        names => names.join(", "),
    };
    if without.is_empty() {
        return Finding::ok(listed(&with));
    }
    let detail = format!("{}; built without {}", listed(&with), without.join(", "));
    Finding::ok(detail).hinted("`cargo build -p train --features full` has all three")
}

fn cpu() -> Finding {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Finding::ok(format!(
        "{}, {cores} cores, libtorch threads: {}, {}",
        device::name(Device::Cpu),
        tch::get_num_threads(),
        library::cpu_capability()
    ))
}

/// What other programs take of the cores, in a short while.
fn cores() -> Finding {
    let begun = Moment::now();
    std::thread::sleep(Duration::from_millis(250));
    let Some(others) = begun.and_then(|it| it.others_since()) else {
        return Finding::skipped("this system does not tell what programs take of them");
    };
    let detail = format!("other programs use {:.1} of {}", others.used, others.cores);
    let all = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    if others.threads_beside(all) == all {
        return Finding::ok(detail);
    }
    let advice = "a step on the CPU loses more than its share; `--share-cores` keeps more of it";
    Finding::warn(detail, advice.to_owned())
}

fn in_hardware(dtype: &str, neither: &str, has_it: bool) -> Finding {
    if has_it {
        return Finding::ok("multiplied in hardware");
    }
    Finding::ok(format!(
        "emulated: neither {neither} is here, so AMP in {dtype} on this CPU is slow"
    ))
    .hinted("`--amp off` is faster on this CPU")
}

fn memory() -> Finding {
    let total = device::total_bytes(Device::Cpu);
    let (Some(total), Some(available)) = (total, device::free_bytes(Device::Cpu)) else {
        return Finding::skipped("the system does not say how much memory there is");
    };
    let detail = format!("{} of {} GiB available", gib(available), gib(total));
    if available < LITTLE_MEMORY {
        Finding::warn(
            detail,
            "a step of the guide's network wants more: see `train memory`",
        )
    } else {
        Finding::ok(detail)
    }
}

fn disk() -> Finding {
    match rustix::fs::statvfs(".") {
        Err(error) => Finding::warn(
            format!("the working folder does not say how much is free: {error}"),
            "start from a folder that you can write to",
        ),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} GiB free in the working folder", gib(free));
            if free < LITTLE_DISK {
                Finding::warn(
                    detail,
                    "runs are written to `runs/`; `--run-dir` goes elsewhere",
                )
            } else {
                Finding::ok(detail)
            }
        }
    }
}

impl Examined {
    fn sees_a_gpu(&self) -> bool {
        self.seen.as_ref().is_ok_and(|names| !names.is_empty())
    }
}

/// The CUDA half of libtorch. Without a GPU it does not matter that it lacks libraries that
/// `cargo xtask setup` did not install.
fn cuda_library(facts: &Examined) -> Finding {
    const INSTALL: &str = "`cargo xtask setup --cuda` installs it with what it needs";
    match library::open_cuda() {
        CudaLibrary::Open => Finding::ok("open"),
        CudaLibrary::Broken(why) if facts.sees_a_gpu() => {
            Finding::warn(format!("cannot be opened: {}", without_path(why)), INSTALL)
        }
        CudaLibrary::Broken(_) => Finding::skipped(
            "no GPU; libtorch's CUDA half is there without the libraries that it needs",
        ),
        _ if facts.sees_a_gpu() => Finding::warn("this libtorch has no CUDA half", INSTALL),
        _ => Finding::skipped("no GPU; this libtorch has no CUDA half"),
    }
}

/// The loader says `libcublas.so.13: cannot open ...`, sometimes after a path.
fn without_path(why: &str) -> &str {
    why.rsplit_once('/').map_or(why, |(_, name)| name)
}

fn nvml_state(facts: &Examined) -> Finding {
    match &facts.seen {
        Ok(names) if names.is_empty() => Finding::skipped("no GPU; NVML is there and sees none"),
        Ok(names) => Finding::ok(format!("sees {}", names.join(", "))),
        Err(reason) if facts.gpu.is_some() => Finding::warn(
            reason.clone(),
            "bytes outside of the allocator (context, libraries) are not reported then",
        ),
        Err(reason) => Finding::skipped(format!("no GPU: {reason}")),
    }
}

fn gpu(facts: &Examined) -> Finding {
    match facts.gpu {
        Some(n) => Finding::ok(format!(
            "{}, `cuda:{n}` of {}",
            device::name(Device::Cuda(n)),
            tch::Cuda::device_count()
        )),
        None if facts.sees_a_gpu() => Finding::warn(
            "NVML sees a GPU, CUDA does not",
            "look at the line `cuda-library`, and at `CUDA_VISIBLE_DEVICES`",
        ),
        None => Finding::skipped("no GPU"),
    }
}

/// Runs `look` on the GPU, if there is one.
fn on_gpu(facts: &Examined, look: impl FnOnce(usize) -> Option<Finding>) -> Finding {
    let unknown = || Finding::skipped("CUDA does not say");
    match facts.gpu {
        Some(n) => look(n).unwrap_or_else(unknown),
        None => Finding::skipped("no GPU"),
    }
}

fn compute_capability(facts: &Examined) -> Finding {
    on_gpu(facts, |n| {
        Some(Finding::ok(device_info::compute_capability(n)?.to_string()))
    })
}

/// Tensor cores multiply fp16 from 7.0 on, bf16 and TF32 from 8.0 on.
fn gpu_precision(facts: &Examined) -> Finding {
    const FP16_FROM: u32 = 7;
    on_gpu(facts, |n| {
        let major = device_info::compute_capability(n)?.major;
        let has = |name, from| format!("{name} {}", if major >= from { "yes" } else { "no" });
        Some(Finding::ok(format!(
            "{}, {}, {}",
            has("fp16", FP16_FROM),
            has("bf16", BF16_FROM),
            has("TF32", BF16_FROM)
        )))
    })
}

fn gpu_memory(facts: &Examined) -> Finding {
    on_gpu(facts, |n| {
        let memory = match cuda::memory(n) {
            Ok(memory) => memory,
            Err(error) => return Some(Finding::fail(error.to_string())),
        };
        let segments = match device::processor(Device::Cuda(n)) {
            Processor::Gpu {
                segments: Segments::Expandable,
                ..
            } => "segments expand",
            _ => "segments do not expand, so more of it is lost between tensors",
        };
        Some(Finding::ok(format!(
            "{} of {} GiB free; {segments}",
            gib(memory.free_bytes),
            gib(memory.total_bytes)
        )))
    })
}

fn driver(facts: &Examined) -> Finding {
    on_gpu(facts, |_| {
        let version = nvml::driver_version().unwrap_or_else(|_| "of unknown version".to_owned());
        let cuda = device_info::cuda_driver_version()?;
        Some(Finding::ok(format!("{version}, for CUDA up to {cuda}")))
    })
}

fn cuda_runtime(facts: &Examined) -> Finding {
    on_gpu(facts, |_| {
        let runtime = device_info::cuda_runtime_version()?;
        let driver = device_info::cuda_driver_version();
        Some(match driver {
            Some(driver) if driver.major < runtime.major => Finding::warn(
                format!("{runtime}, newer than the driver's {driver}"),
                "update the NVIDIA driver",
            ),
            _ => Finding::ok(runtime.to_string()),
        })
    })
}

fn cudnn(facts: &Examined) -> Finding {
    on_gpu(facts, |_| device_info::cudnn_version().map(Finding::ok))
}

/// cuDNN and libtorch compile some kernels at run time. Compiling one needs no GPU.
fn compiles_kernels(facts: &Examined) -> Finding {
    const KERNEL: &str = "extern \"C\" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }";
    let Some(nvrtc) = nvrtc::nvrtc() else {
        return match facts.gpu {
            Some(_) => Finding::warn(
                "not beside libtorch: cuDNN does without its engines that are compiled at run time",
                "`cargo xtask setup --cuda` installs it",
            ),
            None => Finding::skipped("no GPU; NVRTC is not beside libtorch"),
        };
    };
    let capability = facts.gpu.and_then(device_info::compute_capability);
    let arch = capability.map_or_else(
        || "compute_75".to_owned(),
        |it| format!("compute_{}{}", it.major, it.minor),
    );
    match nvrtc.compile(KERNEL, &arch) {
        Ok(()) => Finding::ok(format!("compiles a kernel for {arch}")),
        Err(why) => Finding::warn(
            format!("compiles no kernel for {arch}: {}", without_path(&why)),
            "`cargo xtask setup --cuda` installs it anew",
        ),
    }
}

/// Our own kernels, on a few numbers.
fn own_kernels(facts: &Examined) -> Finding {
    on_gpu(facts, |index| {
        let device = Device::Cuda(index);
        Some(if norm::is_tried() {
            match norm::runs_on(device) {
                Ok(()) => {
                    Finding::ok("batch norm, ReLU and pooling as on the CPU, within rounding")
                }
                Err(why) => Finding::warn(
                    format!("not used here: {why}"),
                    "runs take libtorch's operators instead; please report this card and its driver",
                ),
            }
        } else {
            Finding::skipped("`SNUG_KERNELS_TRIAL` is off")
        })
    })
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / GIB)
}
