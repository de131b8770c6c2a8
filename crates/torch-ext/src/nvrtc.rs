//! NVRTC, CUDA's compiler at run time. cuDNN compiles its fastest engines with it, and libtorch its fused
//! kernels. Both find it by name only, and so does NVRTC its own built-in headers, which no search path of
//! a wheel contains: they are opened first, as PyTorch's Python does.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW, Symbol};

/// Folders of the wheels beside `torch/lib`.
const FOLDERS: [&str; 3] = ["../../nvidia/cu13/lib", "../../nvidia/cuda_nvrtc/lib", "."];
/// `off` leaves NVRTC closed, to measure what it is worth.
const SWITCH: &str = "SNUG_NVRTC";
/// In the order in which they are opened.
const NAMES: [&str; 2] = ["libnvrtc-builtins.so.", "libnvrtc.so."];

/// What was opened.
#[derive(Debug)]
pub struct Nvrtc {
    compiler: &'static Library,
}

static NVRTC: OnceLock<Option<Nvrtc>> = OnceLock::new();

/// NVRTC, if it is installed beside libtorch and the CUDA half of libtorch was opened.
pub fn nvrtc() -> Option<&'static Nvrtc> {
    NVRTC.get()?.as_ref()
}

/// Opens it from the folders that belong to `torch/lib`.
pub(crate) fn open(torch_lib: &Path) {
    NVRTC.get_or_init(|| {
        if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
            return None;
        }
        let [_builtins, compiler] = NAMES.map(|name| {
            let mut files = FOLDERS
                .iter()
                .filter_map(|it| find(&torch_lib.join(it), name));
            files.find_map(|path| {
                // SAFETY: NVIDIA's library from libtorch's own wheel. Its initialisers touch nothing else.
                let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
                // Never closed: cuDNN may use it at any time.
                Some(&*Box::leak(Box::new(library.ok()?)))
            })
        });
        compiler.map(|compiler| Nvrtc { compiler })
    });
}

/// The file in `folder` whose name is `name` with a version.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let version = path
                .file_name()
                .and_then(|it| it.to_str()?.strip_prefix(name));
            version.is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
        })
        .collect();
    files.sort();
    files.into_iter().next()
}

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type LogSize = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Log = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;

impl Nvrtc {
    /// Compiles `source` (CUDA C++) for `arch`, such as `compute_75`, and drops the result. It needs no GPU.
    ///
    /// # Errors
    /// The compiler's log, or its status.
    pub fn compile(&self, source: &str, arch: &str) -> Result<(), String> {
        let [source, option] = [source.to_owned(), format!("--gpu-architecture={arch}")]
            .map(|text| CString::new(text).map_err(|error| error.to_string()));
        let (source, option) = (source?, option?);
        let mut program = ptr::null_mut();
        let create: Symbol<Create> = self.symbol(c"nvrtcCreateProgram")?;
        let compile: Symbol<Compile> = self.symbol(c"nvrtcCompileProgram")?;
        let destroy: Symbol<Destroy> = self.symbol(c"nvrtcDestroyProgram")?;
        let (place, text, none) = (&raw mut program, source.as_ptr(), ptr::null());
        // SAFETY: the signature of `nvrtc.h`; the text lives until the program is destroyed.
        let status = unsafe { create(place, text, none, 0, none.cast(), none.cast()) };
        if status != 0 {
            return Err(format!("`nvrtcCreateProgram` returned {status}"));
        }
        let options = [option.as_ptr()];
        // SAFETY: the signature of `nvrtc.h`, and one option.
        let status = unsafe { compile(program, 1, options.as_ptr()) };
        let log = if status == 0 { None } else { self.log(program) };
        // SAFETY: the signature of `nvrtc.h`; the program is not used afterwards.
        let _status = unsafe { destroy(place) };
        match (status, log) {
            (0, _) => Ok(()),
            (_, Some(log)) if !log.trim().is_empty() => Err(log.trim().to_owned()),
            _ => Err(format!("`nvrtcCompileProgram` returned {status}")),
        }
    }

    /// The log of a program that is alive.
    fn log(&self, program: Program) -> Option<String> {
        let size: Symbol<LogSize> = self.symbol(c"nvrtcGetProgramLogSize").ok()?;
        let log: Symbol<Log> = self.symbol(c"nvrtcGetProgramLog").ok()?;
        let mut len = 0;
        // SAFETY: the signature of `nvrtc.h`; `len` is valid for writes.
        let status = unsafe { size(program, &raw mut len) };
        (status == 0).then_some(())?;
        let mut text = vec![0_u8; len.max(1)];
        // SAFETY: the buffer has the size that the compiler asks for.
        let status = unsafe { log(program, text.as_mut_ptr().cast()) };
        (status == 0).then_some(())?;
        let text = CStr::from_bytes_until_nul(&text).ok()?;
        Some(text.to_string_lossy().into_owned())
    }

    /// A function, whose type `T` is that of `nvrtc.h`.
    fn symbol<T>(&self, name: &CStr) -> Result<Symbol<T>, String> {
        // SAFETY: stated above; the library is never closed.
        let symbol = unsafe { self.compiler.get(name.to_bytes_with_nul()) };
        symbol.map_err(|error| error.to_string())
    }
}
