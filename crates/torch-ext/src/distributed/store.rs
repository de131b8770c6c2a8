//! A store: bytes by name, which all processes of a run see.

use std::ptr::{self, NonNull};
use std::time::Duration;

use super::{Failure, c_string, made, milliseconds};
use crate::{Error, Result, error::check, ffi};

/// Bytes by name, which several processes or threads share.
///
/// Several threads may use one. But while one thread waits in [`get`](Self::get) on a store over TCP, the others
/// wait too, so a rank that is a thread needs a connection of its own.
#[derive(Debug)]
#[doc(alias = "TCPStore")]
pub struct Store {
    raw: NonNull<ffi::RawStore>,
    port: Option<u16>,
}

// SAFETY: c10d's stores may be used from any thread.
unsafe impl Send for Store {}
// SAFETY: they lock themselves for each operation.
unsafe impl Sync for Store {}

impl Store {
    /// Serves a store on `port` of all network interfaces until this is dropped; 0 is any free port. `host` is a name
    /// of this machine, by which this process connects to it as well.
    ///
    /// # Errors
    /// [`Failure::PortTaken`], or as [`connect`](Self::connect).
    pub fn serve(host: &str, port: u16, timeout: Duration) -> Result<Self> {
        Self::over_tcp(host, port, true, timeout)
    }

    /// Connects to the store that another process serves, which may start later, but within `timeout`.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] if there is none.
    pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<Self> {
        Self::over_tcp(host, port, false, timeout)
    }

    fn over_tcp(host: &str, port: u16, serve: bool, timeout: Duration) -> Result<Self> {
        let name = c_string(host)?;
        let (mut out, mut bound) = (ptr::null_mut(), 0);
        // SAFETY: a NUL-terminated string, and both results are valid for writes.
        let status = unsafe {
            ffi::snug_store_tcp(
                name.as_ptr(),
                port,
                i32::from(serve),
                milliseconds(timeout),
                &raw mut out,
                &raw mut bound,
            )
        };
        checked(status).map_err(|error| at_address(error, host, port))?;
        Self::owned(out, Some(bound))
    }

    /// A store for the threads of this process. `timeout` bounds what a [`Group`](super::Group) waits for in it.
    ///
    /// # Errors
    /// If memory runs out.
    #[doc(alias = "HashStore")]
    pub fn in_process(timeout: Duration) -> Result<Self> {
        let mut out = ptr::null_mut();
        // SAFETY: `out` is valid for writes.
        checked(unsafe { ffi::snug_store_in_process(milliseconds(timeout), &raw mut out) })?;
        Self::owned(out, None)
    }

    /// The same store with `prefix/` before every key. It keeps the connection open.
    ///
    /// # Errors
    /// If `prefix` contains a NUL byte.
    #[doc(alias = "PrefixStore")]
    pub fn prefix(&self, prefix: &str) -> Result<Self> {
        let prefix = c_string(prefix)?;
        let mut out = ptr::null_mut();
        // SAFETY: a live store, a NUL-terminated string, and `out` is valid for writes.
        checked(unsafe { ffi::snug_store_prefix(self.as_raw(), prefix.as_ptr(), &raw mut out) })?;
        Self::owned(out, self.port)
    }

    fn owned(raw: *mut ffi::RawStore, port: Option<u16>) -> Result<Self> {
        let raw = made(raw)?;
        Ok(Self { raw, port })
    }

    pub(super) fn as_raw(&self) -> *mut ffi::RawStore {
        self.raw.as_ptr()
    }

    /// The port of a store over TCP.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Sets a key, whether it exists or not. Over TCP this returns before others see it.
    ///
    /// # Errors
    /// [`Failure::PeerGone`] if nobody serves the store any longer. The same holds for all other methods.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let key = c_string(key)?;
        // SAFETY: a live store, a NUL-terminated string, and `len` readable bytes.
        checked(unsafe {
            ffi::snug_store_set(self.as_raw(), key.as_ptr(), value.as_ptr(), value.len())
        })
    }

    /// The value of a key, for which this waits until `timeout`.
    ///
    /// # Errors
    /// [`Failure::TimedOut`] if nobody sets the key.
    pub fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>> {
        let key = c_string(key)?;
        let (mut value, mut len) = (ptr::null(), 0);
        // SAFETY: a live store, a NUL-terminated string, and both results are valid for writes.
        let status = unsafe {
            ffi::snug_store_get(
                self.as_raw(),
                key.as_ptr(),
                milliseconds(timeout),
                &raw mut value,
                &raw mut len,
            )
        };
        checked(status)?;
        if value.is_null() || len == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: `len` bytes, which the shim keeps until the next call on this thread.
        Ok(unsafe { std::slice::from_raw_parts(value, len) }.to_vec())
    }

    /// The value of a key, if it exists now.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn try_get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        if !self.check(key)? {
            return Ok(None);
        }
        match self.get(key, Duration::from_millis(1)) {
            // Deleted in between.
            Err(Error::Distributed(Failure::TimedOut { .. })) => Ok(None),
            value => value.map(Some),
        }
    }

    /// Whether a key exists.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn check(&self, key: &str) -> Result<bool> {
        let key = c_string(key)?;
        let mut found = 0;
        // SAFETY: a live store, a NUL-terminated string, and `found` is valid for writes.
        checked(unsafe { ffi::snug_store_check(self.as_raw(), key.as_ptr(), &raw mut found) })?;
        Ok(found != 0)
    }

    /// Adds to a counter, which starts at 0, and returns the sum. Its value is the sum in decimal digits.
    ///
    /// # Errors
    /// As [`set`](Self::set), or if the key holds something else than a counter.
    pub fn add(&self, key: &str, delta: i64) -> Result<i64> {
        let key = c_string(key)?;
        let mut sum = 0;
        // SAFETY: a live store, a NUL-terminated string, and `sum` is valid for writes.
        checked(unsafe { ffi::snug_store_add(self.as_raw(), key.as_ptr(), delta, &raw mut sum) })?;
        Ok(sum)
    }

    /// Deletes a key, and returns whether it existed.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn delete(&self, key: &str) -> Result<bool> {
        let key = c_string(key)?;
        let mut found = 0;
        // SAFETY: a live store, a NUL-terminated string, and `found` is valid for writes.
        checked(unsafe { ffi::snug_store_remove(self.as_raw(), key.as_ptr(), &raw mut found) })?;
        Ok(found != 0)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the shim's store, which nobody uses after this.
        unsafe { ffi::snug_store_delete(self.raw.as_ptr()) };
    }
}

fn checked(status: i32) -> Result<()> {
    check(status).map_err(Error::between_processes)
}

fn at_address(error: Error, host: &str, port: u16) -> Error {
    match error {
        Error::Distributed(Failure::Unreachable { message, .. }) => Failure::Unreachable {
            who: format!("the store at {host}:{port}"),
            ranks: Vec::new(),
            message,
        }
        .into(),
        other => other,
    }
}
