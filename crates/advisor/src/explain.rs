//! What a step will hold, in words and for other programs.

use std::fmt::Write as _;

use config::RunConfig;
use estimator::{At, Breakdown, Bytes, StepMemory};
use serde_json::{Value, json};

/// What the prediction is of.
const OF: &str = "tensor bytes of a training step on a CPU with AVX512 (bf16 where AMP is on), \
                  channels-last";

/// For a terminal.
pub fn to_text(config: &RunConfig, threads: u32, memory: &StepMemory) -> String {
    let peak = &memory.peak;
    let amp = if config.use_amp { "bf16" } else { "fp32" };
    let split = if config.split_concat { " +split" } else { "" };
    let mut text = format!(
        "{OF}:\nU-Net of width {}, {} images of {}, {amp}, policy {}{split}, accumulation {}, \
         {threads} threads\n\n",
        config.width,
        config.batch,
        config.img_size,
        config.checkpoint_policy(),
        config.accumulation,
    );
    // Writing to a `String` cannot fail.
    let mut line = |name: &str, bytes: u64| {
        let _ = writeln!(text, "  {name:<14}{:>12}", Bytes(bytes).to_string());
    };
    for (name, bytes) in parts(&peak.breakdown) {
        line(name, bytes);
    }
    line("peak", peak.bytes);
    let phase = phase(peak.at).map_or(String::new(), |phase| format!("in {phase}, "));
    let _ = writeln!(text, "\nthe peak is {phase}at: {}", peak.at);
    text
}

/// The object of `advisor explain --json`, schema 1. What is not predicted on a CPU is `null`.
pub fn to_json(config: &RunConfig, threads: u32, memory: &StepMemory) -> Value {
    let peak = &memory.peak;
    let timeline: Vec<_> = memory
        .timeline
        .iter()
        .map(|moment| {
            json!({
                "operation": moment.at.to_string(),
                "phase": phase(moment.at),
                "allocated_bytes": moment.bytes,
            })
        })
        .collect();
    let breakdown = &peak.breakdown;
    json!({
        "schema_version": 1,
        "device": { "kind": "cpu", "instruction_set": "AVX512", "threads": threads },
        "config": config,
        "predicted": {
            "allocated_bytes": peak.bytes,
            "reserved_bytes": null,
            "total_bytes": null,
            "images_per_second": null,
        },
        "breakdown": {
            "parameters_bytes": breakdown.parameters_bytes,
            "gradients_bytes": breakdown.gradients_bytes,
            "optimizer_bytes": breakdown.optimizer_bytes,
            "activations_bytes": breakdown.activations_bytes,
            "transients_bytes": breakdown.transients_bytes,
            "workspace_bytes": null,
            "context_bytes": null,
        },
        "peak_at": { "operation": peak.at.to_string(), "phase": phase(peak.at) },
        "timeline": timeline,
    })
}

const fn parts(breakdown: &Breakdown) -> [(&'static str, u64); 5] {
    [
        ("parameters", breakdown.parameters_bytes),
        ("optimizer", breakdown.optimizer_bytes),
        ("gradients", breakdown.gradients_bytes),
        ("activations", breakdown.activations_bytes),
        ("transients", breakdown.transients_bytes),
    ]
}

const fn phase(at: At) -> Option<&'static str> {
    match at {
        At::Forward(_) => Some("forward"),
        At::Backward(_) => Some("backward"),
        At::Loss | At::Update | At::Between => None,
    }
}
