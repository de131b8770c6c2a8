//! The PyTorch programs. They are compiled in, so that the benchmark always has them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The name and the text of each program.
pub const PROGRAMS: [(&str, &str); 4] = [
    (
        "worker.py",
        include_str!("../../../bench/pytorch/worker.py"),
    ),
    (
        "subject.py",
        include_str!("../../../bench/pytorch/subject.py"),
    ),
    ("epoch.py", include_str!("../../../bench/pytorch/epoch.py")),
    ("unet.py", include_str!("../../../bench/pytorch/unet.py")),
];

/// Writes the programs to `folder` and returns the path of `worker.py`.
///
/// # Errors
/// [`Error::Io`].
pub fn unpack(folder: &Path) -> Result<PathBuf> {
    for (name, text) in PROGRAMS {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    Ok(folder.join("worker.py"))
}
