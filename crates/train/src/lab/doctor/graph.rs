//! Steps that are recorded as a CUDA graph equal those that are launched kernel by kernel.

use config::{Precision, RunConfig};
use tch::{Device, Tensor};

use super::Finding;
use super::tiny::{Comparison, OFF, SELECTIVE, config_of, copied};
use crate::error::Result;
use crate::lab::measure::StepProbe;
use engine::batch::{Upload, noise};
use engine::compose::missing_feature;
use engine::graph::EAGER_STEPS;

/// How far both may differ: sums of a GPU have no fixed order.
const TOLERANCE: f64 = 1e-3;

/// Steps of each kind that are compared.
const REPLAYS: u32 = 4;

pub(super) fn equal(device: Device, broken: bool) -> Result<Finding> {
    let recipes = [(OFF, Precision::Fp32), (SELECTIVE, Precision::Fp16)];
    let (mut details, mut is_ok) = (Vec::new(), true);
    for (policy, precision) in recipes {
        let config = config_of(policy, precision);
        if missing_feature(&config).is_some() {
            continue;
        }
        let compared = compare(&config, device, precision, broken)?;
        is_ok &= compared.all_equal() || compared.relative < TOLERANCE;
        details.push(format!(
            "{policy} in {precision}: {} of {} tensors are those of steps that were launched kernel by kernel",
            compared.num_equal, compared.num
        ));
    }
    let detail = format!("{REPLAYS} steps as a graph; {}", details.join("; "));
    Ok(if is_ok {
        Finding::ok(detail)
    } else {
        Finding::fail(detail)
    })
}

fn compare(
    config: &RunConfig,
    device: Device,
    precision: Precision,
    broken: bool,
) -> Result<Comparison> {
    let upload = Upload::of(config, device);
    let probe = || -> Result<StepProbe> {
        let seeds = 0..u64::from(EAGER_STEPS + REPLAYS);
        let batches = seeds.map(|seed| Ok(upload.device_bytes(&noise(config, seed))?.into()));
        let batches = batches.collect::<Result<Vec<(Tensor, Tensor)>>>()?;
        Ok(StepProbe::on_bytes(config, device, precision, batches)?)
    };
    let after = |mut probe: StepProbe, steps: u32| -> Result<Vec<(String, Tensor)>> {
        for _step in 0..steps {
            probe.step()?;
        }
        let entries = probe.model().parameters().entries().iter();
        let entries = entries.map(|it| Ok((it.spec.name.clone(), copied(&it.tensor)?)));
        entries.collect()
    };
    let eager = after(probe()?, EAGER_STEPS + REPLAYS)?;
    let steps = EAGER_STEPS + REPLAYS - u32::from(broken);
    let recorded = after(probe()?.recorded(), steps)?;
    Comparison::of(&recorded, &eager)
}
