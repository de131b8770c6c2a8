//! Checkpoint policies side by side: peak tensor bytes, and step time as a ratio to the first,
//! in rounds that take all of them in turn.
//!
//! ```text
//! cargo bench -p train --features full --bench policies -- --width 64 --img-size 512x512 \
//!     --batch 2 --rounds 7 off/fp32 selective/fp32
//! ```
//!
//! A subject is `POLICY[+split]/PRECISION`. `--rounds 0` measures bytes alone. One JSON object a
//! subject on stdout, a table on stderr.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures on stdout, the table on stderr"
)]

use std::process::ExitCode;

use config::{CheckpointPolicy, ImageSize, RunConfig};
use tch::Device;
use train::measure::Subject;
use train::precision::Precision;

const MIB: f64 = 1_048_576.0;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

struct Settings {
    config: RunConfig,
    device: Device,
    rounds: usize,
    subjects: Vec<String>,
}

fn run() -> Result<(), String> {
    torch_ext::init().map_err(|e| e.to_string())?;
    let settings = settings()?;
    let mut subjects = Vec::new();
    for name in &settings.subjects {
        let (config, precision) = parse(name, &settings.config)?;
        subjects.push((name, config, precision));
    }
    let build = |config: &RunConfig, precision| {
        Subject::new(config, settings.device, precision).map_err(|e| e.to_string())
    };
    let mut peaks = Vec::new();
    for (name, config, precision) in &subjects {
        let mut subject = build(config, *precision)?;
        // Libraries allocate on first use.
        subject.step(|_| ()).map_err(|e| e.to_string())?;
        let peak = subject.peak_bytes().map_err(|e| e.to_string())?;
        eprintln!(
            "{name:<24} held {:9.1} MiB, peak {:9.1} MiB",
            peak.held_bytes as f64 / MIB,
            peak.peak_bytes as f64 / MIB
        );
        peaks.push(peak);
    }
    let mut times = vec![Vec::new(); subjects.len()];
    if settings.rounds > 0 {
        let mut built = Vec::new();
        for (_, config, precision) in &subjects {
            let mut subject = build(config, *precision)?;
            subject.timed_step().map_err(|e| e.to_string())?;
            built.push(subject);
        }
        for round in 0..settings.rounds {
            // Each begins a round as often as the others.
            for turn in 0..built.len() {
                let which = (turn + round) % built.len();
                let time = built[which].timed_step().map_err(|e| e.to_string())?;
                times[which].push(time.as_secs_f64() * 1e3);
            }
        }
    }
    for (i, (name, config, _)) in subjects.iter().enumerate() {
        let ratios: Vec<f64> = times[i].iter().zip(&times[0]).map(|(a, b)| a / b).collect();
        let row = serde_json::json!({
            "subject": name,
            "img_size": config.img_size.to_string(),
            "width": config.width,
            "batch": config.batch,
            "channels_last": config.use_channels_last,
            "cpu_capability": torch_ext::library::cpu_capability(),
            "held_bytes": peaks[i].held_bytes,
            "peak_bytes": peaks[i].peak_bytes,
            "step_ms": times[i],
            "step_ms_median": median(&times[i]),
            "ratio_to_first": { "median": median(&ratios), "min": min(&ratios), "max": max(&ratios) },
        });
        println!("{row}");
        if let Some(ratio) = median(&ratios) {
            eprintln!(
                "{name:<24} {:9.1} ms, {ratio:.3} [{:.3}, {:.3}] of {}",
                median(&times[i]).unwrap_or(f64::NAN),
                min(&ratios).unwrap_or(f64::NAN),
                max(&ratios).unwrap_or(f64::NAN),
                subjects[0].0
            );
        }
    }
    Ok(())
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings {
        config: RunConfig {
            batch: 1,
            ..RunConfig::default()
        },
        device: Device::Cpu,
        rounds: 7,
        subjects: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("`{arg}` needs a value"));
        let wrong = |value: &str| format!("`{arg}` does not take `{value}`");
        match arg.as_str() {
            "--width" => settings.config.width = number(&value()?, wrong)?,
            "--batch" => settings.config.batch = number(&value()?, wrong)?,
            "--rounds" => settings.rounds = number(&value()?, wrong)? as usize,
            "--img-size" => {
                let text = value()?;
                settings.config.img_size =
                    text.parse::<ImageSize>().map_err(|_unnamed| wrong(&text))?;
            }
            "--channels-first" => settings.config.use_channels_last = false,
            "--cuda" => settings.device = Device::Cuda(0),
            // Cargo's own.
            "--bench" => {}
            subject => settings.subjects.push(subject.to_owned()),
        }
    }
    if settings.subjects.is_empty() {
        let all = [
            "off/fp32",
            "selective/fp32",
            "off/bf16",
            "selective/bf16",
            "mixed/bf16",
        ];
        settings.subjects = all.map(str::to_owned).to_vec();
    }
    Ok(settings)
}

fn number(text: &str, wrong: impl Fn(&str) -> String) -> Result<u32, String> {
    text.parse().map_err(|_unnamed| wrong(text))
}

fn parse(name: &str, base: &RunConfig) -> Result<(RunConfig, Precision), String> {
    let wrong = || format!("`{name}` is not POLICY[+split]/PRECISION");
    let (policy, precision) = name.split_once('/').ok_or_else(wrong)?;
    let (policy, split) = match policy.strip_suffix("+split") {
        Some(policy) => (policy, true),
        None => (policy, false),
    };
    let policy: CheckpointPolicy = policy.parse().map_err(|e| format!("{}: {e}", wrong()))?;
    let precision = match precision {
        "fp32" => Precision::Fp32,
        "bf16" => Precision::Bf16,
        "fp16" => Precision::Fp16,
        _ => return Err(wrong()),
    };
    let config = RunConfig {
        use_amp: precision != Precision::Fp32,
        use_grad_checkpoint: policy != CheckpointPolicy::Off,
        grad_checkpoint_policy: Some(policy),
        split_concat: split,
        ..base.clone()
    };
    Ok((config, precision))
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn min(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

fn max(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}
