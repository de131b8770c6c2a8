//! `cargo xtask setup`: finds or installs libtorch, and says which one it uses.
//!
//! This file decides; [`find`] looks for Pythons, [`install`] and [`pip`] install,
//! [`store`] manages `.libtorch`, [`verify`] checks a libtorch, [`toolchain`] examines
//! the machine. The parts that a distribution needs at its start are in `launcher`.

mod find;
mod install;
mod marker;
mod packages;
mod pip;
mod requirements;
mod store;
mod toolchain;
mod verify;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use launcher::{Flaw, Python, Torch};

use crate::console::Console;
use crate::error::Error;
use crate::flags;
use crate::workspace::Checkout;

pub(crate) use self::find::python_with_pip;
pub(crate) use self::packages::python_with_torch;

use self::store::{Installed, LibtorchStore, Origin, StoreState};

/// How much of libtorch works. The wheel is always the same, but the NVIDIA libraries
/// that it needs at run time differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LibtorchHalf {
    Cpu,
    Cuda,
}

impl fmt::Display for LibtorchHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
        })
    }
}

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Setup,
    console: &Console,
) -> Result<ExitCode, Error> {
    set_up(workspace, flags, console)?;
    Ok(ExitCode::SUCCESS)
}

/// Sets up, unless a complete libtorch is already installed; this check takes
/// milliseconds. `train`, `test` and `ci` start here.
pub(crate) fn ensure(workspace: &Checkout, console: &Console) -> Result<(), Error> {
    if let Some(dir) = workspace.user_libtorch() {
        return given(&dir, "LIBTORCH").map(drop);
    }
    if let StoreState::Ready(_) = LibtorchStore::new(workspace.store()).state()? {
        return Ok(());
    }
    set_up(workspace, &flags::Setup::default(), console)
}

fn set_up(workspace: &Checkout, flags: &flags::Setup, console: &Console) -> Result<(), Error> {
    toolchain::check_compiler()?;
    if let Some(dir) = workspace.user_libtorch() {
        if flags.libtorch.is_some() {
            console.say("libtorch: `LIBTORCH` is set and wins over `--libtorch`");
        }
        let torch = given(&dir, "LIBTORCH")?;
        console.say(format_args!(
            "libtorch: using {torch} from `LIBTORCH={}`",
            dir.display()
        ));
        return Ok(());
    }
    let store = LibtorchStore::new(workspace.store());
    let _lock = store.lock(console)?;
    store.sweep(console);

    let want = wanted(flags, console);
    let installed = match &flags.libtorch {
        Some(dir) if !store.owns(&given(dir, "--libtorch")?.dir) => link_given(&store, dir, flags)?,
        _ => find_or_install(&store, want, console)?,
    };
    console.say(format_args!("libtorch: using {installed}"));
    Ok(())
}

fn wanted(flags: &flags::Setup, console: &Console) -> LibtorchHalf {
    if flags.cuda {
        return LibtorchHalf::Cuda;
    }
    if flags.cpu {
        return LibtorchHalf::Cpu;
    }
    match toolchain::gpu() {
        Some(name) => {
            console.say(format_args!("libtorch: found a GPU ({name})"));
            LibtorchHalf::Cuda
        }
        None => LibtorchHalf::Cpu,
    }
}

fn find_or_install(
    store: &LibtorchStore,
    want: LibtorchHalf,
    console: &Console,
) -> Result<Installed, Error> {
    let installed = match store.state()? {
        StoreState::Ready(installed) if installed.half >= want => {
            store.mark(&installed)?;
            return Ok(installed);
        }
        StoreState::Ready(installed) => Some(installed),
        StoreState::Absent => None,
        StoreState::Broken(flaw) => {
            console.say(format_args!(
                "libtorch: the installation in `.libtorch` is broken ({flaw}); repairing it"
            ));
            None
        }
    };
    if let Some(installed) = installed.filter(|it| it.source == Origin::Pip) {
        let python = python_with_pip()?;
        return install::add_cuda(store, &python, &installed, console);
    }
    for python in find::pythons()? {
        if let Some(found) = link_python(store, &python, want, console)? {
            return Ok(found);
        }
    }
    install::from_nothing(store, &python_with_pip()?, want, console)
}

/// Links the torch of `python`, if it has a usable one. If it cannot be used, a line
/// says why, because the user would wonder.
fn link_python(
    store: &LibtorchStore,
    python: &Python,
    want: LibtorchHalf,
    console: &Console,
) -> Result<Option<Installed>, Error> {
    let torch = python.ask().ok().and_then(|it| it.torch);
    let Some(dir) = torch.filter(|dir| !store.owns(dir)) else {
        return Ok(None);
    };
    let usable = verify::inspect(&dir).and_then(|torch| {
        verify::load(&torch, python, want)?;
        Ok(torch)
    });
    match usable {
        Ok(torch) => store
            .link(&torch, want, Origin::Python(python.to_string()))
            .map(Some),
        Err(flaw) => {
            console.say(format_args!(
                "libtorch: skipped the torch of `{python}`: {flaw}"
            ));
            Ok(None)
        }
    }
}

fn link_given(store: &LibtorchStore, dir: &Path, flags: &flags::Setup) -> Result<Installed, Error> {
    let torch = given(dir, "--libtorch")?;
    let half = if flags.cuda {
        LibtorchHalf::Cuda
    } else {
        LibtorchHalf::Cpu
    };
    // Loading it needs a Python, which `--libtorch` does not require.
    if let Some(python) = find::pythons()
        .ok()
        .and_then(|them| them.into_iter().next())
    {
        verify::load(&torch, &python, half).map_err(|flaw| Error::UnusableLibtorch {
            given_by: "--libtorch",
            dir: dir.to_path_buf(),
            flaw,
        })?;
    }
    store.link(&torch, half, Origin::Flag)
}

fn given(dir: &Path, given_by: &'static str) -> Result<Torch, Error> {
    verify::inspect(dir).map_err(|flaw: Flaw| Error::UnusableLibtorch {
        given_by,
        dir: dir.to_path_buf(),
        flaw,
    })
}
