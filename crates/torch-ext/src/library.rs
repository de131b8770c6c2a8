//! Which libtorch is loaded, its CUDA half, and whose CPU kernels it takes.

use std::error::Error as _;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::{Error, Result, ffi, nvrtc};

/// `major.minor.patch` of the libtorch that is loaded.
pub fn runtime_version() -> String {
    dotted(|out| {
        // SAFETY: `out` points to three integers.
        unsafe { ffi::snug_runtime_version(out) }
    })
}

/// `major.minor.patch` of the libtorch that this program was built for.
pub fn header_version() -> String {
    dotted(|out| {
        // SAFETY: `out` points to three integers.
        unsafe { ffi::snug_header_version(out) }
    })
}

fn dotted(fill: impl FnOnce(*mut u32)) -> String {
    let mut v = [0_u32; 3];
    fill(v.as_mut_ptr());
    format!("{}.{}.{}", v[0], v[1], v[2])
}

/// Refuses another libtorch than the one that this program was built for, as [`init`](crate::init) does.
///
/// # Errors
/// [`Error::Version`] where the two versions differ.
pub fn check_version() -> Result<()> {
    let (expected, found) = (header_version(), runtime_version());
    if expected == found {
        Ok(())
    } else {
        Err(Error::Version { expected, found })
    }
}

/// Path of the loaded `libtorch_cpu`.
pub fn library_path() -> Option<PathBuf> {
    // SAFETY: takes no arguments.
    let path = unsafe { ffi::snug_library_path() };
    if path.is_null() {
        return None;
    }
    // SAFETY: the loader's own string, which lives as long as the library.
    let path = unsafe { CStr::from_ptr(path) };
    Some(PathBuf::from(path.to_string_lossy().into_owned()))
}

/// The outcome of opening the CUDA half of libtorch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CudaLibrary {
    /// Opened: CUDA is available if the machine has a driver and a GPU.
    Open,
    /// Not installed next to `libtorch_cpu`.
    Absent,
    /// Installed, but it cannot be opened: the loader's message.
    Broken(String),
}

/// Opens `libtorch_cuda` if it is installed, once per process.
///
/// The linker drops the CUDA half from a binary that uses none of its symbols, and
/// CUDA then looks unavailable. Because the library is opened at run time, before the
/// first query about CUDA, one binary serves machines with and without a GPU.
///
/// [NVRTC](crate::nvrtc) is opened before it.
pub fn open_cuda() -> &'static CudaLibrary {
    static STATE: OnceLock<CudaLibrary> = OnceLock::new();
    STATE.get_or_init(|| {
        let Some(path) = library_path().map(|p| p.with_file_name("libtorch_cuda.so")) else {
            return CudaLibrary::Absent;
        };
        if !path.exists() {
            return CudaLibrary::Absent;
        }
        if let Some(folder) = path.parent() {
            nvrtc::open(folder);
        }
        // SAFETY: libtorch's own library, from the folder of the one already loaded;
        // its initialisers register operators and nothing else.
        match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => {
                // Never closed: operators registered from it may run at any time.
                let _kept: &'static mut Library = Box::leak(Box::new(library));
                CudaLibrary::Open
            }
            // The loader's words are the source of the error.
            Err(error) => CudaLibrary::Broken(
                error
                    .source()
                    .map_or_else(|| error.to_string(), ToString::to_string),
            ),
        }
    })
}

/// Ends the process at once. `std::process::exit` would run the destructors of libtorch's static
/// objects while threads still compute.
pub fn exit_now(code: i32) {
    // SAFETY: plain value; the call does not return.
    unsafe { ffi::snug_exit_now(code) }
}

/// The instruction set of libtorch's own CPU kernels, such as `AVX512`.
pub fn cpu_capability() -> String {
    // SAFETY: takes no arguments.
    let name = unsafe { ffi::snug_cpu_capability() };
    // SAFETY: a NUL-terminated string of static lifetime.
    unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_library_is_the_one_built_for() {
        assert_eq!(runtime_version(), "2.11.0");
        assert_eq!(header_version(), "2.11.0");
        check_version().unwrap();
        assert!(library_path().unwrap().exists());
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let error = Error::Version {
            expected: "2.11.0".to_owned(),
            found: "2.9.1".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "libtorch 2.9.1 is loaded, but this program was built for libtorch 2.11.0"
        );
    }
}
