//! Our own kernels on a GPU: loaded once for each device, and launched on its current stream. The driver's functions are
//! looked up by name; nothing of CUDA is linked.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

use kernels::cuda::{Elements, Kernel, Launch, Pass, Shape, images};
use tch::Device;

use crate::device_info::{compute_capability, driver_function};
use crate::error::check;
use crate::{Error, Result, ffi};

const SUCCESS: c_int = 0;
const OUT_OF_MEMORY: c_int = 2;
const NO_BINARY: c_int = 209;
/// As many devices as a process may use.
pub(crate) const DEVICES: usize = 64;

type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type RetainContext = unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int;
type GetContext = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
type SetContext = unsafe extern "C" fn(*mut c_void) -> c_int;
type LoadModule = unsafe extern "C" fn(*mut *mut c_void, *const c_void) -> c_int;
type GetFunction = unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> c_int;
type LaunchKernel = unsafe extern "C" fn(
    *mut c_void,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    *mut c_void,
    *const *mut c_void,
    *const *mut c_void,
) -> c_int;

/// A device with our kernels.
#[derive(Debug)]
struct Loaded {
    context: *mut c_void,
    functions: HashMap<&'static CStr, *mut c_void>,
    get_context: GetContext,
    set_context: SetContext,
    launch: LaunchKernel,
}

// SAFETY: the driver's handles may be used on any thread, and nothing here changes.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

/// Launches a kernel on `shape`, on the current stream of its device.
///
/// # Safety
/// Those pointers of `pass` that the kernel uses are to live memory of the device, of as many elements as it takes, and
/// nothing else uses what it writes until the stream is done.
pub(crate) unsafe fn launch(
    device: Device,
    kernel: Kernel,
    shape: Shape,
    pass: &Pass,
) -> Result<()> {
    let name = kernel.name(shape.elements());
    let launch = shape.launch(kernel);
    if let Device::Cuda(index) = device {
        return loaded(index)?.launch(index, name, launch, pass);
    }
    let emulator = EMULATOR.get().ok_or_else(|| missing("a GPU"))?;
    // SAFETY: the caller's pointers, which are to the CPU's memory here.
    let found = unsafe { emulator(name, launch, pass) };
    found.then_some(()).ok_or_else(|| missing("a kernel"))
}

/// Runs a kernel of this name on the CPU.
///
/// # Safety
/// Those pointers of the pass that the kernel uses are to memory of as many elements as it takes. It asks for no more.
pub type Emulator = unsafe fn(&CStr, Launch, &Pass) -> bool;

thread_local! {
    static EMULATOR: Cell<Option<Emulator>> = const { Cell::new(None) };
}

/// On the thread that made it, our own kernels take tensors of the CPU as they take a GPU's.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Emulation(PhantomData<*const ()>);

/// For tests: lets a thread compute as on a GPU, slowly.
pub fn emulate(emulator: Emulator) -> Emulation {
    EMULATOR.set(Some(emulator));
    Emulation(PhantomData)
}

impl Drop for Emulation {
    fn drop(&mut self) {
        EMULATOR.set(None);
    }
}

/// Whether the kernels of a GPU take the tensors of `device`.
pub(crate) fn is_gpu(device: Device) -> bool {
    device.is_cuda() || EMULATOR.get().is_some()
}

/// The kernels of a device, loaded at the first call that succeeds.
fn loaded(index: usize) -> Result<&'static Loaded> {
    static ALL: [OnceLock<Loaded>; DEVICES] = [const { OnceLock::new() }; DEVICES];
    let place = ALL
        .get(index)
        .ok_or_else(|| missing("a device of that number"))?;
    if let Some(loaded) = place.get() {
        return Ok(loaded);
    }
    let loaded = Loaded::load(index)?;
    Ok(place.get_or_init(|| loaded))
}

impl Loaded {
    fn load(index: usize) -> Result<Self> {
        let capability =
            compute_capability(index).ok_or_else(|| missing("the compute capability"))?;
        let images = images((capability.major, capability.minor));
        // SAFETY: the driver declares `CUresult cuDeviceGet(CUdevice*, int)`.
        let get_device: GetDevice = unsafe { std::mem::transmute(function(c"cuDeviceGet")?) };
        // SAFETY: `CUresult cuDevicePrimaryCtxRetain(CUcontext*, CUdevice)`.
        let retain: RetainContext =
            unsafe { std::mem::transmute(function(c"cuDevicePrimaryCtxRetain")?) };
        // SAFETY: `CUresult cuCtxGetCurrent(CUcontext*)`.
        let get_context: GetContext = unsafe { std::mem::transmute(function(c"cuCtxGetCurrent")?) };
        // SAFETY: `CUresult cuCtxSetCurrent(CUcontext)`.
        let set_context: SetContext = unsafe { std::mem::transmute(function(c"cuCtxSetCurrent")?) };
        // SAFETY: `CUresult cuModuleLoadData(CUmodule*, const void*)`.
        let load: LoadModule = unsafe { std::mem::transmute(function(c"cuModuleLoadData")?) };
        // SAFETY: `CUresult cuModuleGetFunction(CUfunction*, CUmodule, const char*)`.
        let get_function: GetFunction =
            unsafe { std::mem::transmute(function(c"cuModuleGetFunction")?) };
        // SAFETY: `CUresult cuLaunchKernel(CUfunction, unsigned int x 7, CUstream, void**, void**)`.
        let launch: LaunchKernel = unsafe { std::mem::transmute(function(c"cuLaunchKernel")?) };

        let ordinal = number(index)?;
        let (mut device, mut context) = (0, ptr::null_mut());
        // SAFETY: `device` is valid for writes.
        succeed("cuDeviceGet", unsafe {
            get_device(&raw mut device, ordinal)
        })?;
        // SAFETY: as above. libtorch uses this context, and it is never released.
        succeed("cuDevicePrimaryCtxRetain", unsafe {
            retain(&raw mut context, device)
        })?;
        let mut loaded = Self {
            context,
            functions: HashMap::new(),
            get_context,
            set_context,
            launch,
        };
        let functions = loaded.within(|| {
            let mut module = ptr::null_mut();
            let mut loads = images.iter().map(|image| {
                // SAFETY: an image whose length its header says, or text that ends with a zero.
                unsafe { load(&raw mut module, image.as_ptr().cast()) }
            });
            // One that is not for this GPU may be followed by one that is.
            let status = loads.find(|it| *it != NO_BINARY);
            let status = status.ok_or_else(|| missing("an image for its compute capability"))?;
            drop(loads);
            succeed("cuModuleLoadData", status)?;
            let names = Elements::ALL.into_iter().flat_map(|elements| {
                Kernel::ALL
                    .into_iter()
                    .map(move |kernel| kernel.name(elements))
            });
            let functions = names.map(|name| {
                let mut function = ptr::null_mut();
                // SAFETY: a loaded module, and a name that ends with a zero.
                let status = unsafe { get_function(&raw mut function, module, name.as_ptr()) };
                succeed("cuModuleGetFunction", status)?;
                Ok((name, function))
            });
            functions.collect::<Result<_>>()
        })?;
        loaded.functions = functions;
        Ok(loaded)
    }

    fn launch(&self, index: usize, name: &CStr, launch: Launch, pass: &Pass) -> Result<()> {
        let function = *self
            .functions
            .get(name)
            .ok_or_else(|| missing("a kernel"))?;
        let mut stream = ptr::null_mut();
        let index = number(index)?;
        // SAFETY: `stream` is valid for writes.
        check(unsafe { ffi::snug_cuda_stream(index, &raw mut stream) })?;
        let arguments = [ptr::from_ref(pass).cast_mut().cast::<c_void>()];
        let ([x, y, z], [threads_x, threads_y, threads_z]) = (launch.grid, launch.block);
        self.within(|| {
            // SAFETY: the caller's pointers, of which the kernel reads and writes what `shape` says.
            let status = unsafe {
                (self.launch)(
                    function,
                    x,
                    y,
                    z,
                    threads_x,
                    threads_y,
                    threads_z,
                    0,
                    stream,
                    arguments.as_ptr(),
                    ptr::null(),
                )
            };
            succeed("cuLaunchKernel", status)
        })
    }

    /// Runs `body` in the device's context; a thread of autograd may be in none yet.
    fn within<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut before = ptr::null_mut();
        // SAFETY: `before` is valid for writes.
        succeed("cuCtxGetCurrent", unsafe {
            (self.get_context)(&raw mut before)
        })?;
        if before == self.context {
            return body();
        }
        // SAFETY: a context that is never released.
        succeed("cuCtxSetCurrent", unsafe {
            (self.set_context)(self.context)
        })?;
        let result = body();
        // SAFETY: the context that was current before, or none.
        succeed("cuCtxSetCurrent", unsafe { (self.set_context)(before) })?;
        result
    }
}

pub(crate) fn number(index: usize) -> Result<c_int> {
    c_int::try_from(index).map_err(|error| Error::InvalidArgument(error.to_string()))
}

pub(crate) fn function(name: &CStr) -> Result<*mut c_void> {
    driver_function(name)
        .ok_or_else(|| Error::Torch(format!("the CUDA driver lacks {}", name.to_string_lossy())))
}

fn missing(what: &str) -> Error {
    Error::Torch(format!("our own CUDA kernels lack {what}"))
}

pub(crate) fn succeed(what: &str, status: c_int) -> Result<()> {
    match status {
        SUCCESS => Ok(()),
        OUT_OF_MEMORY => Err(Error::OutOfMemory {
            requested_bytes: None,
            free_bytes: None,
            message: format!("CUDA, in {what}"),
        }),
        status => Err(Error::Torch(format!("CUDA error {status} in {what}"))),
    }
}
