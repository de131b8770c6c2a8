//! Queries NVML. It comes with the driver and is opened at run time, so that the
//! same binary runs on a machine without an NVIDIA driver.

mod read;

use std::sync::OnceLock;

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;

use config::Bytes;

use crate::device::{self, Device};
use crate::gpu::{Gpu, Inventory};
use crate::select::Environment;

/// The file name that drivers install; only a development package adds the name without a version.
#[cfg(target_os = "linux")]
const LIBRARY: Option<&str> = Some("libnvidia-ml.so.1");
#[cfg(not(target_os = "linux"))]
const LIBRARY: Option<&str> = None;

/// The GPU that a run would use on this machine, or the CPU with the reason; `visible` is the value
/// of `CUDA_VISIBLE_DEVICES`.
#[doc(alias = "nvmlInit_v2")]
#[doc(alias = "nvmlDeviceGetMemoryInfo")]
pub fn detect(visible: Option<&str>) -> Device {
    let environment = environment(visible);
    match all(&environment) {
        Ok(gpus) => device::select(&gpus, &environment),
        Err(reason) => Device::this_cpu(reason),
    }
}

/// `visible`, together with the other variables that decide which devices CUDA shows.
pub fn environment(visible: Option<&str>) -> Environment {
    Environment {
        visible: visible.map(str::to_owned),
        pci_order: std::env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID"),
    }
}

/// Everything that NVML reports about this machine.
///
/// # Errors
/// The reason why it reports no GPU, as a fragment after "no GPU: ".
#[doc(alias = "nvmlSystemGetCudaDriverVersion_v2")]
pub fn inventory(environment: &Environment) -> Result<Inventory, String> {
    let gpus = all(environment)?;
    let cuda = nvml()?.sys_cuda_driver_version().ok();
    Ok(Inventory {
        driver: driver_version().ok(),
        cuda: cuda.map(|version| format!("{}.{}", version / 1000, version % 1000 / 10)),
        gpus,
    })
}

/// Every GPU that NVML reports, including those that CUDA may not see.
///
/// # Errors
/// The reason why there is no GPU, as a fragment after "no GPU: ".
#[doc(alias = "nvmlDeviceGetCount_v2")]
pub fn all_gpus() -> Result<Vec<Gpu>, String> {
    all(&Environment::default())
}

/// The GPUs, with ids set for the instance that the environment names.
fn all(environment: &Environment) -> Result<Vec<Gpu>, String> {
    let nvml = nvml()?;
    let mut gpus = list(nvml).map_err(|error| reason(&error))?;
    let list = environment.visible.as_deref().unwrap_or_default();
    let first = list.split(',').next().unwrap_or_default().trim();
    read::resolve_old_name(nvml, first, &mut gpus);
    Ok(gpus)
}

/// Version of the driver, such as `580.95.05`.
///
/// # Errors
/// The reason why NVML does not report it, as a fragment.
#[doc(alias = "nvmlSystemGetDriverVersion")]
pub fn driver_version() -> Result<String, String> {
    nvml()?.sys_driver_version().map_err(|error| reason(&error))
}

/// Bytes in use on a device at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// Bytes held by the given process, including its CUDA context. `None` if NVML does not know
    /// the process: it uses the host's process ids, which differ inside a container.
    pub process: Option<Bytes>,
    /// Bytes held by all processes and by the driver itself.
    pub device: Bytes,
}

/// Bytes that process `pid` and all processes hold on the GPU with this PCI bus id
/// (`0000:65:00.0`). If the GPU is split into MIG instances, the whole GPU is counted.
///
/// # Errors
/// The reason why NVML does not report it, as a fragment.
#[doc(alias = "nvmlDeviceGetComputeRunningProcesses_v3")]
pub fn bytes_in_use(pci_bus_id: &str, pid: u32) -> Result<InUse, String> {
    let ask = || -> Result<InUse, NvmlFailure> {
        let device = nvml()?.device_by_pci_bus_id(pci_bus_id)?;
        let memory = device.memory_info()?;
        // Not every driver lists processes, but the device total is always available.
        let processes = device.running_compute_processes().unwrap_or_default();
        let ours = processes.iter().filter(|process| process.pid == pid);
        let known = ours.filter_map(|process| match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        });
        Ok(InUse {
            process: known.max().map(Bytes),
            device: Bytes(memory.used),
        })
    };
    ask().map_err(|failure| failure.0)
}

/// Name of the GPU with this PCI bus id.
///
/// # Errors
/// The reason why NVML does not report it, as a fragment.
#[doc(alias = "nvmlDeviceGetName")]
pub fn gpu_name(pci_bus_id: &str) -> Result<String, String> {
    let device = nvml()?.device_by_pci_bus_id(pci_bus_id);
    let name = device.and_then(|device| device.name());
    name.map_err(|error| reason(&error))
}

/// Temperature of the GPU with this PCI bus id, in degrees Celsius.
///
/// # Errors
/// The reason why NVML does not report it, as a fragment.
#[doc(alias = "nvmlDeviceGetTemperature")]
pub fn temperature_celsius(pci_bus_id: &str) -> Result<u32, String> {
    let device = nvml()?.device_by_pci_bus_id(pci_bus_id);
    let celsius = device.and_then(|device| device.temperature(TemperatureSensor::Gpu));
    celsius.map_err(|error| reason(&error))
}

/// Why NVML gave no answer, in words.
struct NvmlFailure(String);

impl From<String> for NvmlFailure {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<NvmlError> for NvmlFailure {
    fn from(error: NvmlError) -> Self {
        Self(reason(&error))
    }
}

/// NVML, opened once: opening takes milliseconds, and NVML may be queried at every step.
fn nvml() -> Result<&'static Nvml, String> {
    static OPENED: OnceLock<Result<Nvml, String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        let mut builder = Nvml::builder();
        if let Some(name) = LIBRARY {
            builder.lib_path(name.as_ref());
        }
        builder.init().map_err(|error| reason(&error))
    });
    opened.as_ref().map_err(Clone::clone)
}

fn list(nvml: &Nvml) -> Result<Vec<Gpu>, NvmlError> {
    let count = nvml.device_count()?;
    let all: Vec<_> = (0..count).map(|index| read::gpu(nvml, index)).collect();
    // One broken card does not hide the others; if all fail, the first error is returned.
    if all.iter().any(Result::is_ok) {
        Ok(all.into_iter().flatten().collect())
    } else {
        all.into_iter().collect()
    }
}

fn reason(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => {
            "NVML was not found, so there is no NVIDIA driver here".to_owned()
        }
        NvmlError::DriverNotLoaded => "the NVIDIA driver is installed but not loaded".to_owned(),
        NvmlError::NoPermission => "this user is not allowed to use NVML".to_owned(),
        error => format!("NVML reported: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_panics_whatever_the_machine() {
        for visible in [
            None,
            Some(""),
            Some("0"),
            Some("GPU-nothing"),
            Some("MIG-GPU-nothing/1/0"),
        ] {
            match detect(visible) {
                Device::Found { gpu, .. } => assert!(gpu.free <= gpu.total),
                Device::Cpu { reason, .. } => assert!(!reason.is_empty()),
                Device::Given { .. } => panic!("nothing was given"),
            }
        }
        let celsius = temperature_celsius("0000:00:00.0").map(|it| it.to_string());
        for answer in [driver_version(), gpu_name("0000:00:00.0"), celsius] {
            assert_ne!(answer.unwrap_or_else(|reason| reason), "");
        }
        assert!(bytes_in_use("nowhere", 1).is_err());
        match inventory(&environment(None)) {
            Ok(inventory) => assert!(inventory.driver.is_some()),
            Err(reason) => assert_ne!(reason, ""),
        }
    }

    #[test]
    fn reasons_are_plain() {
        assert_eq!(
            reason(&NvmlError::DriverNotLoaded),
            "the NVIDIA driver is installed but not loaded"
        );
        assert_eq!(
            reason(&NvmlError::Unknown),
            "NVML reported: an internal driver error occurred"
        );
    }
}
