//! Steps that are recorded as a CUDA graph equal those that are launched kernel by kernel.

use config::Precision;
use tch::{Device, Tensor};

use super::Finding;
use super::tiny::{Comparison, OFF, config_of, copied};
use crate::error::Result;
use crate::lab::measure::StepProbe;
use engine::batch::{Upload, noise};
use engine::graph::EAGER_STEPS;

/// How far both may differ: sums of a GPU have no fixed order.
const TOLERANCE: f64 = 1e-3;

/// Steps of each kind that are compared.
const REPLAYS: u32 = 4;

pub(super) fn equal(device: Device, broken: bool) -> Result<Finding> {
    let precision = Precision::Fp32;
    let config = config_of(OFF, precision);
    let upload = Upload::of(&config, device);
    let batches = || -> Result<Vec<(Tensor, Tensor)>> {
        let seeds = 0..u64::from(EAGER_STEPS + REPLAYS);
        let batches = seeds.map(|seed| Ok(upload.device_bytes(&noise(&config, seed))?.into()));
        batches.collect()
    };
    let after = |probe: StepProbe, steps: u32| -> Result<Vec<(String, Tensor)>> {
        let mut probe = probe;
        for _step in 0..steps {
            probe.step()?;
        }
        let entries = probe.model().parameters().entries().iter();
        let entries = entries.map(|it| Ok((it.spec.name.clone(), copied(&it.tensor)?)));
        entries.collect()
    };
    let probe = || -> Result<StepProbe> {
        let batches = batches()?;
        Ok(StepProbe::on_bytes(&config, device, precision, batches)?)
    };
    let eager = after(probe()?, EAGER_STEPS + REPLAYS)?;
    let steps = EAGER_STEPS + REPLAYS - u32::from(broken);
    let recorded = after(probe()?.recorded(), steps)?;
    let compared = Comparison::of(&recorded, &eager)?;
    let detail = format!(
        "{REPLAYS} steps as a graph: {} of {} tensors are those of steps that were launched kernel by kernel",
        compared.num_equal, compared.num
    );
    Ok(if compared.all_equal() || compared.relative < TOLERANCE {
        Finding::ok(detail)
    } else {
        Finding::fail(detail)
    })
}
