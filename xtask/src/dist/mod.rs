//! `cargo xtask dist`: makes a folder and an archive that run without a checkout.
//!
//! This file decides; [`build`] builds the programs, [`contents`] lays them out, [`elf`] reads what
//! they require of a system, [`readme`] documents it, [`archive`] packs.

mod archive;
pub(crate) mod build;
pub(crate) mod contents;
pub(crate) mod elf;
mod readme;

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use config::Bytes;
use tempfile::TempDir;

use crate::console::Console;
use crate::error::Error;
use crate::files::{remove, unwritable};
use crate::workspace::Checkout;
use crate::{flags, setup};

/// Largest allowed size of a distribution, unpacked.
const LIMIT_BYTES: u64 = 40 * Bytes::MIB;

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Dist,
    console: &Console,
) -> Result<ExitCode, Error> {
    let target = target(ARCH, OS, cfg!(target_env = "gnu"))?;
    let default_out = || workspace.root().join("target").join("dist");
    let out = flags.out.clone().unwrap_or_else(default_out);
    let stage = stage_in(&out)?;
    setup::ensure(workspace, console)?;
    let programs = build::programs(workspace, console)?;

    let name = format!("snug-{}-{target}", env!("CARGO_PKG_VERSION"));
    let folder = stage.path().join(&name);
    let mut parts = contents::programs(&folder, &programs)?;
    parts.extend(contents::folders(&folder, workspace)?);
    parts.extend(contents::licences(&folder, workspace)?);
    let total_bytes = parts.iter().map(|it| it.bytes).sum();
    if total_bytes > LIMIT_BYTES {
        return Err(Error::TooLarge {
            what: "distribution",
            total_bytes,
            limit_bytes: LIMIT_BYTES,
            contents: contents::table(&parts),
        });
    }
    let needs = elf::needs_of(&programs)?;
    readme::write(&folder, workspace, &parts, &needs)?;
    let archive_name = format!("{name}.tar.gz");
    let archive = stage.path().join(&archive_name);
    let archive_bytes = archive::write(&folder, &archive)?;

    for name in [&name, &archive_name] {
        publish(&stage.path().join(name), &out.join(name))?;
    }
    console.say(contents::table(&parts));
    console.say(format_args!("requires {needs}"));
    console.result(out.join(&name).display());
    console.result(format_args!(
        "{} ({})",
        out.join(&archive_name).display(),
        Bytes(archive_bytes)
    ));
    Ok(ExitCode::SUCCESS)
}

/// A folder in `out` for what is not finished. It is made before the build, which takes minutes, so that a folder that
/// cannot be written is found at once.
pub(crate) fn stage_in(out: &Path) -> Result<TempDir, Error> {
    let stage = fs::create_dir_all(out)
        .and_then(|()| tempfile::Builder::new().prefix(".partial-").tempdir_in(out));
    stage.map_err(|it| unwritable(out, it))
}

/// The system in the name of a distribution, if one can be made there.
pub(crate) fn target(arch: &str, os: &str, is_glibc: bool) -> Result<String, Error> {
    if (arch, os, is_glibc) == ("x86_64", "linux", true) {
        return Ok(format!("{arch}-{os}"));
    }
    let libc = if os == "linux" && !is_glibc {
        " without glibc"
    } else {
        ""
    };
    Err(Error::Unsupported {
        system: format!("{arch} {os}{libc}"),
    })
}

/// Moves the result into place, and replaces that of an earlier run.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), Error> {
    remove(to)
        .and_then(|()| fs::rename(from, to))
        .map_err(|it| unwritable(to, it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_systems_are_refused_by_name() {
        assert_eq!(target("x86_64", "linux", true).unwrap(), "x86_64-linux");
        let refusal = |arch, os, is_glibc| target(arch, os, is_glibc).unwrap_err().to_string();
        let sentence = "a distribution can only be made on x86-64 Linux with glibc, but this is ";
        assert_eq!(
            refusal("aarch64", "linux", true),
            format!("{sentence}aarch64 linux")
        );
        assert_eq!(
            refusal("x86_64", "linux", false),
            format!("{sentence}x86_64 linux without glibc")
        );
        assert_eq!(
            refusal("aarch64", "macos", false),
            format!("{sentence}aarch64 macos")
        );
    }

    #[test]
    fn a_second_run_replaces_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|it| dir.path().join(it));
        for text in ["first", "second"] {
            fs::create_dir(&from).unwrap();
            fs::write(from.join(text), text).unwrap();
            publish(&from, &to).unwrap();
        }
        assert!(to.join("second").is_file() && !to.join("first").exists() && !from.exists());
    }
}
