//! GPUs, MIG instances, and the processes that hold memory on them. No IO here.

use config::Bytes;

use crate::cards::{Hardware, Observed, Rates, cores_per_sm};

/// One GPU, or one MIG instance of a GPU, as NVML describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpu {
    /// Index in NVML's order, that of the PCI bus; of an instance that of its GPU.
    pub index: u32,
    /// `GPU-` and a UUID; `MIG-` and one of an instance.
    pub uuid: String,
    /// Product name.
    pub name: String,
    /// Installed memory; 0 where NVML does not say.
    pub total: Bytes,
    /// Memory that no process holds now.
    pub free: Bytes,
    /// What else NVML says.
    pub facts: Facts,
    /// Processes that hold memory on it, other than this one.
    pub processes: Vec<Process>,
    /// Its MIG instances, where MIG is enabled: CUDA then uses those, never the whole.
    pub mig: Option<Vec<Instance>>,
    /// Product name of the GPU of which this is an instance.
    pub instance_of: Option<String>,
}

/// Facts that not every driver and card gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Compute capability, major and minor.
    pub compute_capability: Option<(u32, u32)>,
    /// CUDA cores.
    pub num_cores: Option<u32>,
    /// Streaming multiprocessors; see also [`Facts::sms`].
    pub num_sms: Option<u32>,
    /// Highest SM clock.
    pub max_sm_clock_mhz: Option<u32>,
    /// Highest memory clock.
    pub max_memory_clock_mhz: Option<u32>,
    /// Width of the memory's bus.
    pub bus_width_bits: Option<u32>,
    /// Degrees Celsius.
    pub temperature_celsius: Option<u32>,
}

/// A process that holds memory of a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Process id, as the driver counts them: in a container those of the host.
    pub pid: u32,
    /// Name of its program, without folders.
    pub name: Option<String>,
    /// What it holds, where the driver says.
    pub bytes: Option<Bytes>,
}

/// A MIG instance: a share of a GPU, which CUDA sees as a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Index among the instances of its GPU.
    pub index: u32,
    /// `MIG-` and a UUID; with drivers before R470 `MIG-GPU-UUID/GI/CI`.
    pub uuid: String,
    /// Product name of the GPU and profile of the instance.
    pub name: String,
    /// Its memory.
    pub total: Bytes,
    /// Memory of it that no process holds now.
    pub free: Bytes,
    /// Its streaming multiprocessors.
    pub num_sms: Option<u32>,
    /// Ids of GPU instance and compute instance, where they are known.
    pub ids: Option<(u32, u32)>,
    /// Processes that hold memory on it, other than this one.
    pub processes: Vec<Process>,
}

/// What NVML sees of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Version of the driver, such as `580.95.05`.
    pub driver: Option<String>,
    /// The newest CUDA that the driver serves, such as `13.0`.
    pub cuda: Option<String>,
    /// Every GPU, in the order of the PCI bus.
    pub gpus: Vec<Gpu>,
}

/// Peak rates of a device and where they are from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakRates {
    /// The rates.
    pub rates: Rates,
    /// From the table of cards; otherwise estimated from clocks and architecture.
    pub in_table: bool,
}

/// Others are named up to here, the rest counted.
const MOST_PROCESSES: usize = 3;

impl Facts {
    /// Streaming multiprocessors, as NVML says or by the number of cores.
    pub fn sms(&self) -> Option<u32> {
        self.num_sms.or_else(|| {
            let cores_per_sm = cores_per_sm(self.compute_capability?)?;
            Some(self.num_cores? / cores_per_sm)
        })
    }
}

impl Gpu {
    /// Memory that is held now, by processes and the driver.
    pub fn used(&self) -> Bytes {
        Bytes(self.total.0.saturating_sub(self.free.0))
    }

    /// Peak rates: from the table of cards, or estimated. Of a MIG instance its share of them, by
    /// SMs and by memory. `None` where neither is possible.
    pub fn peak(&self) -> Option<PeakRates> {
        if let Some(whole) = &self.instance_of {
            let card = Hardware::lookup(whole)?;
            let sms = f64::from(self.facts.num_sms?) / f64::from(card.num_sms);
            let rates = Rates {
                memory_bytes_per_second: card.rates.memory_bytes_per_second
                    * (self.total.as_gib() / card.memory.as_gib()).min(1.0),
                fp32_flops: card.rates.fp32_flops * sms,
                tf32_flops: card.rates.tf32_flops.map(|rate| rate * sms),
                fp16_flops: card.rates.fp16_flops.map(|rate| rate * sms),
                bf16_flops: card.rates.bf16_flops.map(|rate| rate * sms),
            };
            let in_table = true;
            return Some(PeakRates { rates, in_table });
        }
        if let Some(card) = Hardware::lookup_with_memory(&self.name, self.total) {
            let rates = card.rates;
            let in_table = true;
            return Some(PeakRates { rates, in_table });
        }
        let observed = Observed {
            name: &self.name,
            compute_capability: self.facts.compute_capability?,
            num_sms: self.facts.sms()?,
            max_sm_clock_mhz: self.facts.max_sm_clock_mhz?,
            max_memory_clock_mhz: self.facts.max_memory_clock_mhz?,
            bus_width_bits: self.facts.bus_width_bits?,
        };
        let rates = Hardware::estimate(&observed)?;
        let in_table = false;
        Some(PeakRates { rates, in_table })
    }

    /// One of its MIG instances as a device of its own. NVML's clocks are those of the GPU; the
    /// width of an instance's bus is not known.
    #[must_use]
    pub fn instance(&self, instance: &Instance) -> Self {
        Self {
            index: self.index,
            uuid: instance.uuid.clone(),
            name: instance.name.clone(),
            total: instance.total,
            free: instance.free,
            facts: Facts {
                num_sms: instance.num_sms,
                num_cores: None,
                bus_width_bits: None,
                ..self.facts
            },
            processes: instance.processes.clone(),
            mig: None,
            instance_of: Some(self.name.clone()),
        }
    }

    /// Who else holds memory, in sentences, those who hold most first.
    pub fn held_by_others(&self) -> Vec<String> {
        let mut sorted: Vec<_> = self.processes.iter().collect();
        sorted.sort_by_key(|process| std::cmp::Reverse(process.bytes));
        let (named, rest) = sorted.split_at(sorted.len().min(MOST_PROCESSES));
        let mut notes: Vec<_> = named.iter().map(|process| process.sentence()).collect();
        match rest.len() {
            0 => {}
            1 => notes.push("1 more process holds some".to_owned()),
            count => notes.push(format!("{count} more processes hold some")),
        }
        notes
    }
}

impl Process {
    /// The id, and the name where it is known.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.pid),
            None => self.pid.to_string(),
        }
    }

    fn sentence(&self) -> String {
        let label = self.label();
        match self.bytes {
            Some(bytes) => format!("process {label} holds {bytes} of it"),
            None => format!("process {label} holds some of it"),
        }
    }
}
