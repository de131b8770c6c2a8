//! Which device a run would get, from what was found: no IO here.

use estimator::Bytes;

/// One GPU as NVML describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Index in NVML's order, that of the PCI bus.
    pub index: u32,
    /// `GPU-` and a UUID.
    pub uuid: String,
    /// Product name.
    pub name: String,
    /// Installed memory.
    pub total: Bytes,
    /// Memory that no process holds now.
    pub free: Bytes,
}

/// What the advice is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A card described by its memory alone.
    Given {
        /// The memory.
        memory: Bytes,
    },
    /// A GPU that was found.
    Found {
        /// The one that a run would get.
        gpu: Gpu,
        /// What else there is to know, in sentences.
        notes: Vec<String>,
    },
    /// No GPU.
    Cpu {
        /// Why none, as a fragment after "no GPU: ".
        reason: String,
    },
}

impl Device {
    /// Memory that a run can have, where it is known.
    pub fn memory(&self) -> Option<Bytes> {
        match self {
            Self::Given { memory } => Some(*memory),
            Self::Found { gpu, .. } => Some(gpu.free),
            Self::Cpu { .. } => None,
        }
    }
}

/// The GPU that a CUDA program would see first, given `CUDA_VISIBLE_DEVICES`.
///
/// As CUDA does, an entry that names no device hides those after it, and an
/// empty list hides all. Entries are indices or prefixes of UUIDs. CUDA counts
/// the fastest GPU first unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`; NVML counts in
/// the order of the bus, and so does this.
pub fn select(gpus: Vec<Gpu>, visible: Option<&str>) -> Device {
    if gpus.is_empty() {
        return Device::Cpu {
            reason: "the driver knows of no GPU".to_owned(),
        };
    }
    let Some(list) = visible else {
        let notes = several(&gpus);
        return first(gpus, notes);
    };
    let entry = list.split(',').next().unwrap_or_default().trim();
    if entry.is_empty() || entry == "-1" {
        let reason = format!("`CUDA_VISIBLE_DEVICES={list}` hides every GPU");
        return Device::Cpu { reason };
    }
    if entry.starts_with("MIG-") {
        let reason = format!(
            "`CUDA_VISIBLE_DEVICES={list}` names a MIG instance, which is not looked up yet; pass \
             its memory with `--vram`"
        );
        return Device::Cpu { reason };
    }
    let matches = |gpu: &Gpu| match entry.parse::<u32>() {
        Ok(index) => gpu.index == index,
        Err(_) => entry.starts_with("GPU-") && gpu.uuid.starts_with(entry),
    };
    let (chosen, others): (Vec<_>, Vec<_>) = gpus.into_iter().partition(matches);
    match chosen.len() {
        1 => {
            let by_index = entry.parse::<u32>().is_ok();
            let mixed = others.iter().any(|gpu| gpu.name != chosen[0].name);
            let note = (by_index && mixed).then(|| {
                "counted in the order of the PCI bus; CUDA does so with \
                 `CUDA_DEVICE_ORDER=PCI_BUS_ID` only"
                    .to_owned()
            });
            first(chosen, note.into_iter().collect())
        }
        0 => Device::Cpu {
            reason: format!("`CUDA_VISIBLE_DEVICES={list}` begins with `{entry}`, which is no GPU"),
        },
        _ => Device::Cpu {
            reason: format!(
                "`CUDA_VISIBLE_DEVICES={list}` begins with `{entry}`, which fits several GPUs"
            ),
        },
    }
}

fn first(gpus: Vec<Gpu>, notes: Vec<String>) -> Device {
    match gpus.into_iter().next() {
        Some(gpu) => Device::Found { gpu, notes },
        None => Device::Cpu {
            reason: "the driver knows of no GPU".to_owned(),
        },
    }
}

fn several(gpus: &[Gpu]) -> Vec<String> {
    match gpus.len() {
        0 | 1 => Vec::new(),
        count => vec![format!(
            "{count} GPUs found, this is for the first; choose another with `CUDA_VISIBLE_DEVICES`"
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(index: u32, uuid: &str, name: &str) -> Gpu {
        Gpu {
            index,
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            total: Bytes(12 * Bytes::GIB),
            free: Bytes(11 * Bytes::GIB),
        }
    }

    fn machine() -> Vec<Gpu> {
        vec![
            gpu(0, "GPU-aaaa-1", "NVIDIA A"),
            gpu(1, "GPU-aabb-2", "NVIDIA B"),
            gpu(2, "GPU-cccc-3", "NVIDIA A"),
        ]
    }

    fn chosen(visible: Option<&str>) -> Result<u32, String> {
        match select(machine(), visible) {
            Device::Found { gpu, .. } => Ok(gpu.index),
            Device::Cpu { reason } => Err(reason),
            Device::Given { .. } => Err("given".to_owned()),
        }
    }

    #[test]
    fn visible_devices() {
        assert_eq!(chosen(None), Ok(0));
        assert_eq!(chosen(Some("1")), Ok(1));
        assert_eq!(chosen(Some(" 2 ,0")), Ok(2));
        assert_eq!(chosen(Some("GPU-cccc")), Ok(2));
        assert_eq!(chosen(Some("GPU-aabb-2,GPU-cccc")), Ok(1));
        for hidden in [
            "",
            "-1",
            "7",
            "7,0",
            "GPU-",
            "GPU-aa",
            "GPU-zzzz",
            "cccc",
            "MIG-1",
            "none",
            "4294967296",
        ] {
            assert!(chosen(Some(hidden)).is_err(), "{hidden}");
        }
    }

    #[test]
    fn an_empty_machine() {
        assert!(matches!(select(vec![], None), Device::Cpu { .. }));
        assert!(matches!(select(vec![], Some("0")), Device::Cpu { .. }));
    }

    #[test]
    fn the_order_is_said_where_it_matters() {
        let notes = |device| match device {
            Device::Found { notes, .. } => notes.len(),
            _ => 0,
        };
        assert_eq!(notes(select(machine(), Some("1"))), 1);
        assert_eq!(notes(select(machine(), Some("GPU-aabb"))), 0);
        assert_eq!(
            notes(select(
                vec![gpu(0, "GPU-1", "A"), gpu(1, "GPU-2", "A")],
                Some("1")
            )),
            0
        );
    }
}
