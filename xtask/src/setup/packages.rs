//! Finds a Python that has PyTorch, to compare benchmarks with it. If there is none, the missing
//! packages are installed in `.pytorch`, a folder of the checkout.

use std::path::{Path, PathBuf};

use launcher::{Python, VERSION};

use crate::console::Console;
use crate::error::Error;
use crate::run;
use crate::workspace::Checkout;

use super::store::LibtorchStore;
use super::{find, pip, toolchain};

const GIB: u64 = 1 << 30;

/// Module, requirement for pip, and size on disk. torch comes with its NVIDIA libraries, which
/// `import torch` needs even without a GPU; Pillow reads images as the script does.
const PACKAGES: [(&str, &str, u64); 2] = [
    ("torch", "torch==2.11.0", 9 * GIB),
    ("PIL", "pillow", GIB / 4),
];

/// Imports each module, and prints those that exist.
const SCRIPT: &str = "\
import importlib, sys
sys.path = [it for it in sys.path if it not in ('', '.')]
for name in ('torch', 'PIL'):
    try:
        module = importlib.import_module(name)
    except Exception:
        continue
    if name != 'torch' or module.__version__.split('+')[0] == sys.argv[1]:
        print(name)
";

/// A Python that imports torch and Pillow.
#[derive(Debug)]
pub(crate) struct PythonWithTorch {
    python: Python,
    /// The folder of additional packages, if any.
    path: Option<PathBuf>,
}

impl PythonWithTorch {
    /// The interpreter.
    pub(crate) fn program(&self) -> String {
        self.python.to_string()
    }

    /// Its `PYTHONPATH`.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

/// Finds a Python that has both, or installs what the best candidate lacks.
pub(crate) fn python_with_torch(
    workspace: &Checkout,
    console: &Console,
) -> Result<PythonWithTorch, Error> {
    let store = LibtorchStore::new(workspace.pytorch());
    let path = store.dir().is_dir().then(|| store.dir().to_path_buf());
    let mut best: Option<(Python, Vec<&str>)> = None;
    for python in find::pythons()? {
        let missing = missing(&python, path.as_deref());
        if missing.is_empty() {
            console.say(format_args!("pytorch: using the torch of `{python}`"));
            return Ok(PythonWithTorch { python, path });
        }
        let fewer = |best: &(Python, Vec<&str>)| missing.len() < best.1.len();
        if best.as_ref().is_none_or(fewer) && find::has_pip(&python) {
            best = Some((python, missing));
        }
    }
    let (python, missing) = match best {
        Some(best) => best,
        None => (find::python_with_pip()?, PACKAGES.map(|it| it.0).to_vec()),
    };
    install(&store, &python, &missing, console)?;
    Ok(PythonWithTorch {
        python,
        path: Some(store.dir().to_path_buf()),
    })
}

fn missing(python: &Python, path: Option<&Path>) -> Vec<&'static str> {
    let mut command = python.command();
    command.args(["-c", SCRIPT, VERSION]);
    if let Some(path) = path {
        command.env("PYTHONPATH", path);
    }
    let said = run::stdout_of(&mut command).unwrap_or_default();
    let modules = PACKAGES.map(|it| it.0);
    let there: Vec<&str> = said.lines().map(str::trim).collect();
    modules
        .into_iter()
        .filter(|it| !there.contains(it))
        .collect()
}

fn install(
    store: &LibtorchStore,
    python: &Python,
    missing: &[&str],
    console: &Console,
) -> Result<(), Error> {
    let _lock = store.lock(console)?;
    store.sweep(console);
    let packages = || PACKAGES.iter().filter(|it| missing.contains(&it.0));
    toolchain::check_disk(store.dir(), packages().map(|it| it.2).sum())?;
    let requirements: Vec<String> = packages().map(|it| it.1.to_owned()).collect();
    let what = requirements.join(" and ");
    console.say(format_args!(
        "pytorch: installing {what} into `.pytorch` with `{python} -m pip`"
    ));
    let stage = store.stage()?;
    let target = stage.target();
    let with = pip::Dependencies::Install;
    pip::install(python, &stage, &target, &requirements, with, &what, console)?;
    store.publish(&stage, |_| false)?;
    let still = self::missing(python, Some(store.dir()));
    if still.is_empty() {
        return Ok(());
    }
    Err(Error::Unimportable {
        python: python.to_string(),
        modules: still.join("`, `"),
    })
}
