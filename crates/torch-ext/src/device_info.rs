//! What the CUDA runtime and cuDNN report about themselves and about a device. Functions are looked
//! up by name in the libraries that libtorch has loaded: no CUDA headers are needed, and without
//! the libraries every answer is `None`.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};

use libloading::os::unix::{Library, Symbol};

/// `cudaDevAttrComputeCapabilityMajor`, `...Minor`: numbers of a stable interface.
const COMPUTE_CAPABILITY: [c_int; 2] = [75, 76];
const CUDA_SUCCESS: c_int = 0;
/// `CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED`, and
/// `...HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED`, the kind of handle that libtorch asks for.
const VIRTUAL_MEMORY: [c_int; 2] = [102, 103];

/// A version of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are clear")]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// CUDA encodes 13.0 as 13000.
    fn of_cuda(code: c_int) -> Option<Self> {
        let code = u32::try_from(code).ok().filter(|&code| code > 0)?;
        Some(Self {
            major: code / 1000,
            minor: code % 1000 / 10,
        })
    }
}

/// Version of the CUDA runtime library.
#[doc(alias = "cudaRuntimeGetVersion")]
pub fn cuda_runtime_version() -> Option<Version> {
    version(c"cudaRuntimeGetVersion")
}

/// The newest CUDA that the driver supports; `None` without a driver.
#[doc(alias = "cudaDriverGetVersion")]
pub fn cuda_driver_version() -> Option<Version> {
    version(c"cudaDriverGetVersion")
}

/// `major.minor.patch` of cuDNN.
#[doc(alias = "cudnnGetVersion")]
pub fn cudnn_version() -> Option<String> {
    let library = Library::this();
    // SAFETY: cuDNN declares `size_t cudnnGetVersion(void)`.
    let get: Symbol<unsafe extern "C" fn() -> usize> =
        unsafe { library.get(c"cudnnGetVersion".to_bytes_with_nul()) }.ok()?;
    // SAFETY: takes no arguments.
    Some(cudnn_text(unsafe { get() }))
}

/// cuDNN 9 encodes 9.15.1 as 91501; earlier ones encode 8.9.7 as 8907.
fn cudnn_text(code: usize) -> String {
    let base = if code >= 90_000 { 10_000 } else { 1000 };
    format!("{}.{}.{}", code / base, code % base / 100, code % 100)
}

/// Compute capability of CUDA device `device`.
#[doc(alias = "cudaDeviceGetAttribute")]
pub fn compute_capability(device: usize) -> Option<Version> {
    let device = c_int::try_from(device).ok()?;
    let library = Library::this();
    // SAFETY: CUDA declares `cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int)`, two
    // enumerations of the size of an int.
    let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int> =
        unsafe { library.get(c"cudaDeviceGetAttribute".to_bytes_with_nul()) }.ok()?;
    let attribute = |which| {
        let mut value = 0;
        // SAFETY: `value` is valid for writes; CUDA checks the device.
        let status = unsafe { get(&raw mut value, which, device) };
        u32::try_from(value).ok().filter(|_| status == CUDA_SUCCESS)
    };
    let [major, minor] = COMPUTE_CAPABILITY.map(attribute);
    Some(Version {
        major: major?,
        minor: minor?,
    })
}

/// Whether the driver maps memory into ranges of addresses, as expandable segments need it.
#[doc(alias = "cuDeviceGetAttribute")]
pub fn maps_memory(device: usize) -> bool {
    VIRTUAL_MEMORY
        .into_iter()
        .all(|which| driver_attribute(device, which) == Some(1))
}

/// `cudaGetDriverEntryPointByVersion`.
type FindFunction =
    unsafe extern "C" fn(*const c_char, *mut *mut c_void, c_uint, c_ulonglong, *mut c_int) -> c_int;
/// `cuDeviceGetAttribute`.
type GetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;

/// A function of the driver.
pub(crate) fn driver_function(name: &CStr) -> Option<*mut c_void> {
    // The first driver of CUDA 12, whose functions the later ones have as well.
    const VERSION: c_uint = 12_000;
    let library = Library::this();
    // SAFETY: CUDA declares `cudaError_t cudaGetDriverEntryPointByVersion(const char*, void**,
    // unsigned int, unsigned long long, cudaDriverEntryPointQueryResult*)`.
    let find: Symbol<FindFunction> =
        unsafe { library.get(c"cudaGetDriverEntryPointByVersion".to_bytes_with_nul()) }.ok()?;
    let (mut function, mut found) = (std::ptr::null_mut(), 0);
    // SAFETY: the name ends with a zero, and both places are valid for writes.
    let status = unsafe { find(name.as_ptr(), &raw mut function, VERSION, 0, &raw mut found) };
    (status == CUDA_SUCCESS && !function.is_null()).then_some(function)
}

/// An attribute of a device that only the driver tells.
fn driver_attribute(device: usize, which: c_int) -> Option<c_int> {
    let device = c_int::try_from(device).ok()?;
    let function = driver_function(c"cuDeviceGetAttribute")?;
    // SAFETY: CUDA declares `CUresult cuDeviceGetAttribute(int*, CUdevice_attribute, CUdevice)`.
    let get = unsafe { std::mem::transmute::<*mut c_void, GetAttribute>(function) };
    let mut value = 0;
    // SAFETY: `value` is valid for writes; the driver checks the device.
    let status = unsafe { get(&raw mut value, which, device) };
    (status == CUDA_SUCCESS).then_some(value)
}

/// Total memory of CUDA device `device` in bytes. Creates the device's context, but does not touch
/// libtorch.
#[doc(alias = "cudaMemGetInfo")]
pub fn total_bytes(device: usize) -> Option<u64> {
    let device = c_int::try_from(device).ok()?;
    let library = Library::this();
    // SAFETY: CUDA declares `cudaError_t cudaSetDevice(int)`.
    let set: Symbol<unsafe extern "C" fn(c_int) -> c_int> =
        unsafe { library.get(c"cudaSetDevice".to_bytes_with_nul()) }.ok()?;
    // SAFETY: CUDA declares `cudaError_t cudaMemGetInfo(size_t*, size_t*)`.
    let get: Symbol<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int> =
        unsafe { library.get(c"cudaMemGetInfo".to_bytes_with_nul()) }.ok()?;
    let (mut free, mut total) = (0, 0);
    // SAFETY: CUDA checks the device.
    let is_set = unsafe { set(device) } == CUDA_SUCCESS;
    // SAFETY: both are valid for writes.
    let is_known = is_set && unsafe { get(&raw mut free, &raw mut total) } == CUDA_SUCCESS;
    is_known.then_some(total as u64)
}

/// PCI bus id of CUDA device `device`, such as `0000:65:00.0`. NVML knows the device by it, even if
/// CUDA counts devices in another order.
#[doc(alias = "cudaDeviceGetPCIBusId")]
pub fn pci_bus_id(device: usize) -> Option<String> {
    const LEN: c_int = 32;
    let device = c_int::try_from(device).ok()?;
    let library = Library::this();
    // SAFETY: CUDA declares `cudaError_t cudaDeviceGetPCIBusId(char*, int, int)`.
    let get: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> =
        unsafe { library.get(c"cudaDeviceGetPCIBusId".to_bytes_with_nul()) }.ok()?;
    let mut text: [c_char; LEN as usize] = [0; LEN as usize];
    // SAFETY: `text` has the given length and is valid for writes.
    let status = unsafe { get(text.as_mut_ptr(), LEN, device) };
    if status != CUDA_SUCCESS {
        return None;
    }
    // SAFETY: CUDA ends the text with a NUL within the length.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    Some(text.to_str().ok()?.to_owned())
}

fn version(name: &CStr) -> Option<Version> {
    let library = Library::this();
    // SAFETY: both functions are declared `cudaError_t NAME(int*)`.
    let get: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> =
        unsafe { library.get(name.to_bytes_with_nul()) }.ok()?;
    let mut code = 0;
    // SAFETY: `code` is valid for writes.
    let status = unsafe { get(&raw mut code) };
    Version::of_cuda(code).filter(|_| status == CUDA_SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_off_their_codes() {
        let text = |code| Version::of_cuda(code).map(|v| v.to_string());
        assert_eq!(text(13_000).as_deref(), Some("13.0"));
        assert_eq!(text(12_080).as_deref(), Some("12.8"));
        // A machine without a driver reports this.
        assert_eq!(text(0), None);
        assert_eq!(cudnn_text(91_501), "9.15.1");
        assert_eq!(cudnn_text(8907), "8.9.7");
    }

    #[test]
    fn without_a_device_there_is_no_answer() {
        crate::init().unwrap();
        if crate::cuda::is_available() {
            eprintln!("skipped: this machine has a CUDA device");
            return;
        }
        assert_eq!(compute_capability(0), None);
        assert_eq!(pci_bus_id(0), None);
        assert_eq!(cuda_driver_version(), None);
    }
}
