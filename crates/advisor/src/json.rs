//! Prints the advice as JSON.

use config::RunConfig;
use config::guide::{EXAMPLES, TABLE};
use estimator::Forecast;
use machine::Device;
use serde_json::{Value, json};

use crate::fit::Fit;
use crate::line::{line, line_of};
use crate::ranks;
use crate::recommend::Advice;
use crate::target::Target;

/// The object that `advisor suggest --json` prints, schema 1. `recommendation` is `null` if nothing fits. With `--gpus`, recipes
/// are those of each GPU, their commands run all of them, and `ranks` says what that takes.
pub fn to_json(device: &Device, target: &Target, advice: &Advice) -> Value {
    let recipe = |config: &RunConfig, prediction: &Forecast| {
        let mut value = recipe(target, config, prediction);
        if let Some(together) = &advice.together {
            value["command"] = json!(line_of(&together.program(), &together.whole(config)));
        }
        value
    };
    let alternatives: Vec<_> = advice
        .alternatives
        .iter()
        .map(|other| {
            let mut value = recipe(&other.fit.config, &other.fit.prediction);
            value["when"] = json!(other.when);
            value
        })
        .collect();
    let guide = &advice.guide;
    let recommended = advice.recommended.as_ref();
    let mut value = json!({
        "schema_version": 1,
        "device": describe(device, target),
        "guide": {
            "source": guide.from,
            "recipe": recipe(&guide.config, &guide.prediction),
            "fits": guide.fits,
            "table": TABLE,
            "examples": EXAMPLES,
        },
        "recommendation": recommended.map(|fit| recipe(&fit.config, &fit.prediction)),
        "changes": advice.changes,
        "warnings": advice.warnings,
        "alternatives": alternatives,
    });
    if let Some(together) = &advice.together {
        let of = |fit: &Fit| ranks::to_json(together, target, &fit.config, &fit.prediction);
        value["ranks"] = json!(recommended.map(of));
    }
    value
}

fn recipe(target: &Target, config: &RunConfig, prediction: &Forecast) -> Value {
    let speed = target
        .speed_is_known()
        .then_some(prediction.images_per_second);
    json!({
        "preset": config.preset,
        "img_size": config.img_size,
        "width": config.width,
        "in_channels": config.in_channels,
        "classes": config.classes,
        "batch": config.batch,
        "accumulation": config.accumulation,
        "use_amp": config.use_amp,
        "amp_dtype": config.amp_dtype,
        "use_grad_checkpoint": config.use_grad_checkpoint,
        "grad_checkpoint_policy": config.checkpoint_policy(),
        "grad_checkpoint_plan": config.grad_checkpoint_plan,
        "split_concat": config.split_concat,
        "use_channels_last": config.use_channels_last,
        "command": line(config),
        "predicted": {
            "allocated_bytes": prediction.allocated_bytes,
            "reserved_bytes": prediction.reserved_bytes,
            "total_bytes": prediction.total_bytes,
            "images_per_second": speed,
        },
    })
}

pub(crate) fn describe(device: &Device, target: &Target) -> Value {
    let budget = target.budget();
    let tuned = target.notes();
    let notes = |own: &[String]| [own, &tuned].concat();
    match device {
        Device::Given { memory, card } => json!({
            "kind": "cuda", "source": "given", "name": card.map(|card| card.name), "uuid": null,
            "index": null, "total_bytes": null, "free_bytes": memory, "budget_bytes": budget,
            "notes": notes(&[]),
        }),
        Device::Found { gpu, notes: own } => json!({
            "kind": "cuda", "source": "nvml", "name": gpu.name, "uuid": gpu.uuid,
            "index": gpu.index, "total_bytes": gpu.total, "free_bytes": gpu.free,
            "budget_bytes": budget, "notes": notes(own),
        }),
        Device::Cpu { reason, .. } => json!({
            "kind": "cpu", "source": "nvml", "name": null, "uuid": null, "index": null,
            "total_bytes": null, "free_bytes": null, "budget_bytes": budget, "notes": notes(std::slice::from_ref(reason)),
        }),
    }
}
