//! Explains what a step will hold: as text, as a picture and as JSON.

mod svg;

use std::fmt::Write as _;

use config::{AmpDtype, Bytes, RunConfig};
use estimator::{At, Breakdown, Cuda, Machine, StepMemory};
use figures::Table;
use serde_json::{Value, json};

pub use svg::{policies_to_svg, to_svg};

/// Where the step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// A CPU, on which libtorch uses this many threads.
    Cpu {
        /// The number of threads.
        threads: u32,
    },
    /// A GPU.
    Gpu {
        /// Its name.
        name: String,
        /// The GPU as the estimator describes it.
        cuda: Cuda,
    },
}

impl On {
    /// Says what is predicted, and for which device.
    fn of(&self, config: &RunConfig) -> String {
        let (bytes, place) = match self {
            Self::Cpu { .. } => ("tensor", "a CPU with AVX512"),
            Self::Gpu { name, .. } => ("allocated", name.as_str()),
        };
        let format = if config.use_channels_last {
            "last"
        } else {
            "first"
        };
        format!("{bytes} bytes of a training step on {place}, channels-{format}")
    }

    /// The half precision that AMP computes in.
    const fn half(&self, config: &RunConfig) -> &'static str {
        match (self, config.amp_dtype) {
            (Self::Gpu { .. }, AmpDtype::Auto | AmpDtype::Fp16) => "fp16",
            _ => "bf16",
        }
    }

    fn context_bytes(&self) -> Option<u64> {
        match self {
            Self::Cpu { .. } => None,
            Self::Gpu { cuda, .. } => Some(Machine::from(*cuda).context_bytes()),
        }
    }
}

/// The text for a terminal.
pub fn to_text(config: &RunConfig, on: &On, memory: &StepMemory) -> String {
    let peak = &memory.peak;
    let mut text = format!(
        "{}:\n{}, {}\n\n",
        on.of(config),
        network(config, on),
        recipe(config, on)
    );
    let mut table = Table::new(&[""; 4]);
    for (name, bytes) in parts(&peak.breakdown) {
        // On a CPU the transients include the workspace.
        if name == "workspace" && on.context_bytes().is_none() {
            continue;
        }
        let share = bytes as f64 / peak.bytes.max(1) as f64;
        table.row([
            name.to_owned(),
            Bytes(bytes).to_string(),
            format!("{:.1} %", 100.0 * share),
            bar(share),
        ]);
    }
    let mut sums = vec![("peak", peak.bytes)];
    if let (Some(reserved), Some(context)) = (peak.reserved_bytes, on.context_bytes()) {
        let total = reserved.saturating_add(context);
        sums.extend([("reserved", reserved), ("with context", total)]);
    }
    for (name, bytes) in sums {
        let bytes = Bytes(bytes).to_string();
        table.row([name.to_owned(), bytes, String::new(), String::new()]);
    }
    text.push_str(&table.to_text(1));
    let phase = phase(peak.at).map_or(String::new(), |phase| format!("in {phase}, "));
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "\nthe peak is {phase}at: {}", peak.at);
    text
}

/// The network and its input.
fn network(config: &RunConfig, on: &On) -> String {
    let amp = if config.use_amp {
        on.half(config)
    } else {
        "fp32"
    };
    let images = if config.batch == 1 { "image" } else { "images" };
    format!(
        "U-Net of width {}, {} {images} of {}, {amp}",
        config.width, config.batch, config.img_size
    )
}

/// The recipe that it runs with.
fn recipe(config: &RunConfig, on: &On) -> String {
    let split = if config.split_concat { " +split" } else { "" };
    let threads = match on {
        On::Cpu { threads } => format!(", {threads} threads"),
        On::Gpu { .. } => String::new(),
    };
    format!(
        "policy {}{split}, accumulation {}{threads}",
        config.checkpoint_policy(),
        config.accumulation
    )
}

/// A bar for a share of the peak; each character stands for a fortieth.
fn bar(share: f64) -> String {
    const LENGTH: u8 = 40;
    (0..LENGTH)
        .filter(|sign| (f64::from(*sign) + 0.5) / f64::from(LENGTH) <= share)
        .map(|_| '#')
        .collect()
}

/// The object that `advisor explain --json` prints, schema 1. A figure that is not predicted on a
/// CPU is `null`.
pub fn to_json(config: &RunConfig, on: &On, memory: &StepMemory) -> Value {
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
    let context = on.context_bytes();
    let device = match on {
        On::Cpu { threads } => {
            json!({ "kind": "cpu", "instruction_set": "AVX512", "threads": threads })
        }
        On::Gpu { name, .. } => json!({ "kind": "cuda", "name": name }),
    };
    let total = peak.reserved_bytes.zip(context);
    json!({
        "schema_version": 1,
        "device": device,
        "config": config,
        "predicted": {
            "allocated_bytes": peak.bytes,
            "reserved_bytes": peak.reserved_bytes,
            "total_bytes": total.map(|(reserved, context)| reserved.saturating_add(context)),
            "images_per_second": null,
        },
        "breakdown": {
            "parameters_bytes": breakdown.parameters_bytes,
            "gradients_bytes": breakdown.gradients_bytes,
            "optimizer_bytes": breakdown.optimizer_bytes,
            "activations_bytes": breakdown.activations_bytes,
            "transients_bytes": breakdown.transients_bytes,
            "workspace_bytes": context.map(|_| breakdown.workspace_bytes),
            "context_bytes": context,
        },
        "peak_at": { "operation": peak.at.to_string(), "phase": phase(peak.at) },
        "timeline": timeline,
    })
}

const fn parts(breakdown: &Breakdown) -> [(&'static str, u64); 6] {
    [
        ("parameters", breakdown.parameters_bytes),
        ("optimizer", breakdown.optimizer_bytes),
        ("gradients", breakdown.gradients_bytes),
        ("activations", breakdown.activations_bytes),
        ("transients", breakdown.transients_bytes),
        ("workspace", breakdown.workspace_bytes),
    ]
}

const fn phase(at: At) -> Option<&'static str> {
    match at {
        At::Forward(_) => Some("forward"),
        At::Backward(_) => Some("backward"),
        At::Loss | At::Upload | At::Scores | At::Update | At::Between => None,
    }
}
