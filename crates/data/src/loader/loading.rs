//! What loading samples takes, by kind.

use std::cell::Cell;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    /// Time that this thread spent reading files and has not reported yet.
    static READING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// What loading took, summed over worker threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Samples loaded.
    pub samples: u64,
    /// Waiting for files.
    pub reading: Duration,
    /// Decoding, resizing and varying.
    pub decoding: Duration,
}

impl AddAssign for Loading {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.reading += other.reading;
        self.decoding += other.decoding;
    }
}

/// Adds the time of `read` to what this thread spent reading.
pub(crate) fn reading<T>(read: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let read = read();
    READING.with(|sum| sum.set(sum.get() + begun.elapsed()));
    read
}

/// The sums of several threads, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct LoadingSums {
    samples: AtomicU64,
    reading: AtomicU64,
    decoding: AtomicU64,
}

impl LoadingSums {
    /// Adds a sample, whose loading began at `begun`.
    pub(super) fn add_since(&self, begun: Instant) {
        let reading = READING.with(Cell::take);
        let all = begun.elapsed();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.samples.fetch_add(1, Ordering::Relaxed);
        self.reading.fetch_add(nanos(reading), Ordering::Relaxed);
        let decoding = nanos(all.saturating_sub(reading));
        self.decoding.fetch_add(decoding, Ordering::Relaxed);
    }

    pub(super) fn sum(&self) -> Loading {
        let time = |sum: &AtomicU64| Duration::from_nanos(sum.load(Ordering::Relaxed));
        Loading {
            samples: self.samples.load(Ordering::Relaxed),
            reading: time(&self.reading),
            decoding: time(&self.decoding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_told_from_decoding() {
        let sums = LoadingSums::default();
        let begun = Instant::now();
        let spin = |millis| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(millis) {
                std::hint::spin_loop();
            }
        };
        reading(|| spin(6));
        spin(3);
        sums.add_since(begun);
        // Nothing of an earlier sample is counted again.
        sums.add_since(Instant::now());
        let Loading {
            samples,
            reading,
            decoding,
        } = sums.sum();
        assert_eq!(samples, 2);
        assert!(reading >= Duration::from_millis(6) && decoding >= Duration::from_millis(3));
        assert!(reading + decoding <= begun.elapsed());
    }
}
