//! `advisor explain`: a step's memory before it runs, from its configuration alone.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

use advisor::Target;
use advisor::explain::{self, On};
use config::cli::{Explain, KeyFlags};
use config::{AmpDtype, RunConfig};
use estimator::{Batch, Cpu, EstimateError, Machine, MemoryFormat, Speed, TrainingStep};
use schedule::Element;

use super::device::DeviceArgs;
use super::{log, print, refuse};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) keys: KeyFlags<Explain>,
    /// Where the step is to run: auto (the GPU found here, otherwise the CPU) or cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = ["auto", "cpu"])]
    device: String,
    #[command(flatten)]
    card: DeviceArgs,
    /// Threads of libtorch, for which oneDNN takes scratch memory; this machine's by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(Cpu::MAX_THREADS)))]
    threads: Option<u32>,
    /// Also draw the step: its memory over time, as an SVG picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// With `--svg`, draw the step under each named policy, side by side
    #[arg(long, requires = "svg")]
    policies: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let config = match arguments.keys.resolve() {
        Ok(resolved) => resolved.config,
        Err(error) => return refuse(&error.to_string(), error.hint().as_deref()),
    };
    let (on, element, speed) = match place(arguments, &config) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let Some(step) = TrainingStep::of(&config, element) else {
        return refuse(
            "the checkpoint policy `auto` is chosen by `train fit`, for the memory that is free",
            Some("`--grad-checkpoint selective` or `mixed`"),
        );
    };
    let machine = match &on {
        On::Cpu { threads } => Cpu {
            memory_format: if config.use_channels_last {
                MemoryFormat::ChannelsLast
            } else {
                MemoryFormat::ChannelsFirst
            },
            ..Cpu::avx512(*threads)
        }
        .into(),
        On::Gpu { cuda, .. } => Machine::from(*cuda),
    };
    let too_large = |error: EstimateError| {
        let hint = "a smaller `--batch`, `--img-size` or `--width`";
        refuse(&error.to_string(), Some(hint))
    };
    let memory = match step.memory(machine, Batch::HandedOver) {
        Ok(memory) => memory,
        Err(error) => return too_large(error),
    };
    if let Some(file) = &arguments.svg {
        let picture = if arguments.policies {
            explain::policies_to_svg(&config, &on, machine, element, &speed)
        } else {
            let seconds = step.moment_seconds(machine, &memory, &speed);
            seconds.map(|seconds| explain::to_svg(&config, &on, &memory, &seconds))
        };
        let picture = match picture {
            Ok(picture) => picture,
            Err(error) => return too_large(error),
        };
        if let Err(error) = fs::write(file, picture) {
            let message = format!("cannot write `{}`: {error}", file.display());
            return refuse(
                &message,
                Some("`--svg` takes a file in a folder that is there"),
            );
        }
        log(&format!("picture: {}", file.display()));
    }
    print(&if arguments.json {
        format!("{:#}\n", explain::to_json(&config, &on, &memory))
    } else {
        explain::to_text(&config, &on, &memory)
    })
}

/// Where the step runs, in which type its activations are, and how fast it is there.
fn place(arguments: &Args, config: &RunConfig) -> Result<(On, Element, Speed), ExitCode> {
    let is_cpu = arguments.device == "cpu" || arguments.threads.is_some();
    if !is_cpu || arguments.card.is_named() {
        let device = arguments.card.or_found()?;
        let target = Target::of(&device);
        if let Machine::Cuda(cuda) = target.machine(config) {
            let name = device.name().unwrap_or_else(|| "an NVIDIA GPU".to_owned());
            let element = target.element(config);
            return Ok((On::Gpu { name, cuda }, element, target.speed(config)));
        }
    }
    if config.use_amp && config.amp_dtype == AmpDtype::Fp16 {
        return Err(refuse(
            "fp16 is not predicted on a CPU: it takes other kernels than bf16",
            Some("`--amp bf16`, or measure with `train memory`"),
        ));
    }
    let threads = arguments.threads.unwrap_or_else(|| {
        let found = available_parallelism().map_or(1, std::num::NonZero::get);
        u32::try_from(found).unwrap_or(1)
    });
    // The precision that `auto` means on a CPU that multiplies bf16.
    let element = if config.use_amp {
        Element::Half
    } else {
        Element::Single
    };
    Ok((
        On::Cpu { threads },
        element,
        Speed::of_cpu(threads, element),
    ))
}
