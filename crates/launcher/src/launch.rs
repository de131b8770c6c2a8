//! Starts the real program. Only its environment is changed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::error::{Error, Result};
use crate::program;
use crate::search::LibtorchSearch;
use crate::torch::Torch;

const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// By default CUDA orders GPUs by speed, unlike the driver's tools: a number in the output of
/// `advisor` would then mean another GPU to `train`.
const DEVICE_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// The path of this program, with links resolved.
///
/// # Errors
/// [`Error::NoOwnPath`] if the system does not report it.
pub fn own_path() -> Result<PathBuf> {
    env::current_exe()
        .and_then(|it| it.canonicalize())
        .map_err(Error::NoOwnPath)
}

/// Finds a libtorch and becomes the program in `libexec`, beside `own`, that has the same name.
///
/// On Unix this returns on failure only.
///
/// # Errors
/// As [`LibtorchSearch::find`]; [`Error::NoProgram`] or [`Error::Start`] if the program is missing or
/// cannot be started.
pub fn launch(own: &Path, args: Vec<OsString>) -> Result<ExitCode> {
    let folder = own.parent().unwrap_or(Path::new(""));
    let path = (folder.join("libexec")).join(own.file_name().unwrap_or_default());
    if !path.is_file() {
        return Err(Error::NoProgram { path });
    }
    let search = LibtorchSearch::of_process(path, folder.to_path_buf());
    let torch = search.find()?;
    let mut command = Command::new(&search.program);
    command.args(args).env(LIBRARY_PATH, library_path(&torch));
    // The program names itself as it was typed, in commands to go on with.
    #[cfg(unix)]
    if let Some(typed) = env::args_os().next() {
        use std::os::unix::process::CommandExt as _;
        command.arg0(typed);
    }
    let (name, value) = DEVICE_ORDER;
    if env::var_os(name).is_none() {
        command.env(name, value);
    }
    program::replace_by(&mut command)
}

/// The `LD_LIBRARY_PATH` of this process, with libtorch's folder before it.
pub(crate) fn library_path(torch: &Torch) -> OsString {
    let mut path = torch.lib().into_os_string();
    // An empty element would mean the current folder.
    if let Some(rest) = env::var_os(LIBRARY_PATH).filter(|it| !it.is_empty()) {
        path.push(":");
        path.push(rest);
    }
    path
}
