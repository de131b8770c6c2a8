//! Code that the fuzz targets share: a place for files, and corrected checksums, without which most
//! of a reader would never be reached.

#[cfg(feature = "torch")]
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, panic, process};

#[cfg(feature = "torch")]
pub use weights::*;

/// The only one of a target's formats that it is to try: `SNUG_FUZZ_FORMAT`.
pub fn format(formats: &[&str]) -> Option<&'static str> {
    static FORMAT: OnceLock<Option<String>> = OnceLock::new();
    let format = FORMAT.get_or_init(|| env::var("SNUG_FUZZ_FORMAT").ok());
    let format = format.as_deref()?;
    assert!(formats.contains(&format), "no format of this target: {formats:?}");
    Some(format)
}

/// Writes `bytes` to a file of this name, in memory if the system has a folder for that. A process
/// has one file per name.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("a file can be written");
    path
}

/// A folder that only this process uses.
pub fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() {
        memory.to_owned()
    } else {
        env::temp_dir()
    };
    let folder = base.join(format!("snug-fuzz-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// A panic in a decoder is caught and means that the file is corrupt. Any other panic is a finding.
pub fn allow_decoders_to_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or("", |it| it.file());
        if !place.contains("registry/src") {
            before(panic);
        }
    }));
}
