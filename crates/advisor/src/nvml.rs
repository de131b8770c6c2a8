//! Asks NVML. It comes with the driver and is opened at run time, so that the
//! same binary runs on a machine without one.

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::device::{self, Device, Gpu};
use estimator::Bytes;

/// The name that drivers install; the bare name needs a development package.
#[cfg(target_os = "linux")]
const LIBRARY: Option<&str> = Some("libnvidia-ml.so.1");
#[cfg(not(target_os = "linux"))]
const LIBRARY: Option<&str> = None;

/// The GPU that a run would get here, or why there is none; `visible` is the
/// value of `CUDA_VISIBLE_DEVICES`.
#[doc(alias = "nvmlInit_v2")]
#[doc(alias = "nvmlDeviceGetMemoryInfo")]
pub fn detect(visible: Option<&str>) -> Device {
    match list() {
        Ok(gpus) => device::select(gpus, visible),
        Err(error) => Device::Cpu {
            reason: reason(&error),
        },
    }
}

fn list() -> Result<Vec<Gpu>, NvmlError> {
    let mut builder = Nvml::builder();
    if let Some(name) = LIBRARY {
        builder.lib_path(name.as_ref());
    }
    let nvml = builder.init()?;
    let count = nvml.device_count()?;
    let one = |index| -> Result<Gpu, NvmlError> {
        let device = nvml.device_by_index(index)?;
        let memory = device.memory_info()?;
        Ok(Gpu {
            index,
            uuid: device.uuid()?,
            name: device.name()?,
            total: Bytes(memory.total),
            free: Bytes(memory.free),
        })
    };
    let all: Vec<_> = (0..count).map(one).collect();
    // One broken card does not hide the others; when all fail, the first error is told.
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
        NvmlError::NoPermission => "NVML may not be used by this user".to_owned(),
        error => format!("NVML answered: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_panics_whatever_the_machine() {
        for visible in [None, Some(""), Some("0"), Some("GPU-nothing")] {
            match detect(visible) {
                Device::Found { gpu, .. } => assert!(gpu.free <= gpu.total),
                Device::Cpu { reason } => assert!(!reason.is_empty()),
                Device::Given { .. } => panic!("nothing was given"),
            }
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
            "NVML answered: an internal driver error occurred"
        );
    }
}
