//! Checks that a folder is a libtorch that Snug can be built with, and that an installation
//! is complete.
//!
//! `launcher` checks folders in general; this file adds the checks of an installation.

use std::fs;
use std::path::Path;

use launcher::{Flaw, Python, Torch, Use};

use super::LibtorchHalf;

/// Checks the version, libraries and headers. This takes milliseconds.
pub(crate) fn inspect(dir: &Path) -> Result<Torch, Flaw> {
    launcher::inspect(dir, Use::Build)
}

/// Loads what a program of this half loads, so that a missing library is found now and
/// not at the first run.
pub(crate) fn load(torch: &Torch, python: &Python, half: LibtorchHalf) -> Result<(), Flaw> {
    let mut libraries = vec![torch.library("torch_cpu")];
    if half == LibtorchHalf::Cuda {
        let cuda = torch.library("torch_cuda");
        if !cuda.is_file() {
            return Err(Flaw::NoCuda);
        }
        libraries.push(cuda);
    }
    python.load(&libraries)
}

/// Compares a folder that pip installed into with the sizes in each wheel's `RECORD`.
/// Sizes reveal an interrupted copy or a full disk; hashes would take seconds at each
/// start.
pub(crate) fn compare_with_records(target: &Path) -> Result<(), Flaw> {
    let mut has_torch = false;
    for dir in fs::read_dir(target).into_iter().flatten().flatten() {
        let name = dir.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".dist-info") {
            continue;
        }
        has_torch |= name.starts_with("torch-");
        let record = dir.path().join("RECORD");
        let text = fs::read_to_string(&record)
            .ok()
            .ok_or(Flaw::Missing(record))?;
        for (file, expected_bytes) in parse_record(&text) {
            let path = target.join(file);
            let found_bytes = match fs::metadata(&path) {
                Ok(found) => found.len(),
                Err(_) => return Err(Flaw::Missing(path)),
            };
            if found_bytes != expected_bytes {
                return Err(Flaw::Truncated {
                    path,
                    expected_bytes,
                    found_bytes,
                });
            }
        }
    }
    if has_torch {
        Ok(())
    } else {
        Err(Flaw::Missing(target.join("torch-*.dist-info")))
    }
}

/// Path and size of a file that a wheel brought and xtask keeps. Scripts are outside of
/// the target folder, files without a size (`RECORD` itself) cannot be checked, and CUDA
/// headers and bytecode are not used.
fn parse_record(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let mut fields = line.rsplitn(3, ',');
        let size = fields.next()?.parse().ok()?;
        let _hash = fields.next()?;
        let path = fields.next()?.trim_matches('"');
        let used = ["torch/lib/", "torch/include/", "nvidia/"]
            .iter()
            .any(|it| path.starts_with(it));
        (used || path == "torch/version.py").then_some((path, size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_keeps_what_is_used() {
        let text = "../../bin/torchrun,sha256=x,244\n\
                    torch/lib/libc10.so,sha256=x,1500\n\
                    \"torch/include/a,b.h\",sha256=x,7\n\
                    torch/nn/modules.py,sha256=x,9\n\
                    torch/version.py,sha256=x,296\n\
                    nvidia/cu13/lib/libcupti.so.13,sha256=x,12\n\
                    torch-2.11.0.dist-info/RECORD,,\n";
        let kept: Vec<_> = parse_record(text).collect();
        assert_eq!(
            kept,
            [
                ("torch/lib/libc10.so", 1500),
                ("torch/include/a,b.h", 7),
                ("torch/version.py", 296),
                ("nvidia/cu13/lib/libcupti.so.13", 12),
            ]
        );
    }
}
