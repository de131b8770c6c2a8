//! Measures how long `advisor suggest` takes from a cold start, and how many recipes it searches.
//!
//! ```text
//! cargo bench -p advisor --bench suggest -- --runs 30
//! ```
//!
//! Each run is a separate process, timed from start to end. On a busy machine, the mean processor time of
//! the runs (user and system) says more. The recipes are counted in this process, by [`advisor::Searched`]:
//! every checkpoint plan of every step that the planner searches, each of which it has either walked or
//! ruled out by a bound. The output is a Markdown table on stdout.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "that is its output"
)]

use std::fmt::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use advisor::{Goal, Request, Searched, Target, advise};
use config::{Bytes, ImageSize};
use machine::nvml::detect;
use machine::{Device, Hardware};

/// A request to the program.
#[derive(Clone, Copy, Default)]
struct Case {
    vram_gib: Option<u64>,
    gpu: Option<&'static str>,
    request: Request,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let num_runs = num_runs()?;
    println!(
        "| `advisor suggest` | least ms | median ms | processor ms | steps | recipes | walked | predicted |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for case in cases() {
        let before = processor_time();
        let times = times(&case, num_runs)?;
        let processor = processor_time()
            .zip(before)
            .map_or("-".to_owned(), |(now, before)| {
                format!("{:.1}", (now - before) / num_runs as f64)
            });
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (least, median) = (ms(times[0]), ms(times[times.len() / 2]));
        let Searched {
            steps,
            recipes,
            walked,
            predicted,
        } = searched(&case)?;
        let name = case.arguments().join(" ");
        println!(
            "| `{name}` | {least:.1} | {median:.1} | {processor} | {steps} | {recipes} | {walked} \
             | {predicted} |"
        );
    }
    Ok(())
}

/// Reads `--runs N` and ignores the `--bench` that cargo adds.
fn num_runs() -> Result<usize, String> {
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let Some(flag) = arguments.next() else {
        return Ok(20);
    };
    let value = arguments.next().filter(|_| flag == "--runs");
    let runs = value.and_then(|value| value.parse().ok());
    runs.filter(|runs| *runs > 0)
        .ok_or_else(|| format!("`{flag}` is not `--runs N`"))
}

fn cases() -> Vec<Case> {
    let here = Case::default();
    let card = |vram_gib| Case {
        vram_gib: Some(vram_gib),
        ..here
    };
    let asking = |case: Case, request| Case { request, ..case };
    let plain = Request::default();
    let width = |width| Request {
        width: Some(width),
        ..plain
    };
    let goal = |goal| Request { goal, ..plain };
    let batch = Request {
        target_batch: Some(32),
        ..plain
    };
    let most = Request {
        max_batch: true,
        ..plain
    };
    let size = |height, width| Request {
        img_size: Some(ImageSize::new(height, width)),
        ..plain
    };
    vec![
        here,
        asking(here, batch),
        asking(here, most),
        asking(here, width(16)),
        asking(here, goal(Goal::Memory)),
        asking(here, goal(Goal::Speed)),
        card(2),
        card(8),
        asking(card(8), goal(Goal::Memory)),
        asking(card(8), goal(Goal::Speed)),
        asking(card(8), width(16)),
        asking(card(8), batch),
        asking(card(12), size(512, 512)),
        card(24),
        asking(card(24), most),
        Case {
            gpu: Some("RTX 3060"),
            ..here
        },
    ]
}

impl Case {
    fn arguments(&self) -> Vec<String> {
        let mut line = String::new();
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(line, "--{name}\n{value}\n");
            }
        };
        let Request {
            goal,
            max_batch,
            target_batch,
            img_size,
            width,
            ..
        } = self.request;
        flag("vram", self.vram_gib.map(|gib| format!("{gib}GiB")));
        flag("gpu", self.gpu.map(str::to_owned));
        flag("img-size", img_size.map(|size| size.to_string()));
        flag("width", width.map(|width| width.to_string()));
        flag("target-batch", target_batch.map(|batch| batch.to_string()));
        let goal = match goal {
            Goal::Balance => None,
            Goal::Memory => Some("memory".to_owned()),
            Goal::Speed => Some("speed".to_owned()),
        };
        flag("goal", goal);
        let mut arguments: Vec<_> = line.lines().map(str::to_owned).collect();
        if max_batch {
            arguments.push("--max-batch".to_owned());
        }
        arguments
    }

    fn device(&self) -> Result<Device, String> {
        let card = match self.gpu {
            Some(name) => Some(Hardware::lookup(name).ok_or("an unknown card")?),
            None => None,
        };
        let memory = self.vram_gib.map(|gib| Bytes(gib * Bytes::GIB));
        let memory = memory.or(card.map(|card| card.memory));
        Ok(memory.map_or_else(|| detect(None), |memory| Device::Given { memory, card }))
    }
}

/// The times of this many processes, sorted.
fn times(case: &Case, num_runs: usize) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    for _run in 0..num_runs {
        let mut command = Command::new(env!("CARGO_BIN_EXE_advisor"));
        command.arg("suggest").args(case.arguments());
        command.env("SNUG_LEDGER", "off").stdout(Stdio::null());
        let start = Instant::now();
        let output = command.output().map_err(|error| error.to_string())?;
        times.push(start.elapsed());
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// The processor time of all children so far in milliseconds, on Linux: the fields `cutime` and
/// `cstime` of `/proc/self/stat`, which count hundredths of a second.
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) * 10.0)
}

fn searched(case: &Case) -> Result<Searched, String> {
    let device = case.device()?;
    let target = Target::of(&device);
    let advice = advise(&device, &target, &case.request).map_err(|error| error.to_string())?;
    Ok(advice.searched)
}
