//! Work for the threads of libtorch's own operators: a second pool would fight them for the cores.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use crate::ffi;

struct Context<F> {
    body: F,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

/// Calls `body` with each number below `num_tasks`, each once, and waits for all. Threads get equal numbers of
/// neighbours. A panic of `body` resumes here.
pub(crate) fn for_each<F: Fn(usize) + Sync>(num_tasks: usize, body: F) {
    let context = Context {
        body,
        panic: Mutex::new(None),
    };
    // SAFETY: the context outlives the call, which waits for every task; it is shared only by reference, and is `Sync`.
    unsafe {
        ffi::snug_parallel(num_tasks, run::<F>, (&raw const context).cast_mut().cast());
    }
    if let Ok(Some(panic)) = context.panic.into_inner() {
        std::panic::resume_unwind(panic);
    }
}

/// Calls `body` with each part of `len` elements and its number; the last part may be shorter.
pub(crate) fn chunks<T: Send, F: Fn(usize, &mut [T]) + Sync>(
    values: &mut [T],
    len: usize,
    body: F,
) {
    let (num, start) = (values.len(), Start(values.as_mut_ptr()));
    for_each(num.div_ceil(len.max(1)), |i| {
        let from = i * len;
        // SAFETY: `from` is below the number of elements.
        let part = unsafe { start.get().add(from) };
        // SAFETY: each task runs once, parts do not overlap and end within the slice, which is borrowed for the call.
        body(i, unsafe {
            std::slice::from_raw_parts_mut(part, len.min(num - from))
        });
    });
}

/// A pointer for tasks that keep out of each other's way.
struct Start<T>(*mut T);

impl<T> Start<T> {
    const fn get(&self) -> *mut T {
        self.0
    }
}

// SAFETY: its only user gives each element to one task.
unsafe impl<T: Send> Sync for Start<T> {}

unsafe extern "C" fn run<F: Fn(usize) + Sync>(context: *mut c_void, index: usize) {
    // SAFETY: the pointer that `for_each` passed, alive until it returns.
    let context = unsafe { &*context.cast_const().cast::<Context<F>>() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (context.body)(index)))
        && let Ok(mut first) = context.panic.lock()
    {
        let _one_of_them = first.get_or_insert(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_task_runs_once() {
        for num in [0, 1, 2, 3, 1000] {
            let runs: Vec<AtomicUsize> = (0..num).map(|_| AtomicUsize::new(0)).collect();
            for_each(num, |i| {
                runs[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|it| it.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn every_element_is_in_one_part() {
        for len in [1, 3, 7, 100] {
            let mut values = vec![0; 50];
            chunks(&mut values, len, |i, part| {
                for value in part {
                    *value += i + 1;
                }
            });
            assert!(values.iter().enumerate().all(|(i, it)| *it == i / len + 1));
        }
        chunks(&mut [0_u8; 0], 0, |_, _| unreachable!());
    }

    #[test]
    fn a_panic_ends_in_the_caller() {
        let panic = catch_unwind(|| for_each(100, |i| assert_ne!(i, 77)));
        assert!(panic.is_err());
    }
}
