//! Installs libtorch from the PyTorch wheel, and the NVIDIA libraries that the
//! chosen half needs.

use std::fs;
use std::path::Path;

use launcher::{Flaw, Python, VERSION};

use crate::console::Console;
use crate::error::Error;

use super::pip::Dependencies;
use super::requirements::{self, Requirement};
use super::store::{InstallStage, Installed, LibtorchStore, Origin};
use super::{LibtorchHalf, pip, toolchain, verify};

const GIB: u64 = 1 << 30;

/// Installs torch and the libraries of `half`, and replaces an earlier installation.
pub(crate) fn from_nothing(
    store: &LibtorchStore,
    python: &Python,
    half: LibtorchHalf,
    console: &Console,
) -> Result<Installed, Error> {
    toolchain::check_disk(store.dir(), needed_bytes(half))?;
    console.say(format_args!(
        "libtorch: installing torch {VERSION} ({half}) into `.libtorch` with `{python} -m pip`"
    ));
    let stage = store.stage()?;
    let target = stage.target();
    let torch = [format!("torch=={VERSION}")];
    pip::install(
        python,
        &stage,
        &target,
        &torch,
        Dependencies::Leave,
        &format!("torch {VERSION}"),
        console,
    )?;
    install_nvidia(python, &stage, &metadata(&target, "torch-")?, half, console)?;

    let whole = verify::compare_with_records(&target).and_then(|()| {
        let torch = verify::inspect(&target.join("torch"))?;
        verify::load(&torch, python, half)
    });
    whole.map_err(|flaw| Error::BadInstall { flaw })?;
    store.publish(&stage, |_| true)?;
    finish(store, half)
}

/// Adds the CUDA libraries to an installed torch.
pub(crate) fn add_cuda(
    store: &LibtorchStore,
    python: &Python,
    installed: &Installed,
    console: &Console,
) -> Result<Installed, Error> {
    toolchain::check_disk(
        store.dir(),
        needed_bytes(LibtorchHalf::Cuda) - needed_bytes(LibtorchHalf::Cpu),
    )?;
    console.say(format_args!(
        "libtorch: adding the CUDA libraries to {}",
        installed.torch
    ));
    let stage = store.stage()?;
    install_nvidia(
        python,
        &stage,
        &metadata(store.dir(), "torch-")?,
        LibtorchHalf::Cuda,
        console,
    )?;
    store.publish(&stage, |name| name.starts_with("nvidia"))?;
    let installed = finish(store, LibtorchHalf::Cuda)?;
    verify::load(&installed.torch, python, LibtorchHalf::Cuda)
        .map_err(|flaw| Error::BadInstall { flaw })?;
    Ok(installed)
}

fn finish(store: &LibtorchStore, half: LibtorchHalf) -> Result<Installed, Error> {
    let torch = verify::inspect(&store.dir().join("torch"))
        .and_then(|torch| verify::compare_with_records(store.dir()).map(|()| torch))
        .map_err(|flaw| Error::BadInstall { flaw })?;
    let installed = Installed {
        torch,
        half,
        source: Origin::Pip,
    };
    store.mark(&installed)?;
    Ok(installed)
}

fn install_nvidia(
    python: &Python,
    stage: &InstallStage,
    of_torch: &[Requirement],
    half: LibtorchHalf,
    console: &Console,
) -> Result<(), Error> {
    let mut of_toolkit = Vec::new();
    if let Some(toolkit) = requirements::toolkit(of_torch) {
        let dir = stage.toolkit();
        pip::install(
            python,
            stage,
            &dir,
            &[toolkit.to_pip()],
            Dependencies::Leave,
            "list of CUDA libraries",
            console,
        )?;
        of_toolkit = metadata(&dir, "cuda_toolkit-").unwrap_or_default();
    }
    let nvidia = requirements::nvidia(of_torch, &of_toolkit, half);
    if nvidia.is_empty() {
        return Ok(());
    }
    let what = format!("{} NVIDIA libraries", nvidia.len());
    let leave = Dependencies::Leave;
    pip::install(
        python,
        stage,
        &stage.target(),
        &nvidia,
        leave,
        &what,
        console,
    )
}

/// The requirements of the package whose `dist-info` has this prefix.
fn metadata(target: &Path, prefix: &str) -> Result<Vec<Requirement>, Error> {
    let missing = || Error::BadInstall {
        flaw: Flaw::Missing(target.join(format!("{prefix}*.dist-info"))),
    };
    let dir = fs::read_dir(target)
        .into_iter()
        .flatten()
        .flatten()
        .find(|it| {
            let name = it.file_name();
            let name = name.to_string_lossy();
            name.starts_with(prefix) && name.ends_with(".dist-info")
        })
        .ok_or_else(missing)?;
    let path = dir.path().join("METADATA");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(requirements::parse(&text)),
        Err(source) => Err(Error::Unreadable { path, source }),
    }
}

/// Space for the wheels, their unpacked files, and pip's own copy of the wheels. `.libtorch`
/// was measured at its largest, 1.7 GiB and 5.6 GiB; the copy adds 0.5 and 2.2 GiB.
fn needed_bytes(half: LibtorchHalf) -> u64 {
    match half {
        LibtorchHalf::Cpu => 3 * GIB,
        LibtorchHalf::Cuda => 9 * GIB,
    }
}
