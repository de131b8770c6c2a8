//! `advisor gpus --json`.

use serde_json::{Value, json};

use machine::select::{Environment, choose};
use machine::{Gpu, Instance, Inventory, Process};

/// The object that `advisor gpus --json` prints, schema 1; `machine` is what NVML sees, or why it
/// sees nothing. A value that NVML does not report is `null`.
pub fn to_json(machine: &Result<Inventory, String>, environment: &Environment) -> Value {
    let (gpus, driver, cuda, chosen) = match machine {
        Ok(machine) => (
            machine.gpus.as_slice(),
            machine.driver.as_deref(),
            machine.cuda.as_deref(),
            choose(&machine.gpus, environment),
        ),
        Err(reason) => ([].as_slice(), None, None, Err(reason.clone())),
    };
    let (first, reason, notes) = match chosen {
        Ok(choice) => (
            json!({
                "index": choice.gpu.index,
                "uuid": choice.instance.map_or(&choice.gpu.uuid, |instance| &instance.uuid),
                "is_mig_instance": choice.instance.is_some(),
                "why": choice.why,
            }),
            None,
            choice.notes,
        ),
        Err(reason) => (Value::Null, Some(reason), Vec::new()),
    };
    json!({
        "schema_version": 1,
        "driver": driver,
        "cuda": cuda,
        "cuda_visible_devices": environment.visible,
        "pci_order": environment.pci_order,
        "gpus": gpus.iter().map(gpu).collect::<Vec<_>>(),
        "first": first,
        "no_gpu_because": reason,
        "notes": notes,
    })
}

fn gpu(gpu: &Gpu) -> Value {
    let facts = &gpu.facts;
    let capability = facts.compute_capability;
    let instances = gpu.mig.iter().flatten().map(instance);
    json!({
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "total_bytes": gpu.total,
        "used_bytes": gpu.used(),
        "free_bytes": gpu.free,
        "compute_capability": capability.map(|(major, minor)| format!("{major}.{minor}")),
        "num_sms": facts.sms(),
        "num_cores": facts.num_cores,
        "max_sm_clock_mhz": facts.max_sm_clock_mhz,
        "max_memory_clock_mhz": facts.max_memory_clock_mhz,
        "bus_width_bits": facts.bus_width_bits,
        "temperature_celsius": facts.temperature_celsius,
        "mig": {
            "enabled": gpu.mig.is_some(),
            "instances": instances.collect::<Vec<_>>(),
        },
        "processes": processes(&gpu.processes),
        "peak": peak(gpu),
    })
}

fn instance(instance: &Instance) -> Value {
    json!({
        "index": instance.index,
        "uuid": instance.uuid,
        "name": instance.name,
        "total_bytes": instance.total,
        "free_bytes": instance.free,
        "num_sms": instance.num_sms,
        "processes": processes(&instance.processes),
    })
}

fn processes(processes: &[Process]) -> Value {
    let one = |process: &Process| {
        json!({
            "pid": process.pid, "name": process.name, "bytes": process.bytes,
        })
    };
    processes.iter().map(one).collect()
}

fn peak(gpu: &Gpu) -> Value {
    let Some(peak) = gpu.peak() else {
        return Value::Null;
    };
    let rates = peak.rates;
    json!({
        "source": if peak.in_table { "table" } else { "estimate" },
        "memory_bytes_per_second": rates.memory_bytes_per_second,
        "fp32_flops": rates.fp32_flops,
        "tf32_flops": rates.tf32_flops,
        "fp16_flops": rates.fp16_flops,
        "bf16_flops": rates.bf16_flops,
    })
}
