//! Starting the real program: its environment, and nothing else of it, is changed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::error::{Error, Result};
use crate::program;
use crate::search::Search;
use crate::torch::Torch;

const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// CUDA's own default order, fastest first, is not that of the driver's tools, and a GPU that
/// `advisor` names would be another than the one that `train` takes.
const DEVICE_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// The folder of this program, wherever a link to it lies.
///
/// # Errors
/// [`Error::NoOwnPath`] where the system does not say.
pub fn folder() -> Result<PathBuf> {
    let own = env::current_exe()
        .and_then(|it| it.canonicalize())
        .map_err(Error::NoOwnPath)?;
    Ok(own.parent().map_or_else(PathBuf::new, Path::to_path_buf))
}

/// Becomes the `libexec/train` of `folder`, with a libtorch that is found now.
///
/// Returns on failure; on Unix, on nothing else.
///
/// # Errors
/// Those of [`Search::find`]; [`Error::NoProgram`] or [`Error::Start`] where the program is
/// missing or cannot be started.
pub fn launch(folder: &Path, args: Vec<OsString>) -> Result<ExitCode> {
    let path = folder.join("libexec").join("train");
    if !path.is_file() {
        return Err(Error::NoProgram { path });
    }
    let search = Search::of_process(path, folder.to_path_buf());
    let torch = search.find()?;
    let mut command = Command::new(&search.program);
    command.args(args).env(LIBRARY_PATH, library_path(&torch));
    let (name, value) = DEVICE_ORDER;
    if env::var_os(name).is_none() {
        command.env(name, value);
    }
    program::replace_by(&mut command)
}

/// The `LD_LIBRARY_PATH` of this process, with libtorch's folder before it.
pub(crate) fn library_path(torch: &Torch) -> OsString {
    let mut path = torch.lib().into_os_string();
    // An empty element would mean the folder that one starts in.
    if let Some(rest) = env::var_os(LIBRARY_PATH).filter(|it| !it.is_empty()) {
        path.push(":");
        path.push(rest);
    }
    path
}
