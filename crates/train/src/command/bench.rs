//! `train bench`: the matrix of the crate `bench`, on this machine.

use std::ffi::OsString;
use std::io::{BufReader, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::case::Implementation;
use bench::matrix::{NAMES, Work};
use bench::results::{Results, Status};
use bench::{Settings, markdown, scatter};
use clap::Args;
use clap::builder::PossibleValuesParser;
use config::ImageSize;
use tch::Device;

use super::console;
use super::flags::{DeviceFlag, budget};
use crate::error::{Error, Result};
use crate::run::weights::write_atomically;
use crate::usage::UsageError;

/// Rounds of a group, and the duration of one turn.
const ROUNDS: (usize, f64) = (9, 1000.0);
const QUICK: (usize, f64) = (9, 250.0);
/// No part of a quick run starts after this time.
const QUICK_BUDGET: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    device: DeviceFlag,
    /// About two minutes for Snug alone, six with PyTorch: fewer and shorter turns, and no
    /// `torch.compile`
    #[arg(long)]
    quick: bool,
    /// Begin no part after this many minutes
    #[arg(long, value_name = "N", value_parser = budget)]
    budget_minutes: Option<Duration>,
    /// Image size, height x width (512x512; on a CPU 256x256)
    #[arg(long, value_name = "HxW")]
    img_size: Option<ImageSize>,
    /// Channels of the first level (64; on a CPU 16)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    width: Option<u32>,
    /// Images per step (8; on a CPU 4); the group `policies` measures several, such as `2,4,8`, and the other
    /// groups take the first
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Vec<u32>,
    /// Turns for each case of a group; 0 measures only the memory of a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    rounds: Option<u32>,
    /// Measure only this group (may be repeated)
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(NAMES))]
    group: Vec<String>,
    /// Measure PyTorch's variants as well
    #[arg(long)]
    against_pytorch: bool,
    /// The Python that has torch 2.11, for `--against-pytorch`
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Measure only this variant of PyTorch (may be repeated)
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(variant_names()))]
    variant: Vec<String>,
    /// Folder of images and masks for the epochs; without it, built-in pages
    #[arg(long, visible_alias = "root", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Threads to compute with, on both sides (all cores)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Folder for the results; a run that was cut off continues where it stopped
    #[arg(long, value_name = "DIR", default_value = "runs/bench")]
    out: PathBuf,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn variant_names() -> Vec<&'static str> {
    Implementation::ALL[1..]
        .iter()
        .map(|it| it.name())
        .collect()
}

/// Answers a driver.
pub(super) fn serve() -> Result<()> {
    crate::lab::bench_worker::serve(BufReader::new(stdin()), stdout().lock())
}

pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let device = args.device.resolve()?;
    let settings = settings(args, device)?;
    refuse_no_folder(args.json.as_deref())?;
    let finished = bench::run(&settings, &mut |line| console::note(line))?;
    let results = &finished.results;

    let name = |extension: &str| args.out.join("results").with_extension(extension);
    write_atomically(&name("json"), results.to_json().as_bytes())?;
    write_atomically(&name("svg"), scatter::svg(results).as_bytes())?;
    let text = markdown::report(results, "results.svg");
    write_atomically(&name("md"), text.as_bytes())?;
    if let Some(file) = &args.json {
        write_atomically(file, results.to_json().as_bytes())?;
    }
    console::print_as_is(&markdown::tables(results));
    console::note(&format!(
        "written to `{}`, with the page and the picture in the same folder",
        name("json").display()
    ));
    let failed = failures(results);
    finished.done()?;
    failed
}

/// Refuses, early, an output path that would otherwise fail only after all measurements.
fn refuse_no_folder(json: Option<&Path>) -> Result<()> {
    let folder = json.and_then(Path::parent);
    match folder.filter(|it| !it.as_os_str().is_empty() && !it.is_dir()) {
        None => Ok(()),
        Some(folder) => Err(UsageError::NoFolder {
            folder: folder.to_owned(),
            flag: "--json",
        }
        .into()),
    }
}

/// A failed row of Snug's own makes the command fail; PyTorch's failures are results.
fn failures(results: &Results) -> Result<()> {
    let ours = |who: Implementation, status| !who.is_pytorch() && status == Status::Failed;
    let steps = results
        .rows
        .iter()
        .filter(|row| ours(row.implementation, row.status));
    let epochs = results.epochs.iter();
    let epochs = epochs.filter(|row| ours(row.implementation, row.status));
    let messages = steps.map(|row| &row.message);
    match messages
        .chain(epochs.map(|row| &row.message))
        .flatten()
        .next()
    {
        None => Ok(()),
        Some(message) => Err(bench::Error::Worker {
            message: message.clone(),
        }
        .into()),
    }
}

fn settings(args: &BenchArgs, device: Device) -> Result<Settings> {
    let cuda = device.is_cuda();
    let base = if cuda { Work::GUIDE } else { Work::SMALL };
    let work = Work {
        img_size: args.img_size.unwrap_or(base.img_size),
        width: args.width.unwrap_or(base.width),
        batch: args.batch.first().copied().unwrap_or(base.batch),
    };
    let batches = if args.batch.is_empty() {
        vec![work.batch]
    } else {
        args.batch.clone()
    };
    let (rounds, turn_ms) = if args.quick { QUICK } else { ROUNDS };
    // With PyTorch, a quick run takes as long as its rows need.
    let quick = (args.quick && !args.against_pytorch).then_some(QUICK_BUDGET);
    if let Some(data) = args.data.as_deref().filter(|data| !is_split(data)) {
        let data = data.to_owned();
        return Err(UsageError::NotSplit { data }.into());
    }
    let threads = match args.threads {
        Some(threads) => threads as usize,
        None => usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1),
    };
    let program = std::env::current_exe().map_err(|e| Error::io("find", "this program", e))?;
    Ok(Settings {
        snug: (program, vec![OsString::from("bench-worker")]),
        version: version(),
        python: args.against_pytorch.then(|| args.python.clone()),
        own_libraries: torch_ext::library::library_path()
            .and_then(|path| path.parent().map(Path::to_path_buf)),
        variants: variants(args)?,
        device: match device {
            Device::Cuda(n) => format!("cuda:{n}"),
            _ => "cpu".to_owned(),
        },
        threads,
        work,
        batches,
        groups: groups(args),
        rounds: args.rounds.map_or(rounds, |n| n as usize),
        turn_ms,
        budget: args.budget_minutes.or(quick),
        // Another process reads it, perhaps from another folder.
        data: args
            .data
            .as_ref()
            .map(|data| data.canonicalize().unwrap_or_else(|_| data.clone())),
        out: args.out.clone(),
        date: today(),
        command: command_line(std::env::args().skip(1)),
    })
}

/// Snug's version and the profile that it was compiled in.
pub(super) fn version() -> String {
    let build = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    format!("{}, {build} profile", env!("CARGO_PKG_VERSION"))
}

/// The day in UTC, such as `2026-11-25`.
pub(super) fn today() -> String {
    time::OffsetDateTime::now_utc().date().to_string()
}

/// The command line for a published file: paths are shortened to their last component.
fn command_line(words: impl Iterator<Item = String>) -> String {
    let shown = |word: String| {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (format!("{flag}="), value),
            None => (String::new(), word.as_str()),
        };
        let name = Path::new(value).file_name();
        let value = name.map_or(value.into(), std::ffi::OsStr::to_string_lossy);
        format!("{flag}{value}")
    };
    let words: Vec<String> = words.map(shown).collect();
    format!("train {}", words.join(" "))
}

/// A quick run leaves out groups that the guide's rows already cover.
fn groups(args: &BenchArgs) -> Vec<String> {
    if !args.quick || !args.group.is_empty() {
        return args.group.clone();
    }
    let worth_it = NAMES.into_iter().filter(|name| *name != "formats");
    worth_it.map(str::to_owned).collect()
}

fn is_split(folder: &Path) -> bool {
    ["train", "val"]
        .iter()
        .all(|split| folder.join(split).join("images").is_dir())
}

fn variants(args: &BenchArgs) -> Result<Vec<Implementation>> {
    if !args.variant.is_empty() && !args.against_pytorch {
        return Err(UsageError::VariantAlone.into());
    }
    let compiled = |it: &Implementation| {
        matches!(
            it,
            Implementation::PytorchCompile | Implementation::PytorchCompileBudget
        )
    };
    let all = Implementation::ALL.into_iter().filter(|it| it.is_pytorch());
    Ok(if args.variant.is_empty() {
        all.filter(|it| !(args.quick && compiled(it))).collect()
    } else {
        all.filter(|it| args.variant.iter().any(|name| name == it.name()))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_tells_no_folders_of_the_machine() {
        let words = [
            "bench",
            "--python",
            "/opt/venv/bin/python3",
            "--data=../pages",
            "--quick",
        ];
        assert_eq!(
            command_line(words.into_iter().map(str::to_owned)),
            "train bench --python python3 --data=pages --quick"
        );
    }
}
