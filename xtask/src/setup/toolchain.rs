//! Checks what the machine has: a C++ compiler, free disk space, a GPU.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::run;

/// torch-sys and the shim are C++. A missing compiler should be reported before a long download.
pub(crate) fn check_compiler() -> Result<(), Error> {
    let answers = |program: &OsStr| run::stdout_of(Command::new(program).arg("--version")).is_ok();
    if let Some(chosen) = env::var_os("CXX").filter(|it| !it.is_empty()) {
        // The value may be "ccache g++": the first word is the program.
        let text = chosen.to_string_lossy();
        let program = text
            .split_whitespace()
            .next()
            .map_or_else(OsString::new, OsString::from);
        if answers(&program) || answers(&chosen) {
            return Ok(());
        }
        return Err(Error::NoCompiler {
            tried: format!("`{text}` from `CXX`"),
        });
    }
    if answers(OsStr::new("c++")) {
        return Ok(());
    }
    let others = ["g++", "clang++"];
    match others.iter().find(|it| answers(OsStr::new(it))) {
        Some(found) => Err(Error::CompilerNotNamed {
            found: (*found).to_owned(),
        }),
        None => Err(Error::NoCompiler {
            tried: "`c++`, `g++`, `clang++`".to_owned(),
        }),
    }
}

/// Checks that the disk of `dir` has room for `needed_bytes`. Without `df` there is no
/// check.
pub(crate) fn check_disk(dir: &Path, needed_bytes: u64) -> Result<(), Error> {
    let said = run::stdout_of(Command::new("df").arg("-Pk").arg(dir));
    let Some(free_bytes) = said.ok().as_deref().and_then(parse_df) else {
        return Ok(());
    };
    if free_bytes < needed_bytes {
        return Err(Error::NotEnoughDisk {
            path: dir.to_path_buf(),
            free_bytes,
            needed_bytes,
        });
    }
    Ok(())
}

/// The name of the first GPU that the NVIDIA driver sees.
pub(crate) fn gpu() -> Option<String> {
    // `nvidia-smi` queries NVML. Under WSL it is not always on `PATH`.
    let mut asked = ["nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"].into_iter();
    let named = asked.find_map(|program| {
        let said = run::stdout_of(Command::new(program).arg("-L")).ok()?;
        parse_smi(&said)
    });
    // A container may have the driver without its tools.
    let driver = || {
        let mut gpus = fs::read_dir("/proc/driver/nvidia/gpus").ok()?;
        let device = Path::new("/dev/nvidia0").exists();
        (device && gpus.next().is_some()).then(|| "name unknown".to_owned())
    };
    named.or_else(driver)
}

/// Free bytes in the output of `df -Pk DIR`.
fn parse_df(said: &str) -> Option<u64> {
    let fields: Vec<&str> = said.lines().nth(1)?.split_whitespace().collect();
    // Fields are counted from the percentage, because the file system's name may contain spaces.
    let percent = fields.iter().rposition(|it| it.ends_with('%'))?;
    let free_kib: u64 = fields.get(percent.checked_sub(1)?)?.parse().ok()?;
    Some(free_kib << 10)
}

/// The first name in the output of `nvidia-smi -L`.
fn parse_smi(said: &str) -> Option<String> {
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("GPU ")?.split_once(": "))?
        .1;
    Some(
        line.split(" (UUID")
            .next()
            .unwrap_or(line)
            .trim()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df() {
        let head = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n";
        let free = |line: &str| parse_df(&format!("{head}{line}\n"));
        assert_eq!(
            free("/dev/vda 263112772 14 80000000 15% /"),
            Some(80_000_000 << 10)
        );
        assert_eq!(
            free("a share 263112772 14 1024 15% /mnt/my disk"),
            Some(1 << 20)
        );
        assert_eq!(free("tmpfs - - - - /dev/shm"), None);
        assert_eq!(parse_df(""), None);
    }

    #[test]
    fn smi() {
        let said = "GPU 0: NVIDIA H200 (UUID: GPU-1b2c)\n  MIG 1g.18gb Device 0: (UUID: MIG-3)\n";
        assert_eq!(parse_smi(said).as_deref(), Some("NVIDIA H200"));
        assert_eq!(parse_smi("No devices found.\n"), None);
        assert_eq!(parse_smi(""), None);
    }
}
