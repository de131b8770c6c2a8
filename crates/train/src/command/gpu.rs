//! `train gpu`: everything that only a real GPU can tell, in one run of a few minutes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::gpu::{self, ARCHIVE, Archive, NAMES, SCHEMA_VERSION, Session};
use bench::results::Device as DeviceFacts;
use clap::Args;
use clap::builder::PossibleValuesParser;
use machine::nvml;
use tch::Device;

use super::bench::{today, version};
use super::console;
use super::flags::budget;
use crate::error::{Error, Result};
use crate::run::weights::write_atomically;
use crate::usage::UsageError;
use engine::device::{self, DeviceChoice};

#[derive(Debug, Args)]
pub(super) struct GpuArgs {
    /// The GPU: cuda[:N]
    #[arg(long, value_name = "DEVICE", default_value = "cuda:0")]
    device: DeviceChoice,
    /// Folder for everything: new or empty
    #[arg(long, value_name = "DIR", default_value = "runs/gpu")]
    out: PathBuf,
    /// Begin no part after this many minutes, and end the one that runs then
    #[arg(long, value_name = "N", default_value = "8", value_parser = budget)]
    budget_minutes: Duration,
    /// The Python that has torch 2.11, to compare with PyTorch
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Only this part (may be repeated)
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(NAMES))]
    part: Vec<String>,
}

pub(super) fn run(args: &GpuArgs) -> Result<()> {
    let Device::Cuda(index) = args.device.resolve()? else {
        return Err(UsageError::NoGpuChosen.into());
    };
    let folder = &args.out;
    if folder
        .read_dir()
        .is_ok_and(|mut files| files.next().is_some())
    {
        return Err(UsageError::NotEmpty {
            folder: folder.clone(),
        }
        .into());
    }
    let session = Session {
        train: std::env::current_exe().map_err(|e| Error::io("find", "this program", e))?,
        device_flag: format!("cuda:{index}"),
        python: args.python.as_deref().map(absolute),
        out: folder.clone(),
        budget: args.budget_minutes,
        only: args.part.clone(),
    };
    let on = Device::Cuda(index);
    let archive = Archive {
        schema_version: SCHEMA_VERSION,
        date: today(),
        snug: version(),
        libtorch: torch_ext::library::runtime_version(),
        device: DeviceFacts {
            kind: device::kind(on).to_owned(),
            name: device::name(on),
            total_bytes: device::total_bytes(on),
            driver: nvml::driver_version().ok(),
            cpu_capability: torch_ext::library::cpu_capability(),
            threads: usize::try_from(tch::get_num_threads()).unwrap_or(1),
        },
        parts: Vec::new(),
        bench: None,
    };
    let archive = gpu::run(&session, archive, &mut |line| console::note(line))?;
    let page = folder.join("gpu.md");
    write_atomically(&page, gpu::page(&archive, None).as_bytes())?;
    console::print(&format!(
        "written to `{}`, with a page beside it; `cargo xtask gpu --take FILE` adds it to a checkout",
        folder.join(ARCHIVE).display()
    ));
    let failed = archive.parts.iter().filter(|part| !part.is_as_expected());
    let names: Vec<&str> = failed.map(|part| part.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::GpuParts {
        names: names.join(", "),
    })
}

/// A name is searched for in `PATH`; a path must hold in the session's folder as well.
fn absolute(program: &Path) -> PathBuf {
    let is_name = program.components().count() == 1;
    let absolute = std::path::absolute(program).ok();
    absolute
        .filter(|_| !is_name)
        .unwrap_or_else(|| program.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_by_name_stays_a_name() {
        assert_eq!(absolute(Path::new("python3")), Path::new("python3"));
        assert!(absolute(Path::new("venv/bin/python")).is_absolute());
    }
}
