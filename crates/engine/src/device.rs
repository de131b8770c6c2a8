//! The device of a run: its choice, its name and the figures of its allocator.

use std::str::FromStr;
use std::sync::OnceLock;

use config::{Bytes, Precision};
use machine::nvml::{self, InUse};
use machine::{Cpu, InstructionSet, Processor, Segments, ram};
use ranks::Launch;
use tch::Device;
use torch_ext::library::{self, CudaLibrary, open_cuda};
use torch_ext::{cuda, device_info, meter};

use crate::error::{Error, Result};

/// The value of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA if available, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device; without an index the first, or in a run of several processes one for each.
    Cuda(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(None)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(|n| Self::Cuda(Some(n)))
                .ok_or_else(|| format!("`{text}` is not a device: `auto`, `cpu` or `cuda[:N]`")),
        }
    }
}

impl DeviceChoice {
    /// The device itself.
    ///
    /// # Errors
    /// [`Error::NoSuchGpu`]; [`Error::CudaUnavailable`], with the reason.
    pub fn resolve(self) -> Result<Device> {
        let num_cuda = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        match self {
            Self::Auto if takes_gpus() => Self::Cuda(None).resolve(),
            Self::Auto | Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(None) if num_cuda > 0 => Self::Cuda(Some(0)).resolve(),
            Self::Cuda(Some(n)) if n < num_cuda => {
                if let Some(reason) = too_old(n) {
                    return Err(Error::CudaUnavailable { reason });
                }
                segments(n);
                Ok(Device::Cuda(n))
            }
            Self::Cuda(Some(index)) if num_cuda > 0 => Err(Error::NoSuchGpu {
                index,
                num_gpus: num_cuda,
            }),
            Self::Cuda(_) => Err(Error::CudaUnavailable {
                reason: why_no_cuda(),
            }),
        }
    }

    /// What a rank takes: without an index, ranks of one machine take one GPU each.
    ///
    /// # Errors
    /// [`ranks::Error::TooFewGpus`]; [`ranks::Error::OneGpuForAll`] if an index would give one GPU to all ranks of a
    /// machine.
    pub fn of_rank(self, launch: &Launch) -> Result<Self> {
        match self {
            Self::Cuda(Some(index)) if launch.local_size > 1 => Err(ranks::Error::OneGpuForAll {
                index,
                local_size: launch.local_size,
            }
            .into()),
            Self::Auto if !takes_gpus() => Ok(Self::Cpu),
            Self::Auto | Self::Cuda(None) => {
                let visible = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
                if visible == 0 {
                    // What is wrong with CUDA is for `resolve` to say.
                    return Ok(self);
                }
                let index = launch.device(visible)?;
                Ok(Self::Cuda(Some(index)))
            }
            Self::Cpu | Self::Cuda(Some(_)) => Ok(self),
        }
    }
}

/// Whether a run without `--device` trains on a GPU.
fn takes_gpus() -> bool {
    cuda::is_available() && too_old(0).is_none()
}

/// Why a run uses the CPU although this machine has a GPU; `None` if it has none.
pub fn unused_gpu() -> Option<String> {
    let gpus = nvml::inventory(&nvml::environment(None)).ok()?.gpus;
    let name = &gpus.first()?.name;
    Some(format!(
        "{name} is not used: {}",
        too_old(0).unwrap_or_else(why_no_cuda)
    ))
}

/// The version of CUDA that this libtorch is built for, and the first driver that supports it.
const CUDA_VERSION: (u32, u32) = (13, 0);
const DRIVER_VERSION: u32 = 580;

/// The oldest compute capability that this libtorch has kernels for.
const OLDEST: (u32, u32) = (7, 5);

/// Why libtorch has no kernels for a GPU, if it is too old.
fn too_old(device: usize) -> Option<String> {
    let found = device_info::compute_capability(device)?;
    let is_too_old = (found.major, found.minor) < OLDEST;
    is_too_old.then(|| {
        let (major, minor) = OLDEST;
        format!("its compute capability is {found}, and libtorch needs {major}.{minor} or newer")
    })
}

/// What is wrong with the driver, if it does not support libtorch's version of CUDA.
fn old_driver() -> Option<String> {
    let inventory = nvml::inventory(&nvml::environment(None)).ok()?;
    let (driver, cuda) = (inventory.driver?, inventory.cuda?);
    let (major, minor) = cuda.split_once('.')?;
    let found: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    (found < CUDA_VERSION).then(|| {
        let (major, minor) = CUDA_VERSION;
        format!(
            "its driver {driver} supports CUDA up to {cuda}, and libtorch needs CUDA {major}.{minor}: \
             install driver {DRIVER_VERSION} or newer"
        )
    })
}

fn why_no_cuda() -> String {
    match open_cuda() {
        CudaLibrary::Open => old_driver().unwrap_or_else(|| {
            "no GPU that CUDA may use was found (`advisor gpus` lists them)".to_owned()
        }),
        CudaLibrary::Broken(why) => format!(
            "the CUDA half of libtorch cannot be opened ({why}); `cargo xtask setup --cuda` \
             installs what it needs"
        ),
        _ => "this libtorch has no CUDA half".to_owned(),
    }
}

/// Refuses a precision that a GPU has no arithmetic for.
///
/// # Errors
/// [`Error::NoSuchPrecision`].
pub fn require_precision(device: Device, precision: Precision) -> Result<()> {
    if device.is_cuda() && precision == Precision::Bf16 && !processor(device).multiplies_bf16() {
        return Err(Error::NoSuchPrecision {
            name: name(device),
            precision,
        });
    }
    Ok(())
}

/// `cpu` or `cuda`.
pub fn kind(device: Device) -> &'static str {
    if device.is_cuda() { "cuda" } else { "cpu" }
}

/// The device's name for people.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(n) => device_info::pci_bus_id(n)
            .and_then(|id| nvml::gpu_name(&id).ok())
            .unwrap_or_else(|| format!("CUDA device {n}")),
        _ => Cpu::name().unwrap_or_else(|| "CPU".to_owned()),
    }
}

/// How libtorch takes memory from GPUs: in expandable segments, unless the environment says otherwise
/// or the driver has none. Decided before the first tensor.
fn segments(device: usize) -> Segments {
    static CHOSEN: OnceLock<Segments> = OnceLock::new();
    *CHOSEN.get_or_init(|| match Segments::of_environment() {
        Some(kind) => kind,
        None if device_info::maps_memory(device) && cuda::expand_segments().is_ok() => {
            Segments::Expandable
        }
        None => Segments::Fixed,
    })
}

/// The processor: a GPU as CUDA describes it, or the CPU as libtorch uses it.
pub fn processor(device: Device) -> Processor {
    if let Device::Cuda(n) = device {
        let capability = device_info::compute_capability(n).map(|it| (it.major, it.minor));
        let total = Bytes(total_bytes(device).unwrap_or_default());
        return Processor::gpu_named(&name(device), total, capability).with_segments(segments(n));
    }
    Processor::Cpu(Cpu {
        threads: u32::try_from(tch::get_num_threads()).unwrap_or(1),
        instruction_set: InstructionSet::of_libtorch(&library::cpu_capability()),
        ..Cpu::detect()
    })
}

/// Bytes of the device's memory; for the CPU, of the machine's or the container's.
pub fn total_bytes(device: Device) -> Option<u64> {
    if let Device::Cuda(n) = device {
        return cuda::memory(n).ok().map(|m| m.total_bytes);
    }
    ram::read().map(|ram| ram.total.0)
}

/// Free bytes of the device's memory, considering all processes; for the CPU, the bytes that the
/// system reports as available.
pub fn free_bytes(device: Device) -> Option<u64> {
    if let Device::Cuda(n) = device {
        return cuda::memory(n).ok().map(|m| m.free_bytes);
    }
    ram::read().map(|ram| ram.available.0)
}

/// Free bytes plus the bytes that this process's allocator has cached.
pub fn obtainable_bytes(device: Device) -> Option<u64> {
    if let Device::Cuda(n) = device {
        let memory = cuda::memory(n).ok()?;
        let kept = memory.reserved_bytes.saturating_sub(memory.allocated_bytes);
        return Some(memory.free_bytes.saturating_add(kept));
    }
    free_bytes(device)
}

/// The temperature of the GPU in degrees Celsius, if NVML reports it.
pub fn temperature(device: Device) -> Option<u32> {
    let Device::Cuda(n) = device else {
        return None;
    };
    nvml::temperature_celsius(&device_info::pci_bus_id(n)?).ok()
}

/// The most bytes since the last [`reset_peak`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// Tensor bytes.
    pub allocated_bytes: u64,
    /// Bytes held by the allocator; `None` on the CPU, whose allocator caches nothing.
    pub reserved_bytes: Option<u64>,
}

/// Reads the peak.
pub fn peak(device: Device) -> Peak {
    match device {
        Device::Cuda(n) => {
            let memory = cuda::memory(n).unwrap_or_default();
            Peak {
                allocated_bytes: memory.peak_allocated_bytes,
                reserved_bytes: Some(memory.peak_reserved_bytes),
            }
        }
        _ => Peak {
            allocated_bytes: meter::read().peak_bytes,
            reserved_bytes: None,
        },
    }
}

/// Tensor bytes now.
pub fn allocated_bytes(device: Device) -> u64 {
    match device {
        Device::Cuda(n) => cuda::memory(n).unwrap_or_default().allocated_bytes,
        _ => meter::read().allocated_bytes,
    }
}

/// Bytes that this process's allocator holds from the driver of a GPU; 0 for the CPU.
pub fn reserved_bytes(device: Device) -> u64 {
    match device {
        Device::Cuda(n) => cuda::memory(n).unwrap_or_default().reserved_bytes,
        _ => 0,
    }
}

/// The bytes that NVML reports for this process and for all processes.
///
/// # Errors
/// Why NVML reports nothing, as a fragment.
pub fn bytes_in_use(device: Device) -> Result<InUse, String> {
    let Device::Cuda(n) = device else {
        return Err("the CPU is no device of NVML's".to_owned());
    };
    let id = device_info::pci_bus_id(n).ok_or("CUDA does not tell the PCI bus id")?;
    let mut in_use = nvml::bytes_in_use(&id, std::process::id())?;
    // Outside a container this PID may belong to a different process, which need not hold as
    // many bytes as this one.
    let reserved_bytes = cuda::memory(n).unwrap_or_default().reserved_bytes;
    in_use.process = in_use.process.filter(|bytes| bytes.0 >= reserved_bytes);
    Ok(in_use)
}

/// Releases cached memory to the driver, or on the CPU to the system.
///
/// # Errors
/// If libtorch refuses.
pub fn empty_cache(device: Device) -> Result<()> {
    if device.is_cuda() {
        cuda::empty_cache()?;
    } else {
        meter::give_back();
    }
    Ok(())
}

/// Starts a new peak from here.
pub fn reset_peak(device: Device) {
    match device {
        // Statistics are only for display, so their failure must not end a run.
        Device::Cuda(n) => drop(cuda::reset_peak(n)),
        _ => meter::reset_peak(),
    }
}

/// Waits until the device has finished all submitted work.
pub fn synchronize(device: Device) {
    if let Device::Cuda(n) = device {
        tch::Cuda::synchronize(n.cast_signed() as i64);
    }
}

#[cfg(test)]
mod tests {
    use ranks::{Address, Launcher, Shard};

    use super::*;

    #[test]
    fn ranks_of_one_machine_do_not_name_a_gpu() {
        let launch = |local_size| Launch {
            launcher: Launcher::Hand,
            shard: Shard::new(0, 2).unwrap(),
            local_rank: 0,
            local_size,
            store: Address {
                host: "localhost".to_owned(),
                port: 1,
            },
            is_store_served: true,
            attempt: 0,
        };
        let named: DeviceChoice = "cuda:1".parse().unwrap();
        assert_eq!(named, DeviceChoice::Cuda(Some(1)));
        assert_eq!(named.of_rank(&launch(1)).unwrap(), named);
        let refused = named.of_rank(&launch(2)).unwrap_err();
        assert!(matches!(
            refused,
            Error::Ranks(ranks::Error::OneGpuForAll {
                index: 1,
                local_size: 2
            })
        ));
        for (asked, visible) in [(DeviceChoice::Cpu, true), ("cuda".parse().unwrap(), false)] {
            if visible || !cuda::is_available() {
                assert_eq!(asked.of_rank(&launch(2)).unwrap(), asked);
            }
        }
        if !cuda::is_available() {
            let auto = DeviceChoice::Auto.of_rank(&launch(2)).unwrap();
            assert_eq!(auto, DeviceChoice::Cpu);
        }
    }
}
