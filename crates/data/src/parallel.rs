//! Work on many items by several threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{iter, thread};

use super::DataError;
use super::loader::default_workers;

/// Number of errors shown one by one in [`DataError::Several`].
const MAX_SHOWN: usize = 8;

/// A sum of what threads found, in any order.
pub(crate) trait Merge: Default + Send {
    /// Adds what another thread found.
    fn merge(&mut self, other: Self);
}

/// Calls `look` for each of `count` items on `workers` threads (0: [`default_workers`]), and puts
/// together what it added to its first argument. `progress` is called with (done, all) after each
/// item, from any of the threads.
///
/// # Errors
/// The error of a single item, or [`DataError::Several`].
pub(crate) fn gather<T: Merge>(
    count: usize,
    workers: usize,
    progress: impl Fn(usize, usize) + Sync,
    look: impl Fn(&mut T, usize) -> Result<(), DataError> + Sync,
) -> Result<T, DataError> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results = on_threads(workers, count, || {
        let (mut found, mut errors) = (T::default(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return (found, errors);
            }
            if let Err(error) = look(&mut found, index) {
                errors.push((index, error));
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
        }
    });
    let (mut found, mut errors) = (T::default(), Vec::new());
    for (part, wrong) in results {
        found.merge(part);
        errors.extend(wrong);
    }
    errors.sort_by_key(|(index, _)| *index);
    let count = errors.len();
    let mut errors = errors.into_iter().map(|(_, error)| error);
    match (count, errors.next()) {
        (_, None) => Ok(found),
        (1, Some(error)) => Err(error),
        (_, Some(first)) => Err(DataError::Several {
            count,
            shown: iter::once(first).chain(errors).take(MAX_SHOWN).collect(),
        }),
    }
}

/// The results of `work` for `items`, in their order.
///
/// # Errors
/// The first error in the order of the items. Items that come after an error may be left undone.
pub(crate) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results = on_threads(0, items.len(), || {
        let mut results = Vec::new();
        while !has_failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
            results.push((index, result));
        }
        results
    });
    let mut results: Vec<_> = results.into_iter().flatten().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The results of `run` on `workers` threads (0: [`default_workers`]), but no more than `count`. The
/// calling thread is one of them.
fn on_threads<R: Send>(workers: usize, count: usize, run: impl Fn() -> R + Sync) -> Vec<R> {
    let workers = if workers == 0 {
        default_workers()
    } else {
        workers
    };
    let run = &run;
    thread::scope(|scope| {
        let threads: Vec<_> = (1..workers.min(count)).map(|_| scope.spawn(run)).collect();
        let mut results = vec![run()];
        for thread in threads {
            results.push(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        results
    })
}
