//! The text that `advisor gpus` prints.

use std::fmt::Write as _;

use config::Bytes;
use machine::select::{Environment, choose};
use machine::{Gpu, Hardware, Instance, Inventory, PeakRates, Process};

/// The width of the column of names.
const NAMES: usize = 13;
const TERA: f64 = 1e12;

/// Formats the text of `advisor gpus`; `machine` is what NVML sees, or why it sees nothing.
pub fn to_text(machine: &Result<Inventory, String>, environment: &Environment) -> String {
    let machine = match machine {
        Ok(machine) => machine,
        Err(reason) => return format!("no GPU: {reason}\n"),
    };
    let mut out = String::new();
    if let Some(driver) = &machine.driver {
        line(&mut out, &format!("driver {driver}{}", cuda(machine)));
    }
    for gpu in &machine.gpus {
        out.push('\n');
        describe(&mut out, gpu);
    }
    out.push('\n');
    match choose(&machine.gpus, environment) {
        Ok(choice) => {
            let which = match choice.instance {
                Some(instance) => format!("MIG instance {}", instance.uuid),
                None => format!("GPU {}", choice.gpu.index),
            };
            line(
                &mut out,
                &format!("a CUDA program gets {which} first: {}", choice.why),
            );
            for note in &choice.notes {
                line(&mut out, &format!("note: {note}"));
            }
        }
        Err(reason) => line(&mut out, &format!("a CUDA program gets no GPU: {reason}")),
    }
    out
}

fn describe(out: &mut String, gpu: &Gpu) {
    line(out, &format!("GPU {}: {}", gpu.index, gpu.name));
    row(out, "UUID", &gpu.uuid);
    row(out, "memory", &memory(gpu.total, gpu.used(), gpu.free));
    row(out, "chip", &chip(gpu));
    if let Some(celsius) = gpu.facts.temperature_celsius {
        row(out, "temperature", &format!("{celsius} \u{b0}C"));
    }
    match &gpu.mig {
        None => row(out, "MIG", "off"),
        Some(instances) if instances.is_empty() => row(out, "MIG", "on, without an instance"),
        Some(instances) => {
            row(
                out,
                "MIG",
                &format!("on, {}", count(instances.len(), "instance")),
            );
            for instance in instances {
                describe_instance(out, instance);
            }
        }
    }
    processes(out, &gpu.processes);
    let peak = gpu.peak();
    row(
        out,
        "peak",
        &peak.map_or_else(|| unknown(gpu), |peak| rates(&peak)),
    );
}

fn describe_instance(out: &mut String, instance: &Instance) {
    let used = Bytes(instance.total.0.saturating_sub(instance.free.0));
    row(out, "", &format!("{}: {}", instance.index, instance.name));
    row(out, "", &format!("   {}", instance.uuid));
    row(
        out,
        "",
        &format!("   {}", memory(instance.total, used, instance.free)),
    );
    for process in &instance.processes {
        row(out, "", &format!("   process {}", held(process)));
    }
}

fn processes(out: &mut String, processes: &[Process]) {
    if processes.is_empty() {
        row(out, "processes", "none reported by the driver");
    }
    for (at, process) in processes.iter().enumerate() {
        row(out, if at == 0 { "processes" } else { "" }, &held(process));
    }
}

fn held(process: &Process) -> String {
    let label = process.label();
    match process.bytes {
        Some(bytes) => format!("{label}: {bytes}"),
        None => format!("{label}: amount unknown"),
    }
}

fn memory(total: Bytes, used: Bytes, free: Bytes) -> String {
    format!("{total}, {used} used, {free} free")
}

fn chip(gpu: &Gpu) -> String {
    let capability = gpu.facts.compute_capability;
    let capability = capability.map(|(major, minor)| format!("compute capability {major}.{minor}"));
    let sms = gpu.facts.sms().map(|sms| count(sms as usize, "SM"));
    let parts: Vec<_> = [capability, sms].into_iter().flatten().collect();
    if parts.is_empty() {
        "not reported by NVML".to_owned()
    } else {
        parts.join(", ")
    }
}

/// Formats the rates in one line. A precision for which the card has no tensor cores is left out.
fn rates(peak: &PeakRates) -> String {
    let rates = &peak.rates;
    let mut text = format!(
        "{:.0} GiB/s; TFLOP/s: fp32 {:.1}",
        rates.memory_bytes_per_second / Bytes::GIB as f64,
        rates.fp32_flops / TERA
    );
    for (name, rate) in [
        ("TF32", rates.tf32_flops),
        ("fp16", rates.fp16_flops),
        ("bf16", rates.bf16_flops),
    ] {
        if let Some(rate) = rate {
            // Writing to a string cannot fail.
            let _ = write!(text, ", {name} {:.1}", rate / TERA);
        }
    }
    text.push_str(if peak.in_table {
        " (by the table of cards)"
    } else {
        " (not in the table of cards; estimated from its clocks)"
    });
    text
}

fn unknown(gpu: &Gpu) -> String {
    let near = Hardware::near(&gpu.name);
    match near.first() {
        Some(near) => format!("not known; the nearest name in the table of cards is {near}"),
        None => "not known: not in the table of cards".to_owned(),
    }
}

fn cuda(machine: &Inventory) -> String {
    let version = machine.cuda.as_ref();
    version.map_or_else(String::new, |version| format!(", for CUDA up to {version}"))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn row(out: &mut String, name: &str, value: &str) {
    line(out, &format!("  {name:NAMES$}{value}"));
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}
