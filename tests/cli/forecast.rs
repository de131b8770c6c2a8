//! The predictions of `train` agree with all other forecasts.

use advisor::explain::{self, On};
use advisor::{Target, ledger};
use config::{Overrides, RunConfig, resolve};
use estimator::{Batch, Steps};
use machine::{Cpu, Device};

use super::Sandbox;

/// The CPU in the way a sandbox's programs use it.
fn here() -> Device {
    Device::Cpu {
        reason: "of a test".to_owned(),
        cpu: Cpu {
            threads: 1,
            ..Cpu::detect()
        },
        available: None,
    }
}

fn config_of(sandbox: &Sandbox, file: &str) -> RunConfig {
    let path = sandbox.path(file);
    let resolved = resolve(None, Some(&path), Overrides::default());
    resolved.unwrap_or_else(|error| panic!("{error}")).config
}

#[test]
fn fit_is_told_what_suggest_and_explain_say() {
    let sandbox = Sandbox::with_pages();
    let target = Target::of(&here());
    let recipes: [&[&str]; 5] = [
        &["--grad-checkpoint", "off"],
        &["--grad-checkpoint", "selective", "--channels-last", "off"],
        &["--grad-checkpoint", "block", "--accumulation", "2"],
        &["--amp", "bf16"],
        &["--amp", "fp16"],
    ];
    for (index, recipe) in recipes.into_iter().enumerate() {
        let dir = format!("run-{index}");
        let flags = [&["--epochs", "1", "--force", "--run-dir", &dir], recipe].concat();
        let run = sandbox.fit(&flags);
        let config = config_of(&sandbox, &format!("{dir}/config.toml"));
        let summary = sandbox.json(&format!("{dir}/summary.json"));
        let said = summary["memory"]["predicted_peak_bytes"].as_u64();
        let forecast = target.predict(&config).ok().flatten();
        let expected = forecast.map(|forecast| forecast.allocated_bytes);
        assert_eq!(said, expected, "{recipe:?}");
        let printed = run.stderr.contains("of tensors predicted at the peak");
        assert_eq!(printed, expected.is_some(), "{recipe:?}: {}", run.stderr);
        let explained = On::predict(&config, &here(), &target).ok();
        let explained = explained.map(|(on, memory)| {
            let value = explain::to_json(&config, &on, &memory);
            value["predicted"]["allocated_bytes"].as_u64()
        });
        assert_eq!(said, explained.flatten(), "{recipe:?}");
    }
    let entries = ledger::LedgerPlace::File(sandbox.path(super::LEDGER)).read();
    let entries = entries.unwrap_or_else(|error| panic!("{error}")).entries;
    assert_eq!(entries.len(), recipes.len());
}

/// A batch is limited to the number of images, and validation may have more images than training.
#[test]
fn fit_counts_the_images_of_both() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--epochs", "1", "--batch", "6", "--run-dir", "run"]);
    let config = config_of(&sandbox, "run/config.toml");
    let said = sandbox.json("run/summary.json")["memory"]["predicted_peak_bytes"].as_u64();
    let target = Target::of(&here()).with_images(8, 4);
    let forecast = target.predict(&config).ok().flatten();
    assert_eq!(said, forecast.map(|forecast| forecast.allocated_bytes));
}

/// `memory` measures and predicts steps that keep their batch; `doctor` and `accuracy` use the same
/// function.
#[test]
fn memory_predicts_the_step_that_it_measures() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--epochs", "1", "--run-dir", "run"]);
    let config = config_of(&sandbox, "run/config.toml");
    let flags = ["memory", "--json", "--only", "--config", "run/config.toml"];
    let run = sandbox.train(&flags).ok();
    let value: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
    let said = value["policies"][0]["predicted_peak_bytes"].as_u64();
    let expected = Steps::of(&config, &here().processor()).and_then(|steps| {
        let peak = steps.training.peak(steps.machine, Batch::Kept)?;
        Ok(peak.bytes)
    });
    assert_eq!(said, expected.ok());
}
