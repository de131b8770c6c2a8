//! The advice for other programs. A field that belongs to something not built
//! yet is `null`: predictions, and the changes that they would lead to.

use config::RunConfig;
use serde_json::{Value, json};

use crate::device::Device;
use crate::guide::{EXAMPLES, TABLE};
use crate::recommend::Advice;
use crate::report::CAVEAT;

/// The object of `advisor suggest --json`, schema 1.
pub fn to_json(device: &Device, advice: &Advice) -> Value {
    let table: Vec<_> = TABLE
        .iter()
        .map(|row| {
            let mut value = json!(row);
            value["simulated_allocated_bytes"] = json!(row.recipe.simulated());
            value
        })
        .collect();
    let alternatives: Vec<_> = advice
        .alternatives
        .iter()
        .map(|other| {
            let mut value = recipe(&other.config);
            value["command"] = json!(other.command);
            value["when"] = json!(other.when);
            value
        })
        .collect();
    let mut recommendation = recipe(&advice.config);
    recommendation["command"] = json!(advice.command);
    json!({
        "schema_version": 1,
        "device": describe(device),
        "guide": {
            "source": advice.from,
            "checked": false,
            "caveat": CAVEAT,
            "warnings": advice.warnings,
            "table": table,
            "examples": EXAMPLES,
        },
        "recommendation": recommendation,
        "changes": null,
        "alternatives": alternatives,
    })
}

fn recipe(config: &RunConfig) -> Value {
    json!({
        "preset": config.preset,
        "img_size": config.img_size,
        "width": config.width,
        "batch": config.batch,
        "accumulation": config.accumulation,
        "use_amp": config.use_amp,
        "amp_dtype": config.amp_dtype,
        "use_grad_checkpoint": config.use_grad_checkpoint,
        "grad_checkpoint_policy": config.checkpoint_policy(),
        "use_channels_last": config.use_channels_last,
        "predicted": {
            "allocated_bytes": null,
            "reserved_bytes": null,
            "total_bytes": null,
            "images_per_second": null,
        },
    })
}

fn describe(device: &Device) -> Value {
    match device {
        Device::Given { memory } => json!({
            "kind": "cuda", "source": "given", "name": null, "uuid": null, "index": null,
            "total_bytes": null, "free_bytes": memory, "notes": [],
        }),
        Device::Found { gpu, notes } => json!({
            "kind": "cuda", "source": "nvml", "name": gpu.name, "uuid": gpu.uuid,
            "index": gpu.index, "total_bytes": gpu.total, "free_bytes": gpu.free, "notes": notes,
        }),
        Device::Cpu { reason } => json!({
            "kind": "cpu", "source": "nvml", "name": null, "uuid": null, "index": null,
            "total_bytes": null, "free_bytes": null, "notes": [reason],
        }),
    }
}
