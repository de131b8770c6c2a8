//! Every allocation and release of the counting allocator over a stretch of time, with the
//! operator that made it: what a memory timeline is drawn from.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::time::Duration;

use crate::{Result, error::check, ffi};

/// One allocation, or one release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Number of the allocation, in the order of the process.
    pub id: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Since the record was opened.
    pub at: Duration,
    /// Whether it is the release.
    pub released: bool,
    /// Index into [`Record::names`]: the outermost operator, or the backward node.
    pub operator: u32,
    /// Index into [`Record::names`]: what [`Labels::set`] said.
    pub label: u32,
}

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// In order.
    pub events: Vec<Event>,
    /// Names of operators and labels; the first is empty.
    pub names: Vec<String>,
}

/// A record under way. Operators have names on the thread that opened it and in the backward
/// passes that it starts. One at a time in a process.
#[derive(Debug)]
pub struct Recording {
    /// libtorch's callback belongs to the thread.
    not_send: PhantomData<*const ()>,
}

impl Recording {
    /// Opens a record.
    ///
    /// # Errors
    /// Where there is one already.
    pub fn begin() -> Result<Self> {
        // SAFETY: takes no arguments.
        check(unsafe { ffi::snug_record_begin() })?;
        Ok(Self {
            not_send: PhantomData,
        })
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        // SAFETY: takes no arguments.
        unsafe { ffi::snug_record_len() }
    }

    /// Whether nothing was allocated or released yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes it.
    ///
    /// # Errors
    /// Where libtorch refuses to remove the callback.
    pub fn finish(self) -> Result<Record> {
        // SAFETY: takes no arguments.
        check(unsafe { ffi::snug_record_end() })?;
        let events = (0..self.len())
            .map(|i| self.event(i))
            .collect::<Result<_>>()?;
        let names = (0..).map_while(|i| self.name(i)).collect();
        Ok(Record { events, names })
    }

    #[expect(
        clippy::unused_self,
        reason = "there are events while there is a recording"
    )]
    fn event(&self, index: usize) -> Result<Event> {
        let mut raw = ffi::Event::default();
        // SAFETY: `raw` is valid for writes.
        check(unsafe { ffi::snug_record_event(index, &raw mut raw) })?;
        Ok(Event {
            id: raw.id,
            bytes: raw.bytes,
            at: Duration::from_nanos(raw.nanoseconds),
            released: raw.released != 0,
            operator: raw.operator_name,
            label: raw.label,
        })
    }

    #[expect(
        clippy::unused_self,
        reason = "there are names while there is a recording"
    )]
    fn name(&self, index: u32) -> Option<String> {
        // SAFETY: plain value.
        let name = unsafe { ffi::snug_record_name(index) };
        if name.is_null() {
            return None;
        }
        // SAFETY: not null, and valid until the record is released, which `self` does when dropped.
        let name = unsafe { CStr::from_ptr(name) };
        Some(name.to_string_lossy().into_owned())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: takes no arguments.
        unsafe { ffi::snug_record_release() };
    }
}

/// Labels what this thread does until it is dropped, whatever fails in between.
#[derive(Debug)]
pub struct Labels {
    not_send: PhantomData<*const ()>,
}

impl Labels {
    /// Begins to label: [`Labels::set`] names what comes.
    pub fn begin() -> Self {
        Self {
            not_send: PhantomData,
        }
    }

    /// Names what this thread does from here on, where a record is open: `name` is called only
    /// then.
    pub fn set(&self, name: impl FnOnce() -> String) {
        // SAFETY: takes no arguments.
        if unsafe { ffi::snug_record_is_open() } != 0 {
            write(&name());
        }
    }
}

impl Drop for Labels {
    fn drop(&mut self) {
        self.set(String::new);
    }
}

fn write(label: &str) {
    // SAFETY: the shim copies `len` bytes.
    unsafe { ffi::snug_record_label(label.as_ptr().cast(), label.len()) };
}
