//! `train memory`: one training step's live bytes as a picture, with the peaks of all policies.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Args};
use config::cli::{KeyFlags, Memory};
use config::{Bytes, Category, CheckpointFlag, Precision, RunConfig, files};
use estimator::{Batch, Speed, Steps};
use figures::numbers::change;
use figures::timeline::{Bar, Chart, MemoryTimeline, Sample};
use figures::{Language, Table};
use serde_json::json;
use tch::Device;
use tempfile::NamedTempFile;

use super::accuracy::policies;
use super::{console, scale};
use crate::error::{Error, Result};
use crate::lab::measure::StepProbe;
use crate::lab::memory::{self, Timeline};
use crate::lab::prediction;
use crate::usage::UsageError;
use engine::learner::Phase;
use engine::{checkpointing, compose, device};

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

/// In this command the policy selects what is drawn, and its flag has a name of its own.
fn policy(arg: Arg) -> Arg {
    arg.long("policy")
        .visible_alias("grad-checkpoint")
        .help("Checkpoint policy to draw: off, selective, block, stage or mixed")
        .value_parser(CheckpointFlag::without_auto)
}

pub(super) fn run(args: &MemoryArgs) -> Result<()> {
    let mut resolved = args.keys.resolve()?;
    compose::require_features(&resolved.config)?;
    checkpointing::refuse_unknown(&resolved.config)?;
    let before = resolved.config.clone();
    let (_, scaled) = scale::to_machine(&mut resolved, Device::Cpu, true, args.full_size);
    let config = resolved.config;
    // The file is created now, while a wrong path costs nothing.
    let picture = Picture::begin(&args.out)?;

    if scaled.is_some() && (before.width, before.img_size) != (config.width, config.img_size) {
        console::note(&format!(
            "scaled to this machine: width {}, image {}; `--full-size`, or `--width` and \
             `--img-size`, measure what you name",
            config.width, config.img_size
        ));
    }
    let arithmetic = device::processor(Device::Cpu).arithmetic();
    let precision = config.precision_on(arithmetic);
    let note = config.precision_note(arithmetic);
    note.into_iter().for_each(console::note);

    let name = name_of(&config);
    let timeline = Timeline::of(&warmed_up(&config, precision)?.recorded_step()?);
    let predicted = |config: &RunConfig| {
        let peak = prediction::peak(config, Device::Cpu).ok();
        peak.map(|peak| peak.bytes)
    };
    let outline = predicted_timeline(&config);
    let mut policies = vec![Bar {
        name: name.clone(),
        bytes: timeline.peak.total(),
        predicted_bytes: predicted(&config),
        is_drawn: true,
    }];
    let others = if args.only {
        Vec::new()
    } else {
        others(&config)
    };
    for other in others.iter().filter(|other| name_of(other) != name) {
        console::note(&format!("measuring {}", name_of(other)));
        policies.push(Bar {
            name: name_of(other),
            bytes: warmed_up(other, precision)?.peak_bytes()?.peak_bytes,
            predicted_bytes: predicted(other),
            is_drawn: false,
        });
    }
    policies.sort_by_key(|it| std::cmp::Reverse(it.bytes));

    let subtitle = format!(
        "{}, {precision}, {}, on {} ({})",
        config.workload(),
        config.memory_format(),
        device::name(Device::Cpu),
        torch_ext::library::cpu_capability(),
    );
    picture.write(&draw(
        &name,
        &subtitle,
        &timeline,
        outline.as_ref(),
        &policies,
    ))?;
    if args.json {
        console::print(&to_json(&config, precision, &timeline, &policies).to_string());
    } else {
        console::print(table(&subtitle, &timeline, &policies, &name).trim_end());
    }
    console::note(&format!("drawn to `{}`", args.out.display()));
    Ok(())
}

/// A probe that has run a step, because libraries allocate in the first step.
fn warmed_up(config: &RunConfig, precision: Precision) -> Result<StepProbe> {
    let mut probe = StepProbe::new(config, Device::Cpu, precision)?;
    probe.step()?;
    Ok(probe)
}

/// The same step under every policy of this build.
fn others(config: &RunConfig) -> Vec<RunConfig> {
    let with = |(policy, split_concat)| RunConfig {
        use_reentrant: false,
        split_concat,
        ..config.clone().with_policy(policy)
    };
    let possible = |config: &RunConfig| compose::missing_feature(config).is_none();
    policies().map(with).filter(possible).collect()
}

fn name_of(config: &RunConfig) -> String {
    let reentrant = if config.use_reentrant && config.use_grad_checkpoint {
        ", reentrant"
    } else {
        ""
    };
    format!("{}{reentrant}", config.checkpointing())
}

/// The estimator's prediction of the step, moment by moment, if it knows the kernels.
fn predicted_timeline(config: &RunConfig) -> Option<MemoryTimeline> {
    let processor = device::processor(Device::Cpu);
    let Steps {
        machine, training, ..
    } = Steps::of(config, &processor).ok()?;
    let predicted = training.memory(machine, Batch::Kept).ok()?;
    let speed = Speed::of(&processor, training.precision);
    let seconds = training.moment_seconds(machine, &predicted, &speed).ok()?;
    Some(memory::predicted(&predicted, &seconds))
}

fn draw(
    name: &str,
    subtitle: &str,
    timeline: &Timeline,
    predicted: Option<&MemoryTimeline>,
    policies: &[Bar],
) -> String {
    let peak = &timeline.peak;
    let total = Bytes(peak.total());
    let predicted = predicted.map(|it| it.in_time_of(&timeline.memory));
    let title = match &predicted {
        Some(predicted) => {
            let bytes = predicted.peak().map_or(0, Sample::total);
            format!(
                "policy {name}: at most {total} measured, {} predicted",
                Bytes(bytes)
            )
        }
        None => format!("policy {name}: at most {total} measured"),
    };
    let holders: Vec<(Category, String)> = peak
        .holders
        .iter()
        .map(|holder| {
            let (bytes, made_by) = (Bytes(holder.bytes), &holder.made_by);
            let said = match holder.count {
                1 => format!("{bytes} held by one tensor: {made_by}"),
                num => format!("{bytes} held by {num} tensors: {made_by}"),
            };
            (holder.category, said)
        })
        .collect();
    Chart {
        title: &title,
        lines: &[
            "memory of tensors in one training step".to_owned(),
            subtitle.to_owned(),
        ],
        timeline: &timeline.memory,
        predicted: predicted.as_ref(),
        peak_at: &format!("{}: {}", peak.phase.name(), peak.operation),
        bars: if policies.len() > 1 { policies } else { &[] },
        holders: &holders,
        hints: &[],
        time_axis: "time, ms (measured, with every allocation recorded)",
    }
    .to_svg(Language::spoken())
}

fn table(subtitle: &str, timeline: &Timeline, policies: &[Bar], drawn: &str) -> String {
    let peak = &timeline.peak;
    let mib = |bytes: u64| format!("{:.1}", Bytes(bytes).as_mib());
    let dash = || "-".to_owned();
    let off = policies
        .iter()
        .find(|it| it.name == "off")
        .map(|it| it.bytes);
    let mut table = Table::new(&[
        "policy",
        "peak, MiB",
        "of off",
        "predicted, MiB",
        "error",
        "",
    ]);
    for policy in policies {
        let measured = policy.bytes as f64;
        let error = |bytes: u64| change(bytes as f64 / measured - 1.0, 2);
        table.row([
            policy.name.clone(),
            mib(policy.bytes),
            off.map_or_else(dash, |off| format!("{:.3}", measured / off as f64)),
            policy.predicted_bytes.map_or_else(dash, mib),
            policy.predicted_bytes.map_or_else(dash, error),
            if policy.is_drawn { "<- drawn" } else { "" }.to_owned(),
        ]);
    }
    let mut held = Table::new(&["held at the peak", "MiB", ""]);
    // On a CPU, the kernels' workspace is counted among the transients.
    for category in Category::ALL
        .into_iter()
        .filter(|it| *it != Category::Workspace)
    {
        let bytes = mib(peak.bytes[category.index()]);
        held.row([category.name().to_owned(), bytes, String::new()]);
    }
    format!(
        "{subtitle}\n\n{}\nthe peak of `{drawn}` is in {}, at: {}\n{}",
        table.to_text(1),
        phase_name(peak.phase),
        peak.operation,
        held.to_text(1)
    )
}

fn to_json(
    config: &RunConfig,
    precision: Precision,
    timeline: &Timeline,
    policies: &[Bar],
) -> serde_json::Value {
    let peak = &timeline.peak;
    let of = |category: Category| peak.bytes[category.index()];
    json!({
        "schema_version": 1,
        "device": device::name(Device::Cpu),
        "cpu_capability": torch_ext::library::cpu_capability(),
        "config": config,
        "precision": precision,
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
                    "peak_bytes": p.bytes,
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

/// A file that is either complete or absent.
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
        let file = files::begin(path).map_err(|source| Error::io("write", path, source))?;
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
