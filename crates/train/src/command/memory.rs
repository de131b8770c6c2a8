//! `train memory`: one training step's live bytes as a picture, beside the peaks of the policies.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Args};
use config::cli::{KeyFlags, Memory};
use config::{CheckpointPolicy, RunConfig};
use estimator::Batch;
use serde_json::json;
use tch::Device;
use tempfile::NamedTempFile;

use super::{console, scale};
use crate::error::{Error, Result};
use crate::measure::StepProbe;
use crate::memory::{Category, Chart, PolicyPeak, Timeline, svg};
use crate::prediction;
use crate::usage::UsageError;
use engine::learner::Phase;
use engine::precision::{self, CpuSupport, Precision};
use engine::{checkpointing, compose, device};

const MIB: f64 = 1_048_576.0;

#[derive(Debug, Args)]
#[command(mut_arg("grad-checkpoint", policy))]
pub(super) struct MemoryArgs {
    #[command(flatten)]
    pub(super) keys: KeyFlags<Memory>,
    /// File to draw to
    #[arg(long, value_name = "FILE", default_value = "timeline.svg")]
    out: PathBuf,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Measure only the policy that is drawn
    #[arg(long)]
    only: bool,
    /// Do not scale a preset down on a machine without a GPU
    #[arg(long)]
    full_size: bool,
}

/// Here the policy is what is drawn, and has a name of its own.
fn policy(arg: Arg) -> Arg {
    arg.long("policy")
        .visible_alias("grad-checkpoint")
        .help("Checkpoint policy to draw: off, selective, block, stage or mixed")
}

pub(super) fn run(args: &MemoryArgs) -> Result<()> {
    let mut resolved = args.keys.resolve()?;
    compose::require_features(&resolved.config)?;
    checkpointing::refuse_unknown(&resolved.config)?;
    let before = resolved.config.clone();
    let (_, scaled) = scale::to_machine(&mut resolved, Device::Cpu, true, args.full_size);
    let config = resolved.config;
    // Now, while a wrong path costs nothing.
    let picture = Picture::begin(&args.out)?;

    if scaled.is_some() && (before.width, before.img_size) != (config.width, config.img_size) {
        console::note(&format!(
            "scaled to this machine: width {}, image {}; `--full-size`, or `--width` and \
             `--img-size`, measure what you name",
            config.width, config.img_size
        ));
    }
    let choice = precision::choose(&config, Device::Cpu, CpuSupport::detect());
    choice.note.iter().for_each(|line| console::note(line));

    let name = name_of(&config);
    let timeline = Timeline::of(&warmed_up(&config, choice.precision)?.recorded_step()?);
    let predicted = |config: &RunConfig| {
        prediction::peak(config, Device::Cpu, choice.precision, Batch::Kept).map(|peak| peak.bytes)
    };
    let mut policies = vec![PolicyPeak {
        name: name.clone(),
        peak_bytes: timeline.peak.total(),
        predicted_bytes: predicted(&config),
    }];
    let others = if args.only {
        Vec::new()
    } else {
        others(&config)
    };
    for other in others.iter().filter(|other| name_of(other) != name) {
        console::note(&format!("measuring {}", name_of(other)));
        policies.push(PolicyPeak {
            name: name_of(other),
            peak_bytes: warmed_up(other, choice.precision)?.peak_bytes()?.peak_bytes,
            predicted_bytes: predicted(other),
        });
    }
    policies.sort_by_key(|p| std::cmp::Reverse(p.peak_bytes));

    let title = format!("tensor bytes of one training step, policy {name}");
    let format = if config.use_channels_last {
        "last"
    } else {
        "first"
    };
    let subtitle = format!(
        "U-Net of width {}, {} images of {}, {}, channels-{format}, on {} ({})",
        config.width,
        config.batch,
        config.img_size,
        choice.precision.name(),
        device::name(Device::Cpu),
        torch_ext::library::cpu_capability(),
    );
    picture.write(&svg(&Chart {
        title: &title,
        subtitle: &subtitle,
        policy: &name,
        timeline: &timeline,
        policies: &policies,
    }))?;
    if args.json {
        console::print(&figures(&config, choice.precision, &timeline, &policies).to_string());
    } else {
        console::print(&table(&subtitle, &timeline, &policies, &name));
    }
    console::note(&format!("drawn to `{}`", args.out.display()));
    Ok(())
}

/// A probe that has run a step: libraries allocate in their first.
fn warmed_up(config: &RunConfig, precision: Precision) -> Result<StepProbe> {
    let mut probe = StepProbe::new(config, Device::Cpu, precision)?;
    probe.step()?;
    Ok(probe)
}

/// The same step under every policy of this build.
fn others(config: &RunConfig) -> Vec<RunConfig> {
    let with = |policy, split_concat| RunConfig {
        use_grad_checkpoint: policy != CheckpointPolicy::Off,
        grad_checkpoint_policy: Some(policy),
        grad_checkpoint_plan: None,
        use_reentrant: false,
        split_concat,
        ..config.clone()
    };
    let all = [
        with(CheckpointPolicy::Off, false),
        with(CheckpointPolicy::Block, false),
        with(CheckpointPolicy::Stage, false),
        with(CheckpointPolicy::Selective, false),
        with(CheckpointPolicy::Mixed, false),
        with(CheckpointPolicy::Mixed, true),
    ];
    let possible = |config: &RunConfig| compose::missing_feature(config).is_none();
    all.into_iter().filter(possible).collect()
}

fn name_of(config: &RunConfig) -> String {
    let mut name = config.checkpoint_policy().to_string();
    if config.grad_checkpoint_plan.is_some() {
        name.push_str(" (own plan)");
    }
    if config.use_reentrant && config.use_grad_checkpoint {
        name.push_str(" reentrant");
    }
    if config.split_concat {
        name.push_str(" +split");
    }
    name
}

fn table(subtitle: &str, timeline: &Timeline, policies: &[PolicyPeak], drawn: &str) -> String {
    let peak = &timeline.peak;
    let mut lines = vec![subtitle.to_owned(), String::new()];
    let off = policies
        .iter()
        .find(|p| p.name == "off")
        .map(|p| p.peak_bytes);
    for policy in policies {
        let mib = policy.peak_bytes as f64 / MIB;
        let ratio = off.map_or(String::new(), |off| {
            format!("  {:5.3} of off", policy.peak_bytes as f64 / off as f64)
        });
        let mark = if policy.name == drawn {
            "  <- drawn"
        } else {
            ""
        };
        let predicted = policy.predicted_bytes.map_or(String::new(), |predicted| {
            let error = 100.0 * (predicted as f64 / policy.peak_bytes as f64 - 1.0);
            // No sign before a zero.
            let error = if error.abs() < 0.005 { 0.0 } else { error };
            format!(
                "  predicted {:.1} MiB ({error:+.2} %)",
                predicted as f64 / MIB
            )
        });
        lines.push(format!(
            "{:<22} {mib:10.1} MiB{ratio}{predicted}{mark}",
            policy.name
        ));
    }
    lines.push(String::new());
    lines.push(format!(
        "the peak of `{drawn}` is in {}, at: {}",
        phase_name(peak.phase),
        peak.operation
    ));
    for category in Category::ALL {
        let mib = peak.bytes[category as usize] as f64 / MIB;
        lines.push(format!("  {:<20} {mib:10.1} MiB", category.name()));
    }
    lines.join("\n")
}

fn figures(
    config: &RunConfig,
    precision: Precision,
    timeline: &Timeline,
    policies: &[PolicyPeak],
) -> serde_json::Value {
    let peak = &timeline.peak;
    let of = |category: Category| peak.bytes[category as usize];
    json!({
        "schema_version": 1,
        "device": device::name(Device::Cpu),
        "cpu_capability": torch_ext::library::cpu_capability(),
        "config": config,
        "precision": precision.name(),
        "policy": name_of(config),
        "peak_bytes": peak.total(),
        "peak_at": {
            "operation": peak.operation,
            "phase": phase_name(peak.phase),
            "ms": peak.at_us as f64 / 1e3,
        },
        "breakdown": {
            "parameters_bytes": of(Category::Parameters),
            "optimizer_bytes": of(Category::Optimizer),
            "gradients_bytes": of(Category::Gradients),
            "activations_bytes": of(Category::Activations),
            "transients_bytes": of(Category::Transients),
        },
        "policies": policies
            .iter()
            .map(|p| {
                json!({
                    "policy": p.name,
                    "peak_bytes": p.peak_bytes,
                    "predicted_peak_bytes": p.predicted_bytes,
                })
            })
            .collect::<Vec<_>>(),
    })
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Forward => "forward",
        Phase::Backward => "backward",
        Phase::Update => "the update",
    }
}

/// A file that is there whole or not at all.
struct Picture<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> Picture<'a> {
    fn begin(path: &'a Path) -> Result<Self> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(UsageError::NoFolder {
                folder: folder.to_owned(),
                flag: "--out",
            }
            .into());
        }
        if path.is_dir() {
            let path = path.to_owned();
            return Err(UsageError::IsAFolder { path }.into());
        }
        let mut builder = tempfile::Builder::new();
        // As any file that a program makes: the user's mask takes from it.
        builder.permissions(Permissions::from_mode(0o666));
        let file = builder
            .tempfile_in(folder)
            .map_err(|source| Error::io("write", path, source))?;
        Ok(Self { path, file })
    }

    fn write(mut self, text: &str) -> Result<()> {
        let failed = |source| Error::io("write", self.path, source);
        self.file.write_all(text.as_bytes()).map_err(failed)?;
        self.file.as_file().sync_all().map_err(failed)?;
        let path = self.path;
        self.file
            .persist(path)
            .map_err(|error| Error::io("write", path, error.error))?;
        Ok(())
    }
}
