//! What a recommendation changes, and why.

use config::{Bytes, Checkpointing, RunConfig};
use estimator::{EstimateError, Forecast};

use crate::fit::Fit;
use crate::target::Target;

/// One changed value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The key of the configuration.
    pub what: &'static str,
    /// The value before.
    pub from: String,
    /// The value now.
    pub to: String,
    /// A sentence's fragment.
    pub why: String,
}

/// Lists the changes from a configuration that costs `cost` to one that fits.
///
/// # Errors
/// Fails as [`Target::predict`] does.
pub fn changes(
    target: &Target,
    from: &RunConfig,
    cost: &Forecast,
    fit: &Fit,
) -> Result<Vec<Change>, EstimateError> {
    let to = &fit.config;
    let mut all = Vec::new();
    let mut put = |what, from: &dyn ToString, to: &dyn ToString, why: &str| {
        let (from, to) = (from.to_string(), to.to_string());
        if from != to {
            let why = why.to_owned();
            all.push(Change {
                what,
                from,
                to,
                why,
            });
        }
    };
    let too_much = match target.budget() {
        Some(budget) if !target.fits(cost) => format!(
            "predicted to take {} before all changes, and {budget} are there",
            Bytes(cost.total_bytes)
        ),
        _ => "there is room for it".to_owned(),
    };
    put("batch", &from.batch, &to.batch, &too_much);
    put(
        "accumulation",
        &from.accumulation,
        &to.accumulation,
        "the same number of images for each step of the optimizer, fewer at a time",
    );
    let on = |on: bool| if on { "on" } else { "off" };
    put("use_amp", &on(from.use_amp), &on(to.use_amp), &too_much);
    put(
        "use_channels_last",
        &on(from.use_channels_last),
        &on(to.use_channels_last),
        "convolutions run faster so",
    );
    // The cost of the old policy with everything else as recommended.
    let as_before = RunConfig {
        use_grad_checkpoint: from.use_grad_checkpoint,
        grad_checkpoint_policy: from.grad_checkpoint_policy,
        grad_checkpoint_plan: from.grad_checkpoint_plan.clone(),
        ..to.clone()
    };
    let why = match target.predict(&as_before)? {
        Some(other) if !target.fits(&other) => format!(
            "`{}` would take {} here",
            from.checkpoint_policy(),
            Bytes(other.total_bytes)
        ),
        Some(other) => {
            let faster = other.step_seconds / fit.prediction.step_seconds - 1.0;
            let less = 1.0 - fit.prediction.total_bytes as f64 / other.total_bytes as f64;
            match (faster > 0.005, less > 0.005) {
                (true, true) => format!(
                    "predicted {:.0} % faster, in {:.0} % less memory",
                    100.0 * faster,
                    100.0 * less
                ),
                (true, false) => format!("predicted {:.0} % faster, and fits", 100.0 * faster),
                _ => format!("predicted to take {:.0} % less memory", 100.0 * less),
            }
        }
        None => "the fastest that fits".to_owned(),
    };
    put("grad_checkpoint_policy", &policy(from), &policy(to), &why);
    put(
        "split_concat",
        &on(from.split_concat),
        &on(to.split_concat),
        "no buffer for both halves of a concatenation; equal within rounding, not bit for bit",
    );
    Ok(all)
}

/// The policy in force, with its plan.
fn policy(config: &RunConfig) -> Checkpointing {
    Checkpointing {
        split_concat: false,
        ..config.checkpointing()
    }
}
