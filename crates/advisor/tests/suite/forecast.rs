//! One figure: whatever forecasts a run says the same as the estimator, or is silent for the same reason.

use std::fs;
use std::process::Command;

use advisor::explain::{self, On};
use advisor::{Target, pareto};
use config::{AmpDtype, CheckpointPolicy, ImageSize, RunConfig};
use estimator::{EstimateError, Forecast, Unknown};
use machine::{Cpu, Device, Hardware, InstructionSet};
use serde_json::Value;

/// Recipes for a step: precision, format and policy.
fn recipes() -> Vec<RunConfig> {
    let precisions = [
        (false, AmpDtype::Auto),
        (true, AmpDtype::Auto),
        (true, AmpDtype::Fp16),
        (true, AmpDtype::Bf16),
    ];
    let mut all = Vec::new();
    for (use_amp, amp_dtype) in precisions {
        for use_channels_last in [true, false] {
            for policy in CheckpointPolicy::NAMED {
                all.push(RunConfig {
                    width: 8,
                    img_size: ImageSize::new(64, 96),
                    batch: 2,
                    use_amp,
                    amp_dtype,
                    use_channels_last,
                    split_concat: *policy == CheckpointPolicy::Mixed,
                    ..RunConfig::default().with_policy(*policy)
                });
            }
        }
    }
    all
}

fn cpu(instruction_set: InstructionSet, bf16: bool, amx_bf16: bool) -> Device {
    Device::Cpu {
        reason: "of a test".to_owned(),
        cpu: Cpu {
            instruction_set,
            bf16,
            amx_bf16,
            ..Cpu::avx512(2)
        },
        available: None,
    }
}

fn cards() -> Vec<Device> {
    let names = [
        "GTX 1080 Ti",
        "Tesla T4",
        "RTX 3060",
        "H100 PCIe",
        "RTX 5090",
    ];
    let of = |name: &str| {
        let card = Hardware::lookup(name).unwrap();
        Device::Given {
            memory: card.memory,
            card: Some(card),
        }
    };
    names.map(of).to_vec()
}

#[test]
fn suggest_pareto_and_explain_say_what_is_forecast() {
    let cpus = [
        cpu(InstructionSet::Avx512, true, false),
        cpu(InstructionSet::Avx512, true, true),
        cpu(InstructionSet::Avx512, false, false),
        cpu(InstructionSet::Avx2, false, false),
        cpu(InstructionSet::Other, false, false),
    ];
    let (mut num_known, mut unknown) = (0, Vec::new());
    for device in cpus.into_iter().chain(cards()) {
        let target = Target::of(&device);
        for config in recipes() {
            let forecast = Forecast::of(&config, &device.processor());
            let predicted = target.predict(&config).map(|it| it.expect("a policy"));
            let explained = On::predict(&config, &device, &target);
            let forecast = match forecast {
                Ok(forecast) => forecast,
                Err(error) => {
                    assert_eq!(predicted.unwrap_err(), error);
                    assert_eq!(explained.unwrap_err(), error);
                    let EstimateError::Unknown(why) = error else {
                        panic!("{error}");
                    };
                    unknown.push(why);
                    continue;
                }
            };
            num_known += 1;
            assert_eq!(predicted.unwrap(), forecast);
            let (on, memory) = explained.unwrap();
            assert_eq!(memory.peak, *forecast.peak());
            let value = explain::to_json(&config, &on, &memory);
            let said = |key: &str| value["predicted"][key].as_u64();
            assert_eq!(said("allocated_bytes"), Some(forecast.allocated_bytes));
            assert_eq!(said("reserved_bytes"), forecast.reserved_bytes);
            let total = target.is_cuda().then_some(forecast.total_bytes);
            assert_eq!(said("total_bytes"), total);
        }
        let config = RunConfig {
            use_amp: false,
            ..recipes().swap_remove(0)
        };
        let Ok(found) = pareto::pareto(&target, &config) else {
            continue;
        };
        for point in found.policies {
            let config = RunConfig {
                use_grad_checkpoint: point.policy != Some(CheckpointPolicy::Off),
                grad_checkpoint_policy: point.policy,
                ..config.clone()
            };
            let forecast = Forecast::of(&config, &device.processor()).unwrap();
            assert_eq!(point.allocated_bytes, forecast.allocated_bytes);
            assert_eq!(point.total_bytes, forecast.total_bytes);
        }
    }
    assert!(num_known > 250, "{num_known}");
    for why in [
        Unknown::Fp16,
        Unknown::EmulatedBf16,
        Unknown::InstructionSet,
    ] {
        assert!(unknown.contains(&why), "{why}");
    }
}

fn run(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(arguments)
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The programs themselves: what `suggest` recommends, `explain` explains.
#[test]
fn explain_takes_the_recommendation_at_its_word() {
    let dir = tempfile::tempdir().unwrap();
    for (index, card) in ["Tesla T4", "RTX 3060", "RTX 4090"].into_iter().enumerate() {
        let file = dir.path().join(format!("{index}.toml"));
        let file = file.to_str().unwrap();
        let suggested = run(&["suggest", "--gpu", card, "--json", "--write", file]);
        assert!(fs::exists(file).unwrap());
        let explained = run(&["explain", "--gpu", card, "--json", "--config", file]);
        assert_eq!(
            suggested["recommendation"]["predicted"], explained["predicted"],
            "{card}"
        );
    }
}

/// On a CPU whose kernels for bf16 are not known, a recipe without AMP is recommended, and the reason
/// is said.
#[test]
fn what_is_not_known_is_not_recommended() {
    let device = cpu(InstructionSet::Avx2, true, false);
    let target = Target::of(&device);
    let request = advisor::Request {
        width: Some(16),
        ..advisor::Request::default()
    };
    let advice = advisor::advise(&device, &target, &request).unwrap();
    assert!(!advice.recommended.unwrap().config.use_amp);
    assert!(advice.alternatives.iter().all(|it| !it.fit.config.use_amp));
    let said = advice.warnings.iter().any(|it| it.contains("emulate bf16"));
    assert!(said, "{:?}", advice.warnings);
    // Nothing can be said of a CPU without vectors.
    let device = cpu(InstructionSet::Other, false, false);
    let error = advisor::advise(&device, &Target::of(&device), &request).unwrap_err();
    assert!(error.to_string().contains("AVX2") && error.hint().is_some());
}
