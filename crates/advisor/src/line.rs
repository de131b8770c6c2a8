//! Formats a configuration as a command line to copy.

use std::fmt::Write as _;

use config::{Overrides, RunConfig, resolve};

/// Returns `cargo xtask train` with a flag for each key in which the configuration differs from its preset.
pub fn line(config: &RunConfig) -> String {
    let preset = config.preset.as_deref().unwrap_or("best-balance");
    let base = resolve(Some(preset), None, Overrides::default())
        .map_or_else(|_| RunConfig::default(), |resolved| resolved.config);
    let mut line = format!("cargo xtask train --preset {preset}");
    let mut put = |flag: &str, from: &dyn ToString, to: &dyn ToString| {
        if from.to_string() != to.to_string() {
            // Writing to a `String` cannot fail.
            let _ = write!(line, " --{flag} {}", to.to_string());
        }
    };
    let on = |on: bool| if on { "on" } else { "off" };
    put("img-size", &base.img_size, &config.img_size);
    put("width", &base.width, &config.width);
    put("classes", &base.classes, &config.classes);
    put("batch", &base.batch, &config.batch);
    put("accumulation", &base.accumulation, &config.accumulation);
    let amp = |config: &RunConfig| {
        if config.use_amp {
            config.amp_dtype.as_str()
        } else {
            "off"
        }
    };
    put("amp", &amp(&base), &amp(config));
    put(
        "channels-last",
        &on(base.use_channels_last),
        &on(config.use_channels_last),
    );
    put(
        "grad-checkpoint",
        &base.checkpoint_policy(),
        &config.checkpoint_policy(),
    );
    let plan = |config: &RunConfig| {
        let stages = config.grad_checkpoint_plan.iter().flatten();
        let stages: Vec<_> = stages.map(|keep| keep.as_str()).collect();
        stages.join(",")
    };
    put("grad-checkpoint-plan", &plan(&base), &plan(config));
    put(
        "split-concat",
        &on(base.split_concat),
        &on(config.split_concat),
    );
    line
}
