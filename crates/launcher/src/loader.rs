//! What the dynamic loader would not find. It is asked before the program starts, because the
//! loader's own message names only the first library and does not say what to do.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::launch;
use crate::torch::Torch;

/// What a program would not find at its start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    /// Libraries that were not found.
    pub(crate) libraries: Vec<String>,
    /// Symbol versions that the system's libraries are too old to have.
    pub(crate) versions: Vec<String>,
}

impl Lacks {
    /// The missing libraries as text, if any.
    pub(crate) fn reason(&self) -> Option<String> {
        if self.libraries.is_empty() {
            return None;
        }
        Some(format!("`{}` not found", self.libraries.join("`, `")))
    }
}

/// Makes glibc's loader list what `program` loads, without running it, as `ldd` does. This takes
/// 20 ms. On other systems, or if the list is not available, this reports nothing as missing: the
/// start itself will fail.
pub(crate) fn lacks(program: &Path, torch: &Torch) -> Lacks {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return Lacks::default();
    }
    let mut command = Command::new(program);
    command
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .env("LD_LIBRARY_PATH", launch::library_path(torch))
        .stdin(Stdio::null());
    match command.output() {
        Ok(output) => parse(
            &String::from_utf8_lossy(&output.stdout),
            &String::from_utf8_lossy(&output.stderr),
        ),
        Err(_) => Lacks::default(),
    }
}

/// Lines such as `libcupti.so.13 => not found` on stdout and ``libc.so.6: version `GLIBC_2.36'
/// not found (required by train)`` on stderr.
fn parse(stdout: &str, stderr: &str) -> Lacks {
    let libraries: BTreeSet<&str> = stdout
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" => not found"))
        .collect();
    let versions: BTreeSet<&str> = stderr
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(": version `")?;
            let (version, rest) = rest.split_once('\'')?;
            rest.starts_with(" not found").then_some(version)
        })
        .collect();
    let owned = |them: BTreeSet<&str>| them.into_iter().map(str::to_owned).collect();
    Lacks {
        libraries: owned(libraries),
        versions: owned(versions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A selection of lines from the real loader (glibc 2.36).
    #[test]
    fn missing_libraries_are_found() {
        let said = "\tlinux-vdso.so.1 (0x00007fa7f7f33000)\n\
                    \tlibc10.so => /t/lib/libc10.so (0x00007fa7f7ad5000)\n\
                    \tlibcupti.so.13 => not found\n\tlibcudart.so.13 => not found\n\
                    \tlibcudart.so.13 => not found\n";
        let lacks = parse(said, "");
        assert_eq!(lacks.libraries, ["libcudart.so.13", "libcupti.so.13"]);
        assert_eq!(
            lacks.reason().as_deref(),
            Some("`libcudart.so.13`, `libcupti.so.13` not found")
        );
        assert_eq!(parse("", "").reason(), None);
    }

    #[test]
    fn missing_symbol_versions_are_found() {
        let said = "./train: /lib/libc.so.6: version `GLIBC_2.38' not found (required by ./train)\n\
                    ./train: /lib/libc.so.6: version `GLIBC_2.38' not found (required by /t/c10)\n\
                    ./train: /lib/libz.so: no version information available (required by x)\n";
        assert_eq!(parse("", said).versions, ["GLIBC_2.38"]);
    }
}
