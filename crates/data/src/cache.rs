//! Keeps decoded samples in memory as far as they fit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{DataError, Sample};

/// One slot per sample. A slot is filled once and never emptied. Samples that did not fit
/// are loaded again each time, so that every epoch takes the same time.
#[derive(Debug)]
pub(crate) struct Cache {
    slots: Vec<OnceLock<Arc<Sample>>>,
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl Cache {
    pub(crate) fn new(samples: usize, limit_bytes: u64) -> Self {
        let slots = (0..samples).map(|_| OnceLock::new()).collect();
        Self {
            slots,
            limit_bytes,
            used_bytes: AtomicU64::new(0),
        }
    }

    /// The sample at `index`, from memory or from `load`.
    pub(crate) fn get_or_load(
        &self,
        index: usize,
        load: impl FnOnce() -> Result<Sample, DataError>,
    ) -> Result<Arc<Sample>, DataError> {
        let slot = &self.slots[index];
        if let Some(sample) = slot.get() {
            return Ok(Arc::clone(sample));
        }
        let sample = Arc::new(load()?);
        let bytes = (sample.image.len() + sample.mask.len()) as u64;
        let room = self
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes)
                    .filter(|&sum| sum <= self.limit_bytes)
            });
        // Two workers may have loaded the same sample: return the space of the second one.
        if room.is_ok() && slot.set(Arc::clone(&sample)).is_err() {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(sample)
    }

    #[cfg(test)]
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: u8) -> Sample {
        Sample {
            image: vec![value; 3],
            mask: vec![0],
        }
    }

    #[test]
    fn samples_that_do_not_fit_are_loaded_again() {
        let cache = Cache::new(3, 8);
        for index in 0..3 {
            cache.get_or_load(index, || Ok(sample(1))).unwrap();
        }
        assert_eq!(cache.used_bytes(), 8);
        let again = |index| cache.get_or_load(index, || Ok(sample(2))).unwrap().image[0];
        assert_eq!([again(0), again(1), again(2)], [1, 1, 2]);
    }

    #[test]
    fn an_error_is_not_cached() {
        let cache = Cache::new(1, 100);
        assert!(cache.get_or_load(0, || Err(DataError::EmptyBatch)).is_err());
        assert!(cache.get_or_load(0, || Ok(sample(1))).is_ok());
    }
}
