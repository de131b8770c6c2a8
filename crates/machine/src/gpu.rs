//! GPUs, MIG instances, and the processes that hold memory on them. This module does no IO.

use config::Bytes;

use crate::cards::{Hardware, Observed, Rates, cores_per_sm};

/// What the name of a GPU ends with if the project's tests only pretend that it is there (crate
/// `standin`): nothing that runs on it is a measurement.
pub const STAND_IN: &str = "(stand-in)";

/// Whether a GPU with this name is only pretended.
pub fn is_stand_in(name: &str) -> bool {
    name.ends_with(STAND_IN)
}

/// One GPU, or one MIG instance of a GPU, as NVML describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpu {
    /// Index in NVML's order, which is PCI bus order; an instance has the index of its GPU.
    pub index: u32,
    /// `GPU-` and a UUID; for an instance, `MIG-` and a UUID.
    pub uuid: String,
    /// Product name.
    pub name: String,
    /// Installed memory; 0 if NVML does not report it.
    pub total: Bytes,
    /// Memory that no process holds at the moment.
    pub free: Bytes,
    /// Further facts from NVML.
    pub facts: Facts,
    /// Processes that hold memory on it, other than this one.
    pub processes: Vec<Process>,
    /// Its MIG instances, if MIG is enabled: CUDA then uses the instances, never the whole GPU.
    pub mig: Option<Vec<Instance>>,
    /// Product name of the GPU that this is an instance of.
    pub instance_of: Option<String>,
}

/// Facts that not every driver and card reports.
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
    /// Width of the memory bus.
    pub bus_width_bits: Option<u32>,
    /// Degrees Celsius.
    pub temperature_celsius: Option<u32>,
}

/// A process that holds memory on a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Process id as the driver sees it: the host's id, even in a container.
    pub pid: u32,
    /// Name of its program, without the path.
    pub name: Option<String>,
    /// The memory that it holds, if the driver reports it.
    pub bytes: Option<Bytes>,
}

/// A MIG instance: a share of a GPU, which CUDA sees as a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Index among the instances of its GPU.
    pub index: u32,
    /// `MIG-` and a UUID; `MIG-GPU-UUID/GI/CI` with drivers before R470.
    pub uuid: String,
    /// Product name of the GPU and profile of the instance.
    pub name: String,
    /// Its memory.
    pub total: Bytes,
    /// The part of its memory that no process holds at the moment.
    pub free: Bytes,
    /// Its streaming multiprocessors.
    pub num_sms: Option<u32>,
    /// Ids of the GPU instance and the compute instance, if they are known.
    pub ids: Option<(u32, u32)>,
    /// Processes that hold memory on it, other than this one.
    pub processes: Vec<Process>,
}

/// What NVML reports about a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Version of the driver, such as `580.95.05`.
    pub driver: Option<String>,
    /// The newest CUDA version that the driver supports, such as `13.0`.
    pub cuda: Option<String>,
    /// Every GPU, in PCI bus order.
    pub gpus: Vec<Gpu>,
}

/// Peak rates of a device and where they come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakRates {
    /// The rates.
    pub rates: Rates,
    /// Whether they come from the table of cards; otherwise they are estimated from clocks and
    /// architecture.
    pub in_table: bool,
}

/// At most this many other processes are named; the rest are only counted.
const MOST_PROCESSES: usize = 3;

impl Facts {
    /// Streaming multiprocessors, from NVML or from the number of cores.
    pub fn sms(&self) -> Option<u32> {
        self.num_sms.or_else(|| {
            let cores_per_sm = cores_per_sm(self.compute_capability?)?;
            Some(self.num_cores? / cores_per_sm)
        })
    }
}

impl Gpu {
    /// Memory that processes and the driver hold at the moment.
    pub fn used(&self) -> Bytes {
        Bytes(self.total.0.saturating_sub(self.free.0))
    }

    /// Peak rates, from the table of cards or estimated. A MIG instance gets its share of its GPU's
    /// rates, by SMs and by memory. `None` if neither source has the card.
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

    /// One of its MIG instances, as a separate device. NVML reports the clocks of the whole GPU;
    /// the bus width of an instance is unknown.
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

    /// The other processes that hold memory, in sentences, the largest holders first.
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
    /// The id, followed by the name if it is known.
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
