//! A CUDA graph: work that was put into a stream once, and is started again as a whole, with the same tensors at the same
//! addresses. It is recorded by the driver; memory comes from a pool of libtorch's allocator that nothing else uses.

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use tch::Device;

use crate::error::check;
use crate::launch::{function, number, succeed};
use crate::{Error, Result, ffi};

/// Only this thread is kept from calls that a capture forbids; others, such as a loader's, go on.
const THREAD_LOCAL: c_uint = 1;

type BeginCapture = unsafe extern "C" fn(*mut c_void, c_uint) -> c_int;
type EndCapture = unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> c_int;
type Instantiate = unsafe extern "C" fn(*mut *mut c_void, *mut c_void, c_ulonglong) -> c_int;
type Destroy = unsafe extern "C" fn(*mut c_void) -> c_int;
type Synchronize = unsafe extern "C" fn() -> c_int;
type Launch = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;

/// The driver's functions for graphs.
#[derive(Clone, Copy, Debug)]
struct Driver {
    begin: BeginCapture,
    end: EndCapture,
    instantiate: Instantiate,
    destroy: Destroy,
    destroy_exec: Destroy,
    launch: Launch,
    synchronize: Synchronize,
}

impl Driver {
    fn find() -> Result<Self> {
        // SAFETY: `CUresult cuStreamBeginCapture(CUstream, CUstreamCaptureMode)`.
        let begin: BeginCapture = unsafe { transmute(function(c"cuStreamBeginCapture")?) };
        // SAFETY: `CUresult cuStreamEndCapture(CUstream, CUgraph*)`.
        let end: EndCapture = unsafe { transmute(function(c"cuStreamEndCapture")?) };
        // SAFETY: `CUresult cuGraphInstantiateWithFlags(CUgraphExec*, CUgraph, unsigned long long)`. The name without
        // flags is that of an older function.
        let instantiate: Instantiate =
            unsafe { transmute(function(c"cuGraphInstantiateWithFlags")?) };
        // SAFETY: `CUresult cuGraphDestroy(CUgraph)`.
        let destroy: Destroy = unsafe { transmute(function(c"cuGraphDestroy")?) };
        // SAFETY: `CUresult cuGraphExecDestroy(CUgraphExec)`.
        let destroy_exec: Destroy = unsafe { transmute(function(c"cuGraphExecDestroy")?) };
        // SAFETY: `CUresult cuGraphLaunch(CUgraphExec, CUstream)`.
        let launch: Launch = unsafe { transmute(function(c"cuGraphLaunch")?) };
        // SAFETY: `CUresult cuCtxSynchronize(void)`.
        let synchronize: Synchronize = unsafe { transmute(function(c"cuCtxSynchronize")?) };
        Ok(Self {
            begin,
            end,
            instantiate,
            destroy,
            destroy_exec,
            launch,
            synchronize,
        })
    }
}

/// Work of one device that can be started again. Its memory is held until it is dropped; tensors made within stay valid
/// for as long as they are held, and each replay writes them anew.
#[derive(Debug)]
#[doc(alias = "CUDAGraph")]
pub struct Graph {
    driver: Driver,
    exec: *mut c_void,
    pool: Pool,
}

// SAFETY: the driver's handles may be used on any thread, and by one at a time.
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `body` does on a device, without doing it, and returns that with what `body` returned. Within, the
    /// host must not wait for the device. Before, everything must have run once, so that libraries have loaded their
    /// kernels and made their choices.
    ///
    /// # Errors
    /// Those of `body`; [`Error::Torch`] if the device cannot record what it did. Nothing is left behind then.
    pub fn capture<T, E: From<Error>>(
        device: Device,
        body: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Self, T), E> {
        let Device::Cuda(index) = device else {
            return Err(Error::InvalidArgument("a CUDA graph needs a GPU".to_owned()).into());
        };
        let index = number(index)?;
        let driver = Driver::find()?;
        let stream = OwnStream::enter(index)?;
        let mut pool = Pool::begin(index, stream.handle)?;
        let recording = Recording::begin(driver, stream.handle)?;
        let outcome = body();
        // Whatever happened, the stream is free again after this.
        let recorded = recording.end();
        let outcome = outcome.and_then(|outcome| {
            pool.end()?;
            let recorded = recorded?;
            let mut exec = ptr::null_mut();
            // SAFETY: a graph that was recorded, and a place that is valid for writes.
            succeed("cuGraphInstantiateWithFlags", unsafe {
                (driver.instantiate)(&raw mut exec, recorded.graph, 0)
            })?;
            Ok((exec, outcome))
        });
        let (exec, outcome) = outcome?;
        Ok((Self { driver, exec, pool }, outcome))
    }

    /// Starts the work on the device's current stream. The host does not wait for it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn replay(&self) -> Result<()> {
        let mut stream = ptr::null_mut();
        // SAFETY: `stream` is valid for writes.
        check(unsafe { ffi::snug_cuda_stream(self.pool.device, &raw mut stream) })?;
        // SAFETY: a graph whose memory is held, and a live stream.
        succeed("cuGraphLaunch", unsafe {
            (self.driver.launch)(self.exec, stream)
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // A launch may still be under way, of which the allocator knows nothing: it would give the memory back.
        // SAFETY: it takes no arguments, and waits in the context that libtorch has made current.
        let _status = unsafe { (self.driver.synchronize)() };
        // SAFETY: an instance that is used no more.
        let _status = unsafe { (self.driver.destroy_exec)(self.exec) };
    }
}

/// Whether this thread records.
pub(crate) fn is_recording() -> bool {
    IS_RECORDING.get()
}

thread_local! {
    static IS_RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// A stream that is recorded until this is dropped.
#[derive(Debug)]
struct Recording {
    driver: Driver,
    stream: *mut c_void,
    is_over: bool,
}

/// What was recorded.
#[derive(Debug)]
struct Recorded {
    driver: Driver,
    graph: *mut c_void,
}

impl Recording {
    fn begin(driver: Driver, stream: *mut c_void) -> Result<Self> {
        // SAFETY: a stream of libtorch's, on which nothing is recorded yet.
        succeed("cuStreamBeginCapture", unsafe {
            (driver.begin)(stream, THREAD_LOCAL)
        })?;
        IS_RECORDING.set(true);
        Ok(Self {
            driver,
            stream,
            is_over: false,
        })
    }

    fn end(mut self) -> Result<Recorded> {
        self.is_over = true;
        self.stop()
    }

    fn stop(&self) -> Result<Recorded> {
        IS_RECORDING.set(false);
        let mut graph = ptr::null_mut();
        // SAFETY: the stream of `begin`, on the same thread, and a place that is valid for writes.
        let status = unsafe { (self.driver.end)(self.stream, &raw mut graph) };
        let recorded = Recorded {
            driver: self.driver,
            graph,
        };
        succeed("cuStreamEndCapture", status).map(|()| recorded)
    }
}

/// After a panic.
impl Drop for Recording {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.stop());
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.graph.is_null() {
            // SAFETY: a graph, of which an instance needs nothing.
            let _status = unsafe { (self.driver.destroy)(self.graph) };
        }
    }
}

/// The thread's current stream is one of its own until this is dropped: the default one cannot be recorded.
#[derive(Debug)]
struct OwnStream {
    device: c_int,
    before: i64,
    handle: *mut c_void,
}

impl OwnStream {
    fn enter(device: c_int) -> Result<Self> {
        let (mut before, mut handle) = (0, ptr::null_mut());
        // SAFETY: both places are valid for writes.
        check(unsafe { ffi::snug_graph_enter_stream(device, &raw mut before, &raw mut handle) })?;
        Ok(Self {
            device,
            before,
            handle,
        })
    }
}

impl Drop for OwnStream {
    fn drop(&mut self) {
        // SAFETY: the stream that was current before.
        let _status = unsafe { ffi::snug_graph_leave_stream(self.device, self.before) };
    }
}

/// Memory of the allocator for what is recorded on one stream.
#[derive(Debug)]
struct Pool {
    device: c_int,
    id: u64,
    is_open: bool,
}

impl Pool {
    fn begin(device: c_int, stream: *mut c_void) -> Result<Self> {
        // Far from the numbers that libtorch gives.
        static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the handle of a stream, which is only compared.
        check(unsafe { ffi::snug_graph_begin_pool(device, id, stream) })?;
        Ok(Self {
            device,
            id,
            is_open: true,
        })
    }

    /// What is allocated from now on is elsewhere.
    fn end(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_open) {
            // SAFETY: plain values; this pool was begun.
            check(unsafe { ffi::snug_graph_end_pool(self.device, self.id) })?;
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ended = self.end();
        // SAFETY: as above; blocks in use stay until they are freed.
        let _status = unsafe { ffi::snug_graph_release_pool(self.device, self.id) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_records_nothing() {
        let outcome = Graph::capture(Device::Cpu, || Ok::<_, Error>(()));
        assert!(matches!(outcome, Err(Error::InvalidArgument(_))));
    }
}
