//! `cargo xtask wheel`: makes a Python wheel of the module and the programs.
//!
//! This file decides; [`project`] lays out what maturin packs, [`tools`] installs maturin and mypy, and
//! [`check`] installs the wheel and tries it. The programs are built as for `dist`.

mod check;
mod project;
mod tools;

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::Bytes;

use crate::console::Console;
use crate::dist::build::{self, Program};
use crate::dist::contents::{self, DistPart};
use crate::dist::{elf, publish, stage_in, target};
use crate::error::Error;
use crate::files::{sorted, unreadable, unwritable};
use crate::workspace::Checkout;
use crate::{flags, run, setup};

use self::tools::Tools;

/// Largest allowed size of a wheel: below 25 MB.
const LIMIT_BYTES: u64 = 23 * Bytes::MIB;

/// The earliest time that an archive can hold, so that the same files make the same wheel.
const SOURCE_DATE_EPOCH: &str = "315532800";

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Wheel,
    console: &Console,
) -> Result<ExitCode, Error> {
    target(ARCH, OS, cfg!(target_env = "gnu"))?;
    let default_out = || workspace.root().join("target").join("wheel");
    let out = flags.out.clone().unwrap_or_else(default_out);
    let stage = stage_in(&out)?;
    let stage_dir = stage
        .path()
        .canonicalize()
        .map_err(|it| unreadable(stage.path(), it))?;
    let tools = Tools::install(workspace, flags.check, console)?;
    let programs = programs(workspace, flags.programs.as_deref(), console)?;

    let mut parts = project::lay_out(&stage_dir, workspace, &programs)?;
    let needs = elf::needs_of(&programs)?;
    console.say("wheel: building the module and packing");
    let packed = pack(&stage_dir, workspace, &tools, &needs.manylinux())?;
    let built = build::target_dir(workspace).join("release");
    parts.push(DistPart::of(&built, "lib_snug.so")?);
    let bytes = contents::bytes_in(&packed)?;
    check_size(bytes, &parts)?;
    let wheel = out.join(packed.file_name().unwrap_or_default());
    remove_wheels(&out)?;
    publish(&packed, &wheel)?;
    console.say(contents::table(&parts));
    console.say(format_args!("requires {needs}"));
    console.result(format_args!("{} ({})", wheel.display(), Bytes(bytes)));
    if !flags.check {
        return Ok(ExitCode::SUCCESS);
    }
    check::run(&wheel, workspace, &tools, console)
}

/// Builds the programs, or takes those of a folder. The launcher gets the name that people call.
fn programs(
    workspace: &Checkout,
    folder: Option<&Path>,
    console: &Console,
) -> Result<Vec<Program>, Error> {
    let folder = if let Some(folder) = folder {
        folder.to_path_buf()
    } else {
        setup::ensure(workspace, console)?;
        console.say("wheel: building the programs (takes minutes the first time)");
        let mut selection = vec!["--features", "train/full"];
        selection.extend(["--package", "train", "--bin", "snug"]);
        selection.extend(["--package", "launcher", "--bin", "snug-launcher"]);
        build::compile(workspace, &selection)?
    };
    let names = [("snug", "snug-launcher"), ("libexec/snug", "snug")];
    Ok(build::in_folder(&folder, &names))
}

/// Lets maturin build the module and pack it with the rest of `stage`. Returns the wheel.
fn pack(
    stage: &Path,
    workspace: &Checkout,
    tools: &Tools,
    manylinux: &str,
) -> Result<PathBuf, Error> {
    let packed = stage.join("packed");
    let mut maturin = tools.command("maturin");
    // maturin checks that the module itself meets the tag.
    maturin
        .current_dir(stage)
        .args(["build", "--release", "--compatibility", manylinux, "--out"])
        .arg(&packed)
        .arg("--interpreter")
        .arg(tools.python())
        .arg("--target-dir")
        .arg(build::target_dir(workspace))
        .arg("--config")
        .arg(build::without_paths())
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
        .env_remove("CARGO_BUILD_TARGET");
    for name in workspace.cargo_env() {
        maturin.env_remove(name);
    }
    if !run::succeeds(&mut maturin)? {
        return Err(Error::Build);
    }
    let wheels = sorted(&packed)?;
    wheels.into_iter().next().ok_or(Error::Build)
}

/// Removes earlier wheels, whose names may differ in version or system: `snug-*.whl` then names one file.
fn remove_wheels(folder: &Path) -> Result<(), Error> {
    for path in sorted(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snug-") && name.ends_with(".whl") {
            fs::remove_file(&path).map_err(|it| unwritable(&path, it))?;
        }
    }
    Ok(())
}

fn check_size(total_bytes: u64, parts: &[DistPart]) -> Result<(), Error> {
    if total_bytes <= LIMIT_BYTES {
        return Ok(());
    }
    Err(Error::TooLarge {
        what: "wheel",
        total_bytes,
        limit_bytes: LIMIT_BYTES,
        contents: contents::table(parts),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_wheels_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let [old, other] = ["snug-0.0.9-any.whl", "torch-2.11.0.whl"].map(|it| dir.path().join(it));
        for file in [&old, &other] {
            fs::write(file, "").unwrap();
        }
        remove_wheels(dir.path()).unwrap();
        assert_eq!(sorted(dir.path()).unwrap(), [other]);
    }

    #[test]
    fn a_large_wheel_is_refused_with_its_parts() {
        let parts = [DistPart {
            name: "libexec/snug",
            bytes: 70 * Bytes::MIB,
        }];
        assert!(check_size(LIMIT_BYTES, &parts).is_ok());
        let error = check_size(24 * Bytes::MIB, &parts).unwrap_err().to_string();
        assert!(
            error.starts_with("the wheel has 24.0 MiB, more than the limit of 23 MiB:\n"),
            "{error}"
        );
        assert!(error.contains("libexec/snug      70.0 MiB"), "{error}");
    }
}
