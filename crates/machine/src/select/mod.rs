//! Which device a CUDA program would see first in a given environment. This module does no IO.

use crate::gpu::{Gpu, Instance};

/// The environment variables that decide which devices CUDA shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CUDA_VISIBLE_DEVICES`.
    pub visible: Option<String>,
    /// Whether `CUDA_DEVICE_ORDER=PCI_BUS_ID` is set, which makes CUDA number GPUs as NVML does;
    /// otherwise CUDA puts the fastest GPU first.
    pub pci_order: bool,
}

/// The device that a CUDA program would see first, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The MIG instance on it, if MIG is enabled.
    pub instance: Option<&'a Instance>,
    /// Why it was chosen, as a fragment.
    pub why: String,
    /// Further facts, in sentences.
    pub notes: Vec<String>,
}

impl Choice<'_> {
    /// The GPU, or the instance as a separate device.
    pub fn device(&self) -> Gpu {
        match self.instance {
            Some(instance) => self.gpu.instance(instance),
            None => self.gpu.clone(),
        }
    }
}

/// The device that a CUDA program would see first.
///
/// As in CUDA, an entry of `CUDA_VISIBLE_DEVICES` that names no device hides the devices after it,
/// and an empty list hides all devices. An entry is an index, the UUID of a GPU or of a MIG
/// instance, a prefix of a UUID, or `MIG-GPU-UUID/GI/CI`. A process sees at most one MIG instance,
/// and if it sees one, it sees no whole GPU (NVIDIA Multi-Instance GPU User Guide, "Device
/// Enumeration"); the index or UUID of a GPU with MIG stands for its first instance.
///
/// # Errors
/// The reason why no device is visible, as a fragment after "no GPU: ".
pub fn choose<'a>(gpus: &'a [Gpu], environment: &Environment) -> Result<Choice<'a>, String> {
    if gpus.is_empty() {
        return Err("the driver reports no GPU".to_owned());
    }
    let Some(list) = environment.visible.as_deref() else {
        return unnamed(gpus, environment);
    };
    let entry = list.split(',').next().unwrap_or_default().trim();
    if entry.is_empty() || entry == "-1" {
        return Err(format!("`CUDA_VISIBLE_DEVICES={list}` hides every GPU"));
    }
    let why = format!("`CUDA_VISIBLE_DEVICES={list}` selects it");
    if entry.starts_with("MIG-") {
        let (gpu, instance) = by_mig_name(gpus, list, entry)?;
        return Ok(Choice {
            gpu,
            instance: Some(instance),
            why,
            notes: vec![part_of(gpu)],
        });
    }
    let index = entry.parse::<u32>().ok();
    let named = |gpu: &&Gpu| match index {
        Some(index) => gpu.index == index,
        None => entry.starts_with("GPU-") && gpu.uuid.starts_with(entry),
    };
    let gpu = only(gpus.iter().filter(named), list, entry, "GPU")?;
    let by_order = index.is_some().then(|| order_note(gpus, environment));
    let mut choice = whole_or_first(gpu, why)?;
    choice.notes.extend(by_order.flatten());
    Ok(choice)
}

/// The parts of `MIG-GPU-UUID/GI/CI`: the GPU's UUID and the ids of both instances.
pub(crate) fn old_mig_name(name: &str) -> Option<(&str, (u32, u32))> {
    let mut parts = name.strip_prefix("MIG-")?.split('/');
    let uuid = parts.next().filter(|uuid| uuid.starts_with("GPU-"))?;
    let gpu_instance = parts.next()?.parse().ok()?;
    let compute_instance = parts.next()?.parse().ok()?;
    let ended = parts.next().is_none();
    ended.then_some((uuid, (gpu_instance, compute_instance)))
}

/// The choice when `CUDA_VISIBLE_DEVICES` is not set.
fn unnamed<'a>(gpus: &'a [Gpu], environment: &Environment) -> Result<Choice<'a>, String> {
    let unset = "`CUDA_VISIBLE_DEVICES` is not set";
    let instances = gpus.iter().flat_map(|gpu| {
        let instances = gpu.mig.iter().flatten();
        instances.map(move |instance| (gpu, instance))
    });
    let count = instances.clone().count();
    if let Some((gpu, instance)) = instances.into_iter().next() {
        let several = (count > 1).then(|| several(count, "MIG instances"));
        return Ok(Choice {
            gpu,
            instance: Some(instance),
            why: format!("{unset}, and a MIG instance comes before whole GPUs"),
            notes: std::iter::once(part_of(gpu)).chain(several).collect(),
        });
    }
    let mut whole = gpus.iter().filter(|gpu| gpu.mig.is_none());
    let Some(gpu) = whole.next() else {
        return Err("MIG is enabled but no instance exists; `nvidia-smi mig` creates one".into());
    };
    let count = 1 + whole.count();
    let several = (count > 1).then(|| several(count, "GPUs"));
    let order = order_note(gpus, environment);
    Ok(Choice {
        gpu,
        instance: None,
        why: format!(
            "{unset}, and it is {}",
            if count > 1 {
                "the first"
            } else {
                "the only one"
            }
        ),
        notes: several.into_iter().chain(order).collect(),
    })
}

fn whole_or_first(gpu: &Gpu, why: String) -> Result<Choice<'_>, String> {
    let Some(instances) = &gpu.mig else {
        return Ok(Choice {
            gpu,
            instance: None,
            why,
            notes: Vec::new(),
        });
    };
    let Some(instance) = instances.first() else {
        let index = gpu.index;
        return Err(format!(
            "MIG is enabled on GPU {index} but it has no instance; `nvidia-smi mig` creates one"
        ));
    };
    let several = (instances.len() > 1).then(|| several(instances.len(), "MIG instances on it"));
    Ok(Choice {
        gpu,
        instance: Some(instance),
        why: format!("{why}, and CUDA takes the first instance of a GPU with MIG"),
        notes: std::iter::once(part_of(gpu)).chain(several).collect(),
    })
}

fn by_mig_name<'a>(
    gpus: &'a [Gpu],
    list: &str,
    entry: &str,
) -> Result<(&'a Gpu, &'a Instance), String> {
    if gpus.iter().all(|gpu| gpu.mig.is_none()) {
        return Err(format!(
            "`CUDA_VISIBLE_DEVICES={list}` begins with a MIG instance, but no GPU has MIG enabled"
        ));
    }
    let old = old_mig_name(entry);
    let named = |gpu: &Gpu, instance: &Instance| match old {
        Some((uuid, ids)) => gpu.uuid.starts_with(uuid) && instance.ids == Some(ids),
        None => entry.len() > "MIG-".len() && instance.uuid.starts_with(entry),
    };
    let all = gpus.iter().flat_map(|gpu| {
        let instances = gpu.mig.iter().flatten();
        instances.map(move |instance| (gpu, instance))
    });
    only(
        all.filter(|(gpu, instance)| named(gpu, instance)),
        list,
        entry,
        "MIG instance",
    )
}

/// The only item that matches, or the reason why no item was chosen.
fn only<T>(
    mut fitting: impl Iterator<Item = T>,
    list: &str,
    entry: &str,
    what: &str,
) -> Result<T, String> {
    let begins = format!("`CUDA_VISIBLE_DEVICES={list}` begins with `{entry}`");
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(format!("{begins}, but this machine has no such {what}")),
        (Some(_), Some(_)) => Err(format!("{begins}, which matches several {what}s")),
    }
}

fn several(count: usize, what: &str) -> String {
    format!("{count} {what} found; using the first; choose another with `CUDA_VISIBLE_DEVICES`")
}

fn part_of(gpu: &Gpu) -> String {
    format!("a MIG instance of GPU {} ({})", gpu.index, gpu.name)
}

/// A note for machines on which CUDA's default order could select a different kind of card.
fn order_note(gpus: &[Gpu], environment: &Environment) -> Option<String> {
    let mixed = gpus.windows(2).any(|pair| pair[0].name != pair[1].name);
    (mixed && !environment.pci_order).then(|| {
        "GPUs are numbered in PCI bus order; CUDA does so only with `CUDA_DEVICE_ORDER=PCI_BUS_ID`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests;
