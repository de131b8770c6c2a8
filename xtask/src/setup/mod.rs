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
use crate::workspace::Workspace;

pub(crate) use self::packages::python_with_torch;

use self::store::{Installed, Source, State, Store};

/// How much of libtorch works. The wheel is always the same, but the NVIDIA libraries
/// that it needs at run time differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Half {
    Cpu,
    Cuda,
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
        })
    }
}

pub(crate) fn run(
    workspace: &Workspace,
    flags: &flags::Setup,
    console: &Console,
) -> Result<ExitCode, Error> {
    set_up(workspace, flags, console)?;
    Ok(ExitCode::SUCCESS)
}

/// Sets up, unless a complete libtorch is already installed; this check takes
/// milliseconds. `train`, `test` and `ci` start here.
pub(crate) fn ensure(workspace: &Workspace, console: &Console) -> Result<(), Error> {
    if let Some(dir) = workspace.user_libtorch() {
        return given(&dir, "LIBTORCH").map(drop);
    }
    if let State::Ready(_) = Store::new(workspace.store()).state()? {
        return Ok(());
    }
    set_up(workspace, &flags::Setup::default(), console)
}

fn set_up(workspace: &Workspace, flags: &flags::Setup, console: &Console) -> Result<(), Error> {
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
    let store = Store::new(workspace.store());
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

fn wanted(flags: &flags::Setup, console: &Console) -> Half {
    if flags.cuda {
        return Half::Cuda;
    }
    if flags.cpu {
        return Half::Cpu;
    }
    match toolchain::gpu() {
        Some(name) => {
            console.say(format_args!("libtorch: found a GPU ({name})"));
            Half::Cuda
        }
        None => Half::Cpu,
    }
}

fn find_or_install(store: &Store, want: Half, console: &Console) -> Result<Installed, Error> {
    let installed = match store.state()? {
        State::Ready(installed) if installed.half >= want => {
            store.mark(&installed)?;
            return Ok(installed);
        }
        State::Ready(installed) => Some(installed),
        State::Absent => None,
        State::Broken(flaw) => {
            console.say(format_args!(
                "libtorch: the installation in `.libtorch` is broken ({flaw}); repairing it"
            ));
            None
        }
    };
    if let Some(installed) = installed.filter(|it| it.source == Source::Pip) {
        let python = find::python_with_pip()?;
        return install::add_cuda(store, &python, &installed, console);
    }
    for python in find::pythons()? {
        if let Some(found) = link_python(store, &python, want, console)? {
            return Ok(found);
        }
    }
    install::from_nothing(store, &find::python_with_pip()?, want, console)
}

/// Links the torch of `python`, if it has a usable one. If it cannot be used, a line
/// says why, because the user would wonder.
fn link_python(
    store: &Store,
    python: &Python,
    want: Half,
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
            .link(&torch, want, Source::Python(python.to_string()))
            .map(Some),
        Err(flaw) => {
            console.say(format_args!(
                "libtorch: skipped the torch of `{python}`: {flaw}"
            ));
            Ok(None)
        }
    }
}

fn link_given(store: &Store, dir: &Path, flags: &flags::Setup) -> Result<Installed, Error> {
    let torch = given(dir, "--libtorch")?;
    let half = if flags.cuda { Half::Cuda } else { Half::Cpu };
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
    store.link(&torch, half, Source::Flag)
}

fn given(dir: &Path, given_by: &'static str) -> Result<Torch, Error> {
    verify::inspect(dir).map_err(|flaw: Flaw| Error::UnusableLibtorch {
        given_by,
        dir: dir.to_path_buf(),
        flaw,
    })
}
