//! A fake distribution of a few bytes in a temporary folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// A fake `train` that prints how it was called.
const TRAIN: &str = r#"#!/bin/sh
echo "program=$0"
for arg in "$@"; do echo "arg=$arg"; done
echo "libraries=$LD_LIBRARY_PATH"
echo "order=$CUDA_DEVICE_ORDER"
exit 42
"#;

/// Tests run one by one: a file that is open for writing cannot be executed, and a test that starts
/// a program would keep files of other tests open for a moment.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

pub(crate) struct Dist {
    dir: TempDir,
    _guard: MutexGuard<'static, ()>,
}

impl Dist {
    pub(crate) fn new() -> Self {
        let guard = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        // On the same file system as the build, so that the program can be linked instead of
        // copied.
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dist = Self { dir, _guard: guard };
        fs::create_dir_all(dist.path("snug/libexec")).unwrap();
        fs::hard_link(env!("CARGO_BIN_EXE_snug-launcher"), dist.path("snug/train")).unwrap();
        dist.script("snug/libexec/train", TRAIN);
        fs::create_dir(dist.path("bin")).unwrap();
        dist
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Writes a fake torch of a few bytes.
    pub(crate) fn torch(&self, name: &str, version: &str) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(dir.join("lib")).unwrap();
        fs::write(
            dir.join("version.py"),
            format!("__version__ = '{version}'\n"),
        )
        .unwrap();
        for library in ["torch_cpu", "c10"] {
            use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
            let name = format!("{DLL_PREFIX}{library}{DLL_SUFFIX}");
            fs::write(dir.join("lib").join(name), library).unwrap();
        }
        dir
    }

    /// Writes a Python on `PATH` that gives this answer.
    pub(crate) fn python(&self, name: &str, torch: &str) {
        let path = self.path("bin").join(name);
        let text = format!("#!/bin/sh\necho '{}'\necho '{torch}'\n", path.display());
        self.script(&format!("bin/{name}"), &text);
    }

    /// `train` with an environment that contains only `PATH`.
    pub(crate) fn train(&self) -> Command {
        self.start(&self.path("snug/train"))
    }

    pub(crate) fn start(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", self.path("bin"));
        command
    }

    /// Replaces this distribution's folder by `DIR` in `text`.
    pub(crate) fn without_dir(&self, text: &[u8]) -> String {
        String::from_utf8_lossy(text).replace(&self.path("").display().to_string(), "DIR/")
    }
}

/// What the fake `train` printed under this name.
pub(crate) fn printed(output: &Output, name: &str) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix(&format!("{name}="))?.to_owned().into())
        .collect()
}
