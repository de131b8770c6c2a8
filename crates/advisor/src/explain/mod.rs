//! Explains what a step will hold: as text, as a picture and as JSON.

mod svg;

use std::fmt::Write as _;

use config::{Bytes, Precision, RunConfig};
use estimator::{At, Breakdown, EstimateError, Forecast, StepMemory};
use figures::Table;
use machine::{Device, Processor};
use serde_json::{Value, json};

use crate::target::Target;

pub use svg::{policies_to_svg, to_svg};

/// A step on a device, and what it is predicted to cost there.
#[derive(Clone, Debug, PartialEq)]
pub struct On {
    /// Name of a GPU.
    name: String,
    processor: Processor,
    precision: Precision,
    forecast: Forecast,
    context: Bytes,
    speed_is_known: bool,
}

impl On {
    /// Predicts the step of a configuration that needs the most memory, operation by operation.
    ///
    /// # Errors
    /// As [`Target::predict`], and for the policy `auto`.
    pub fn predict(
        config: &RunConfig,
        device: &Device,
        target: &Target,
    ) -> Result<(Self, StepMemory), EstimateError> {
        let (steps, forecast) = target.forecast(config)?;
        let name = device.name();
        let on = Self {
            name: name.unwrap_or_else(|| "an NVIDIA GPU".to_owned()),
            processor: *target.processor(),
            precision: target.precision(config),
            context: target.context(),
            speed_is_known: target.speed_is_known(),
            forecast,
        };
        Ok((on, steps.memory(&forecast)?))
    }

    /// What the step costs.
    pub const fn forecast(&self) -> &Forecast {
        &self.forecast
    }

    /// What the prediction is of.
    fn of(&self, config: &RunConfig) -> String {
        let (bytes, place) = match &self.processor {
            Processor::Cpu(cpu) => ("tensor", format!("a CPU with {}", cpu.instruction_set)),
            Processor::Gpu { .. } => ("allocated", self.name.clone()),
        };
        let step = if self.forecast.is_of_validation() {
            "a batch of validation, which takes more than a step of training,"
        } else {
            "a training step"
        };
        let bound = if self.forecast.is_bound {
            " (an upper bound)"
        } else {
            ""
        };
        let format = config.memory_format();
        format!("{bytes} bytes of {step} on {place}, {format}{bound}")
    }

    fn context_bytes(&self) -> Option<u64> {
        self.processor.is_gpu().then_some(self.context.0)
    }
}

/// The step of a configuration that needs the most memory, for the report of a run: its peak, what it consists of, and
/// what is held operation by operation.
///
/// # Errors
/// As [`On::predict`].
pub fn step_to_json(config: &RunConfig, target: &Target) -> Result<Value, EstimateError> {
    let (steps, forecast) = target.forecast(config)?;
    let memory = steps.memory(&forecast)?;
    let kinds = parts(&memory.peak.breakdown);
    let kinds = kinds.into_iter().filter(|(_, bytes)| *bytes > 0);
    let kinds: Vec<_> = kinds
        .map(|(kind, bytes)| json!({"kind": kind, "bytes": bytes}))
        .collect();
    let moments = memory
        .timeline
        .iter()
        .map(|it| json!({"at": it.at.to_string(), "phase": phase(it.at), "bytes": it.bytes}));
    Ok(json!({
        "peak_bytes": memory.peak.bytes,
        "peak_at": memory.peak.at.to_string(),
        "kinds": kinds,
        "timeline": moments.collect::<Vec<_>>(),
    }))
}

/// What the user can do about a failed prediction.
pub const fn hint(error: &EstimateError) -> &'static str {
    match error {
        EstimateError::Unknown(_) => "`--amp off`, or measure with `train memory`",
        EstimateError::PolicyAuto => "`--grad-checkpoint selective` or `mixed`",
        _ => "a smaller `--batch`, `--img-size` or `--width`",
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
    let forecast = &on.forecast;
    if let Some(reserved) = forecast.reserved_bytes {
        sums.extend([
            ("reserved", reserved),
            ("with context", forecast.total_bytes),
        ]);
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
    format!("{}, {}", config.workload(), on.precision)
}

/// The recipe that it runs with.
fn recipe(config: &RunConfig, on: &On) -> String {
    let threads = match &on.processor {
        Processor::Cpu(cpu) => format!(", {} threads", cpu.threads),
        Processor::Gpu { .. } => String::new(),
    };
    format!(
        "policy {}, accumulation {}{threads}",
        config.checkpointing(),
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
    let device = match &on.processor {
        Processor::Cpu(cpu) => {
            let instruction_set = cpu.instruction_set.to_string();
            json!({ "kind": "cpu", "instruction_set": instruction_set, "threads": cpu.threads })
        }
        Processor::Gpu { .. } => json!({ "kind": "cuda", "name": on.name }),
    };
    let forecast = &on.forecast;
    json!({
        "schema_version": 1,
        "device": device,
        "config": config,
        "predicted": {
            "allocated_bytes": forecast.allocated_bytes,
            "reserved_bytes": forecast.reserved_bytes,
            "total_bytes": context.map(|_| forecast.total_bytes),
            "images_per_second": on.speed_is_known.then_some(forecast.images_per_second),
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
        At::Upload | At::Forward(_) | At::Loss => Some("forward"),
        At::Backward(_) => Some("backward"),
        At::Update => Some("update"),
        At::Scores | At::Between => None,
    }
}
