//! Reads one GPU from NVML. This layer is thin: `gpu.rs` and `select` interpret the answers, where
//! that can be tested without a GPU.

use std::collections::BTreeMap;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use config::Bytes;

use crate::gpu::{Facts, Gpu, Instance, Process};
use crate::select::old_mig_name;

/// Maximum length of the program names that are requested.
const NAME_BYTES: usize = 256;

/// The GPU at this index.
pub(super) fn gpu(nvml: &Nvml, index: u32) -> Result<Gpu, NvmlError> {
    let device = nvml.device_by_index(index)?;
    let mig = instances(nvml, &device);
    let (total, free) = match (device.memory_info(), &mig) {
        (Ok(memory), _) => (Bytes(memory.total), Bytes(memory.free)),
        // A user who has been given an instance may not be allowed to see the whole GPU.
        (Err(_), Some(instances)) => (
            sum(instances.iter().map(|it| it.total)),
            sum(instances.iter().map(|it| it.free)),
        ),
        (Err(error), None) => return Err(error),
    };
    Ok(Gpu {
        index,
        uuid: device.uuid()?,
        name: device.name()?,
        total,
        free,
        facts: facts(&device),
        processes: processes(nvml, &device),
        mig,
        instance_of: None,
    })
}

/// Sets the ids of the instance that an old name (`MIG-GPU-UUID/GI/CI`) refers to: newer drivers
/// resolve such a name but report the instance under a new one.
pub(super) fn resolve_old_name(nvml: &Nvml, name: &str, gpus: &mut [Gpu]) {
    let Some((_, ids)) = old_mig_name(name) else {
        return;
    };
    let Ok(uuid) = nvml.device_by_uuid(name).and_then(|device| device.uuid()) else {
        return;
    };
    let all = gpus.iter_mut().flat_map(|gpu| gpu.mig.iter_mut().flatten());
    for instance in all.filter(|instance| instance.uuid == uuid) {
        instance.ids = Some(ids);
    }
}

fn facts(device: &Device<'_>) -> Facts {
    let capability = device.cuda_compute_capability().ok().and_then(|it| {
        let major = u32::try_from(it.major).ok()?;
        Some((major, u32::try_from(it.minor).ok()?))
    });
    Facts {
        compute_capability: capability,
        num_cores: device.num_cores().ok(),
        num_sms: num_sms(device),
        max_sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
        max_memory_clock_mhz: device.max_clock_info(Clock::Memory).ok(),
        bus_width_bits: device.memory_bus_width().ok(),
        temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
    }
}

/// NVML answers for instances and for GPUs that support MIG.
fn num_sms(device: &Device<'_>) -> Option<u32> {
    let attributes = device.attributes().ok()?;
    Some(attributes.multiprocessor_count).filter(|count| *count > 0)
}

/// The MIG instances, if MIG is enabled.
fn instances(nvml: &Nvml, device: &Device<'_>) -> Option<Vec<Instance>> {
    let enabled = device.mig_mode().is_ok_and(|mode| mode.current == 1);
    enabled.then(|| {
        // This is the maximum count; an index without an instance returns an error.
        let most = device.mig_device_count().unwrap_or(0);
        let one = |index| instance(nvml, &device.mig_device_by_index(index).ok()?, index);
        (0..most).filter_map(one).collect()
    })
}

fn instance(nvml: &Nvml, device: &Device<'_>, index: u32) -> Option<Instance> {
    let memory = device.memory_info().ok()?;
    let uuid = device.uuid().ok()?;
    Some(Instance {
        index,
        ids: old_mig_name(&uuid).map(|(_, ids)| ids),
        uuid,
        name: device.name().unwrap_or_else(|_| "MIG".to_owned()),
        total: Bytes(memory.total),
        free: Bytes(memory.free),
        num_sms: num_sms(device),
        processes: processes(nvml, device),
    })
}

/// Compute and graphics processes, except this one. NVML lists a process that does both twice, with
/// the same figure.
fn processes(nvml: &Nvml, device: &Device<'_>) -> Vec<Process> {
    let compute = device.running_compute_processes().unwrap_or_default();
    let graphics = device.running_graphics_processes().unwrap_or_default();
    let mut held: BTreeMap<u32, Option<Bytes>> = BTreeMap::new();
    for process in compute.into_iter().chain(graphics) {
        let bytes = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(Bytes(bytes)),
            UsedGpuMemory::Unavailable => None,
        };
        let entry = held.entry(process.pid).or_default();
        *entry = (*entry).max(bytes);
    }
    held.remove(&std::process::id());
    let named = held.into_iter().map(|(pid, bytes)| Process {
        pid,
        name: nvml
            .sys_process_name(pid, NAME_BYTES)
            .ok()
            .and_then(|path| program(&path)),
        bytes,
    });
    named.collect()
}

/// The name of a program, from its path. Control characters are removed: a process chooses its own
/// name, and this text goes to a terminal.
fn program(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn sum(sizes: impl Iterator<Item = Bytes>) -> Bytes {
    Bytes(sizes.fold(0, |sum, size| sum.saturating_add(size.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs() {
        for (path, expected) in [
            ("/usr/bin/python3", Some("python3")),
            ("C:\\games\\game.exe", Some("game.exe")),
            ("Xorg", Some("Xorg")),
            ("a\u{1b}[2Jb", Some("a[2Jb")),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(program(path).as_deref(), expected, "{path}");
        }
    }
}
