//! Every allocation and release of the counting allocator over a stretch of time, with the
//! operator that made it. Memory timelines are drawn from this.

use std::cell::RefCell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::time::Duration;

use crate::{Result, error::check, ffi};

/// One allocation, or one release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Id of the allocation, increasing over the process.
    pub id: u64,
    /// Its size.
    pub bytes: u64,
    /// Time since the record was opened.
    pub at: Duration,
    /// Whether this is the release.
    pub released: bool,
    /// Index into [`Record::names`]: the outermost operator, or the backward node.
    pub operator: u32,
    /// Index into [`Record::names`]: the label from [`Labels::set`].
    pub label: u32,
}

thread_local! {
    /// The marks of this thread's record, if one is open.
    static MARKS: RefCell<Option<Vec<(&'static str, usize)>>> = const { RefCell::new(None) };
}

/// Marks this moment of this thread's record with a name, such as a phase of a step. Without a record, this does
/// nothing.
pub fn mark(name: &'static str) {
    MARKS.with_borrow_mut(|marks| {
        if let Some(marks) = marks {
            // SAFETY: takes no arguments.
            marks.push((name, unsafe { ffi::snug_record_len() }));
        }
    });
}

/// A finished record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// All events, in order.
    pub events: Vec<Event>,
    /// Names of operators and labels; the first is empty.
    pub names: Vec<String>,
    /// Each [`mark`] with the number of events before it.
    pub marks: Vec<(&'static str, usize)>,
}

/// A record in progress. Operators are named on the thread that opened it and in the backward
/// passes that this thread starts. A process has at most one record at a time.
#[derive(Debug)]
pub struct Recording {
    /// libtorch's callback belongs to the thread.
    not_send: PhantomData<*const ()>,
}

impl Recording {
    /// Opens a record.
    ///
    /// # Errors
    /// If another record is in progress.
    pub fn begin() -> Result<Self> {
        // SAFETY: takes no arguments.
        check(unsafe { ffi::snug_record_begin() })?;
        MARKS.set(Some(Vec::new()));
        Ok(Self {
            not_send: PhantomData,
        })
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        // SAFETY: takes no arguments.
        unsafe { ffi::snug_record_len() }
    }

    /// Whether nothing has been allocated or released yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the record.
    ///
    /// # Errors
    /// If libtorch refuses to remove the callback.
    pub fn finish(self) -> Result<Record> {
        // SAFETY: takes no arguments.
        check(unsafe { ffi::snug_record_end() })?;
        let events = (0..self.len())
            .map(|i| self.event(i))
            .collect::<Result<_>>()?;
        let names = (0..).map_while(|i| self.name(i)).collect();
        let marks = MARKS.take().unwrap_or_default();
        Ok(Record {
            events,
            names,
            marks,
        })
    }

    #[expect(
        clippy::unused_self,
        reason = "events are valid only while a recording exists"
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
        reason = "names are valid only while a recording exists"
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
        MARKS.set(None);
        // SAFETY: takes no arguments.
        unsafe { ffi::snug_record_release() };
    }
}

/// Labels the allocations of this thread until it is dropped, also if something fails in between.
#[derive(Debug)]
pub struct Labels {
    not_send: PhantomData<*const ()>,
}

impl Labels {
    /// Makes a labeller. It labels nothing before [`Labels::set`].
    pub fn begin() -> Self {
        Self {
            not_send: PhantomData,
        }
    }

    /// Labels this thread's allocations from here on. `name` is called only if a record is open.
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
