//! A group of processes, and operations between them.

use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use tch::Tensor;

use super::failure::ABORTED;
use super::{Failure, Store, c_string, made, milliseconds};
use crate::library::{CudaLibrary, open_cuda};
use crate::ops::{MemoryFormat, is_contiguous_in, raw};
use crate::{Error, Result, error::check, ffi};

/// The place of this process in a group.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// The group's own part of the store. No two groups may have the same, not even one after the other: the addresses
    /// of the earlier one are still there.
    pub prefix: &'a str,
    /// The number of this process, from 0.
    pub rank: usize,
    /// How many processes there are.
    pub size: usize,
    /// How long to wait for the others when the group is made, and in each operation.
    pub timeout: Duration,
}

/// A connection between all processes of a group. Every process calls the same operations in the same order.
///
/// The first failure ends the group and closes its connections, so that it reaches all processes: what follows is
/// [`Failure::Dead`]. The store still works then, as does a new group under another prefix. Dropping a group waits for
/// operations under way, unless it is dead.
#[derive(Debug)]
#[doc(alias = "ProcessGroup")]
pub struct Group {
    connection: Arc<Connection>,
    rank: usize,
    size: usize,
    /// The order of operations counts, so threads may not share a group.
    not_sync: PhantomData<Cell<()>>,
}

/// The shim's group, and its first failure.
#[derive(Debug)]
struct Connection {
    raw: NonNull<ffi::RawGroup>,
    fate: OnceLock<String>,
}

// SAFETY: c10d's groups belong to no thread.
unsafe impl Send for Connection {}
// SAFETY: operations begin through a `Group`, which is not `Sync`; any thread may end the group.
unsafe impl Sync for Connection {}

impl Connection {
    fn abort(&self, reason: String) -> Result<()> {
        if self.fate.set(reason).is_err() {
            return Ok(());
        }
        // SAFETY: a live group.
        check(unsafe { ffi::snug_group_abort(self.raw.as_ptr()) })
    }

    /// Turns a status into a result. An error ends the group at once, or other processes would wait for this one.
    fn checked(&self, status: i32) -> Result<()> {
        check(status).map_err(|error| {
            let error = error.between_processes();
            // The failure to report is the first one.
            drop(self.abort(error.to_string()));
            error
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the shim's group, which nobody uses after this.
        unsafe { ffi::snug_group_delete(self.raw.as_ptr()) };
    }
}

impl Group {
    /// Connects processes by Gloo, for tensors on the CPU. `interface` names the network interface, such as `eth0`;
    /// without it Gloo takes `GLOO_SOCKET_IFNAME`, or else the interface to which the name of the host resolves. If
    /// that is the loopback, processes of other machines cannot connect.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] with the ranks that did not come within the timeout. A prefix that this rank has
    /// used before is refused.
    #[doc(alias = "ProcessGroupGloo")]
    pub fn gloo(store: &Store, member: &Member<'_>, interface: Option<&str>) -> Result<Self> {
        let interface = interface.map(c_string).transpose()?;
        let interface = interface.as_deref().map_or(ptr::null(), CStr::as_ptr);
        Self::join(store, member, |store, rank, size, timeout_ms, out| {
            // SAFETY: a live store, a NUL-terminated string or null, and `out` is valid for writes.
            unsafe { ffi::snug_group_gloo(store, rank, size, timeout_ms, interface, out) }
        })
    }

    /// Makes a group of NCCL, for tensors on the GPU number `device` of this process. NCCL connects in the first
    /// operation. libtorch's watchdog ends the process when an operation takes longer than the timeout
    /// (`TORCH_NCCL_ASYNC_ERROR_HANDLING`).
    ///
    /// # Errors
    /// [`Failure::NoNccl`] without a GPU or without libtorch's CUDA half, or as [`gloo`](Self::gloo).
    #[doc(alias = "ProcessGroupNCCL")]
    pub fn nccl(store: &Store, member: &Member<'_>, device: usize) -> Result<Self> {
        let missing = match open_cuda() {
            CudaLibrary::Open => None,
            CudaLibrary::Absent => Some("this libtorch has no CUDA half".to_owned()),
            CudaLibrary::Broken(message) => Some(message.clone()),
        };
        if let Some(message) = missing {
            return Err(Failure::NoNccl { message }.into());
        }
        let device = number(device)?;
        Self::join(store, member, |store, rank, size, timeout_ms, out| {
            // SAFETY: a live store, and `out` is valid for writes.
            unsafe { ffi::snug_group_nccl(store, rank, size, timeout_ms, device, out) }
        })
    }

    fn join(
        store: &Store,
        member: &Member<'_>,
        make: impl FnOnce(*mut ffi::RawStore, i32, i32, i64, *mut *mut ffi::RawGroup) -> i32,
    ) -> Result<Self> {
        let Member { rank, size, .. } = *member;
        has_rank(size, rank)?;
        let store = store.prefix(member.prefix)?;
        meet(&store, member)?;
        let mut out = ptr::null_mut();
        let status = make(
            store.as_raw(),
            number(rank)?,
            number(size)?,
            milliseconds(member.timeout),
            &raw mut out,
        );
        check(status).map_err(Error::between_processes)?;
        let connection = Connection {
            raw: made(out)?,
            fate: OnceLock::new(),
        };
        Ok(Self {
            connection: Arc::new(connection),
            rank,
            size,
            not_sync: PhantomData,
        })
    }

    /// The number of this process in the group, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many processes the group has.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Why the group has ended, if it has.
    pub fn ended(&self) -> Option<&str> {
        self.connection.fate.get().map(String::as_str)
    }

    /// Starts to replace the elements of `tensor` by their sums over all processes: the same bits everywhere, and with
    /// two processes those of `a + b`. With more, the order of the sum is the library's own.
    ///
    /// `tensor` is contiguous (see [`flat_view`]). It may be neither read nor written until the work has ended.
    /// Its dtype and its number of elements must be equal in all processes: Gloo does not check that, and ends the
    /// process if they differ.
    ///
    /// # Errors
    /// [`Failure::Dead`], or if the tensor is not contiguous or the backend does not take its dtype.
    pub fn all_reduce_sum(&self, tensor: &mut Tensor) -> Result<Work> {
        contiguous(tensor)?;
        self.start((), |group, out| {
            // SAFETY: a live group and a live tensor, and `out` is valid for writes.
            unsafe { ffi::snug_group_all_reduce_sum(group, raw(tensor), out) }
        })
    }

    /// Starts to collect the elements of `tensor` from all processes: the result is one-dimensional, in the order of
    /// ranks. The same holds for `tensor` as in [`all_reduce_sum`](Self::all_reduce_sum).
    ///
    /// # Errors
    /// As there, or if memory runs out.
    #[doc(alias = "all_gather_into_tensor")]
    pub fn all_gather(&self, tensor: &Tensor) -> Result<Work<Tensor>> {
        contiguous(tensor)?;
        // Gloo compares the dimensions of both.
        let input = flat_view(tensor)?;
        let len = i64::from(number(self.size)?) * i64::try_from(tensor.numel()).unwrap_or(i64::MAX);
        let output = Tensor::f_empty([len], (tensor.kind(), tensor.device()))?;
        let into = raw(&output);
        self.start(output, |group, out| {
            // SAFETY: a live group and live tensors, and `out` is valid for writes.
            unsafe { ffi::snug_group_all_gather(group, raw(&input), into, out) }
        })
    }

    /// Starts to copy the elements of `tensor` from the process `root` to all others. The same holds for `tensor` as in
    /// [`all_reduce_sum`](Self::all_reduce_sum).
    ///
    /// # Errors
    /// As there, or if there is no rank `root`.
    pub fn broadcast(&self, tensor: &mut Tensor, root: usize) -> Result<Work> {
        contiguous(tensor)?;
        has_rank(self.size, root)?;
        let root = number(root)?;
        self.start((), |group, out| {
            // SAFETY: a live group and a live tensor, and `out` is valid for writes.
            unsafe { ffi::snug_group_broadcast(group, raw(tensor), root, out) }
        })
    }

    /// Starts a barrier: the work ends when every process has started it.
    ///
    /// # Errors
    /// [`Failure::Dead`].
    pub fn barrier(&self) -> Result<Work> {
        self.start((), |group, out| {
            // SAFETY: a live group, and `out` is valid for writes.
            unsafe { ffi::snug_group_barrier(group, out) }
        })
    }

    /// Ends the group at once: operations under way fail here, and in processes that wait for this one.
    ///
    /// # Errors
    /// If the backend refuses.
    pub fn abort(&self) -> Result<()> {
        self.connection.abort(ABORTED.to_owned())
    }

    fn start<T>(
        &self,
        output: T,
        begin: impl FnOnce(*mut ffi::RawGroup, *mut *mut ffi::RawWork) -> i32,
    ) -> Result<Work<T>> {
        if let Some(reason) = self.ended() {
            let reason = reason.to_owned();
            return Err(Failure::Dead { reason }.into());
        }
        let mut out = ptr::null_mut();
        let status = begin(self.connection.raw.as_ptr(), &raw mut out);
        self.connection.checked(status)?;
        Ok(Work {
            handle: Handle(made(out)?),
            group: Arc::downgrade(&self.connection),
            output,
        })
    }
}

/// An operation under way, with what it will return.
#[derive(Debug)]
#[must_use = "an operation has not ended before `wait` has returned"]
pub struct Work<T = ()> {
    handle: Handle,
    /// Weak, so that dropping the group closes its connections.
    group: Weak<Connection>,
    output: T,
}

impl<T> Work<T> {
    /// Waits for the end of the operation. Without a timeout this waits as long as the group allows; NCCL then lets
    /// the GPU's current stream wait, and not this thread.
    ///
    /// # Errors
    /// [`Failure::PeerGone`] or [`Failure::TimedOut`], which end the group.
    pub fn wait(self, timeout: Option<Duration>) -> Result<T> {
        let timeout_ms = timeout.map_or(0, milliseconds);
        // SAFETY: a live operation.
        let status = unsafe { ffi::snug_work_wait(self.handle.0.as_ptr(), timeout_ms) };
        self.checked(status)?;
        Ok(self.output)
    }

    /// Whether the operation has ended, with or without success.
    ///
    /// # Errors
    /// If CUDA reports an error.
    pub fn is_completed(&self) -> Result<bool> {
        let mut completed = 0;
        // SAFETY: a live operation, and `completed` is valid for writes.
        let status =
            unsafe { ffi::snug_work_is_completed(self.handle.0.as_ptr(), &raw mut completed) };
        self.checked(status)?;
        Ok(completed != 0)
    }

    fn checked(&self, status: i32) -> Result<()> {
        match self.group.upgrade() {
            Some(group) => group.checked(status),
            None => check(status).map_err(Error::between_processes),
        }
    }
}

#[derive(Debug)]
struct Handle(NonNull<ffi::RawWork>);

// SAFETY: c10d's operations belong to no thread.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the shim's operation, which nobody uses after this. If it is under way, c10d keeps it.
        unsafe { ffi::snug_work_delete(self.0.as_ptr()) };
    }
}

/// All elements of `tensor` as a contiguous one-dimensional tensor on the same memory, in the order of memory. So
/// operations change a channels-last tensor in place. They do not know what an element is, so the strides of `tensor`
/// must be equal in all processes.
///
/// # Errors
/// If there are gaps between its elements.
pub fn flat_view(tensor: &Tensor) -> Result<Tensor> {
    let mut out = ptr::null_mut();
    // SAFETY: a live tensor, and `out` is valid for writes.
    check(unsafe { ffi::snug_flat_view(raw(tensor), &raw mut out) })?;
    // SAFETY: the shim made a new tensor, whose owner is now the caller.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Announces this process, and waits for all others: who is missing is known by name, before anything connects.
fn meet(store: &Store, member: &Member<'_>) -> Result<()> {
    let key = |rank: usize| format!("here/{rank}");
    if store.add(&key(member.rank), 1)? != 1 {
        return Err(Error::InvalidArgument(format!(
            "rank {} was in a group `{}` before: each group needs a prefix of its own",
            member.rank, member.prefix
        )));
    }
    let start = Instant::now();
    for rank in 0..member.size {
        let left = member.timeout.saturating_sub(start.elapsed());
        match store.get(&key(rank), left) {
            Ok(_) => {}
            Err(Error::Distributed(Failure::TimedOut { .. })) => {
                let mut ranks = Vec::new();
                for rank in rank..member.size {
                    if !store.check(&key(rank))? {
                        ranks.push(rank);
                    }
                }
                return Err(absent(ranks, member).into());
            }
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

fn absent(ranks: Vec<usize>, member: &Member<'_>) -> Failure {
    let numbers: Vec<_> = ranks.iter().map(usize::to_string).collect();
    let numbers = numbers.join(", ");
    let who = if ranks.len() == 1 {
        format!("rank {numbers}")
    } else {
        format!("ranks {numbers}")
    };
    let message = format!(
        "missing from the group `{}` after {} s",
        member.prefix,
        member.timeout.as_secs_f64()
    );
    Failure::Unreachable {
        who,
        ranks,
        message,
    }
}

/// Refuses strides that could differ between processes without anybody noticing.
fn contiguous(tensor: &Tensor) -> Result<()> {
    if tensor.defined() && is_contiguous_in(tensor, MemoryFormat::Contiguous) {
        return Ok(());
    }
    Err(Error::InvalidArgument(
        "processes exchange contiguous tensors: pass the tensor's `flat_view`".to_owned(),
    ))
}

fn has_rank(size: usize, rank: usize) -> Result<()> {
    if rank < size {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "a group of {size} processes has no rank {rank}"
    )))
}

fn number(value: usize) -> Result<i32> {
    i32::try_from(value)
        .map_err(|_too_large| Error::InvalidArgument(format!("{value} is too large")))
}
