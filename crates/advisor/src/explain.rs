//! What a step will hold, in words, in a picture and for other programs.

mod svg;

use std::fmt::Write as _;

use config::RunConfig;
use estimator::{At, Breakdown, Bytes, StepMemory};
use serde_json::{Value, json};

pub use svg::to_svg;

/// What the prediction is of.
const OF: &str = "tensor bytes of a training step on a CPU with AVX512 (bf16 where AMP is on), \
                  channels-last";

/// For a terminal.
pub fn to_text(config: &RunConfig, threads: u32, memory: &StepMemory) -> String {
    let peak = &memory.peak;
    let mut text = format!(
        "{OF}:\n{}, {}\n\n",
        network(config),
        recipe(config, threads)
    );
    // Writing to a `String` cannot fail.
    for (name, bytes) in parts(&peak.breakdown) {
        let share = bytes as f64 / peak.bytes.max(1) as f64;
        let row = format!(
            "  {name:<14}{:>12}{:>6.1} %  {}",
            Bytes(bytes).to_string(),
            100.0 * share,
            bar(share)
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let _ = writeln!(
        text,
        "  {:<14}{:>12}",
        "peak",
        Bytes(peak.bytes).to_string()
    );
    let phase = phase(peak.at).map_or(String::new(), |phase| format!("in {phase}, "));
    let _ = writeln!(text, "\nthe peak is {phase}at: {}", peak.at);
    text
}

/// The network and what it is fed.
fn network(config: &RunConfig) -> String {
    let amp = if config.use_amp { "bf16" } else { "fp32" };
    let images = if config.batch == 1 { "image" } else { "images" };
    format!(
        "U-Net of width {}, {} {images} of {}, {amp}",
        config.width, config.batch, config.img_size
    )
}

/// How it is run.
fn recipe(config: &RunConfig, threads: u32) -> String {
    let split = if config.split_concat { " +split" } else { "" };
    format!(
        "policy {}{split}, accumulation {}, {threads} threads",
        config.checkpoint_policy(),
        config.accumulation
    )
}

/// A share of the peak, of which a fortieth is a sign.
fn bar(share: f64) -> String {
    const LENGTH: u8 = 40;
    (0..LENGTH)
        .filter(|sign| (f64::from(*sign) + 0.5) / f64::from(LENGTH) <= share)
        .map(|_| '#')
        .collect()
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
        At::Loss | At::Upload | At::Scores | At::Update | At::Between => None,
    }
}
