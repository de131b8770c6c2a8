use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::{Sample, verify};

/// Samples of 2x3 pixels that hold their index; some of them fail or panic.
#[derive(Default)]
struct Numbered {
    len: usize,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
    loads: AtomicUsize,
}

impl Numbered {
    fn new(len: usize) -> Self {
        Self {
            len,
            ..Self::default()
        }
    }
}

impl Source for Numbered {
    fn len(&self) -> usize {
        self.len
    }

    fn size(&self) -> (usize, usize) {
        (2, 3)
    }

    fn name(&self, index: usize) -> String {
        format!("number-{index}")
    }

    fn load(&self, index: usize) -> Result<Sample, DataError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        assert_ne!(self.panics_at, Some(index), "planted");
        if self.fails_at == Some(index) {
            return Err(DataError::Corrupt {
                path: self.name(index).into(),
                reason: "planted".into(),
            });
        }
        let value = u8::try_from(index % 200).unwrap();
        Ok(Sample {
            image: (0..18).map(|i| value + i).collect(),
            mask: vec![0, 1, 0, 0, 1, 1],
        })
    }
}

fn loader(source: Numbered, config: LoaderConfig) -> Loader {
    Loader::new(Arc::new(source), config).unwrap()
}

/// Everything that the step receives in an epoch.
fn content(loader: &Loader, epoch: u64) -> Vec<(Vec<usize>, Vec<u8>, Vec<u8>)> {
    let batches = loader.epoch(epoch).map(|batch| batch.unwrap());
    batches
        .map(|b| (b.indices.clone(), b.images.clone(), b.masks.clone()))
        .collect()
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let config = LoaderConfig {
        batch: 4,
        shuffle: true,
        augment: true,
        ..Default::default()
    };
    let with = |workers, prefetch| {
        let config = LoaderConfig {
            workers,
            prefetch,
            ..config
        };
        let loader = loader(Numbered::new(30), config);
        [content(&loader, 0), content(&loader, 1)]
    };
    let one = with(1, 0);
    assert_eq!(one, with(3, 2));
    assert_eq!(one, with(7, 50));
    // The comparison above can fail: epochs differ in order, and augmentation is on.
    assert_ne!(one[0], one[1]);
    let plain = loader(
        Numbered::new(30),
        LoaderConfig {
            augment: false,
            ..config
        },
    );
    assert_ne!(one[0][0].1, content(&plain, 0)[0].1);
}

#[test]
fn batches_have_the_configured_size() {
    let config = LoaderConfig {
        batch: 4,
        workers: 2,
        ..Default::default()
    };
    let full = loader(Numbered::new(10), config);
    let mut epoch = full.epoch(0);
    assert_eq!((full.num_batches(), epoch.len()), (3, 3));
    let first = epoch.next().unwrap().unwrap();
    assert_eq!((first.len, first.height, first.width), (4, 2, 3));
    assert_eq!((first.images.len(), first.masks.len()), (4 * 6 * 3, 4 * 6));
    assert_eq!(first.indices, [0, 1, 2, 3]);
    assert_eq!(epoch.len(), 2);
    assert_eq!(epoch.last().unwrap().unwrap().len, 2);

    let dropping = loader(
        Numbered::new(10),
        LoaderConfig {
            drop_last: true,
            ..config
        },
    );
    assert_eq!((dropping.num_batches(), dropping.epoch(0).count()), (2, 2));
    let small = loader(
        Numbered::new(3),
        LoaderConfig {
            drop_last: true,
            ..config
        },
    );
    assert_eq!(small.epoch(0).count(), 0);
    assert_eq!(loader(Numbered::new(0), config).epoch(0).count(), 0);
}

#[test]
fn an_epoch_resumes_where_it_stopped() {
    let config = LoaderConfig {
        batch: 4,
        shuffle: true,
        augment: true,
        ..Default::default()
    };
    let loader = loader(Numbered::new(30), config);
    let rest: Vec<_> = loader
        .epoch_from(2, 5)
        .map(|b| b.unwrap().indices.clone())
        .collect();
    let whole: Vec<_> = content(&loader, 2)
        .into_iter()
        .map(|(indices, ..)| indices)
        .collect();
    assert_eq!(rest, whole[5..]);
    assert_eq!(loader.epoch_from(2, 100).count(), 0);
}

#[test]
fn no_more_is_loaded_ahead_than_configured() {
    let source = Arc::new(Numbered::new(1000));
    let config = LoaderConfig {
        batch: 2,
        workers: 2,
        prefetch: 3,
        ..Default::default()
    };
    let loader = Loader::new(source.clone(), config).unwrap();
    let mut epoch = loader.epoch(0);
    let batch = epoch.next().unwrap().unwrap();
    assert_eq!(batch.indices, [0, 1]);
    drop(epoch);
    // One batch was taken. Numbers were handed out for 3 + 2 batches and for the one taken.
    assert!(source.loads.load(Ordering::Relaxed) <= 12);
}

#[test]
fn an_epoch_can_be_abandoned_at_any_point() {
    let config = LoaderConfig {
        batch: 3,
        workers: 3,
        ..Default::default()
    };
    let loader = loader(Numbered::new(100), config);
    for taken in 0..20 {
        let mut epoch = loader.epoch(taken);
        for _ in 0..taken {
            epoch.next().unwrap().unwrap();
        }
        drop(epoch);
    }
}

#[test]
fn buffers_are_reused() {
    let config = LoaderConfig {
        batch: 4,
        workers: 1,
        prefetch: 0,
        ..Default::default()
    };
    let loader = loader(Numbered::new(400), config);
    let buffers: HashSet<*const u8> = loader
        .epoch(0)
        .map(|batch| batch.unwrap().images.as_ptr())
        .collect();
    // One batch is being made, one is with the step, one is on its way back.
    assert!(
        buffers.len() <= 3,
        "{} buffers for 100 batches",
        buffers.len()
    );
}

#[test]
fn an_error_ends_the_epoch_after_the_batches_before_it() {
    let source = Numbered {
        fails_at: Some(9),
        ..Numbered::new(100)
    };
    let loader = loader(
        source,
        LoaderConfig {
            batch: 4,
            workers: 3,
            ..Default::default()
        },
    );
    let mut epoch = loader.epoch(0);
    assert!(epoch.next().unwrap().is_ok());
    assert!(epoch.next().unwrap().is_ok());
    let error = epoch.next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`number-9` is truncated or corrupt: planted"
    );
    assert!(epoch.next().is_none());
    assert_eq!(epoch.len(), 0);
}

#[test]
fn a_panic_is_an_error_and_the_loader_stays_usable() {
    let source = Numbered {
        panics_at: Some(5),
        ..Numbered::new(20)
    };
    let loader = loader(
        source,
        LoaderConfig {
            batch: 4,
            workers: 2,
            ..Default::default()
        },
    );
    for epoch in 0..2 {
        let results: Vec<_> = loader.epoch(epoch).collect();
        assert_eq!(results.len(), 2);
        let error = results[1].as_ref().unwrap_err().to_string();
        assert!(
            error.starts_with("a data worker panicked at sample `number-5`"),
            "{error}"
        );
        assert!(error.contains("planted"), "{error}");
    }
}

#[test]
fn an_empty_batch_is_refused() {
    let config = LoaderConfig {
        batch: 0,
        ..Default::default()
    };
    let error = Loader::new(Arc::new(Numbered::new(1)), config).unwrap_err();
    assert_eq!(error.to_string(), "the batch size must not be 0");
}

#[test]
fn verify_counts_and_reports() {
    let seen = AtomicUsize::new(0);
    let progress = |done: usize, all: usize| {
        assert!(done <= all);
        seen.fetch_max(done, Ordering::Relaxed);
    };
    for workers in [1, 3] {
        let summary = verify(&Numbered::new(10), workers, progress).unwrap();
        assert_eq!((summary.samples, summary.empty_masks), (10, 0));
        assert_eq!(summary.class_pixels, [30, 30]);
        assert!((summary.foreground() - 0.5).abs() < 1e-9);
        assert_eq!((summary.min_size, summary.max_size), ((2, 3), (2, 3)));
    }
    assert_eq!(seen.into_inner(), 10);

    let one = Numbered {
        fails_at: Some(3),
        ..Numbered::new(10)
    };
    let error = verify(&one, 2, |_, _| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`number-3` is truncated or corrupt: planted"
    );

    let two = Numbered {
        fails_at: Some(3),
        panics_at: Some(7),
        ..Numbered::new(10)
    };
    let error = verify(&two, 2, |_, _| {}).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("2 samples cannot be used:\n  `number-3` is truncated"),
        "{text}"
    );
    assert!(
        text.contains("\n  a data worker panicked at sample `number-7`"),
        "{text}"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("open it in an image viewer; copy or export it again")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_sample_comes_once_an_epoch(
        seed: u64, epoch: u64, len in 0_usize..40, batch in 1_usize..9, workers in 1_usize..4, shuffle: bool,
    ) {
        let config = LoaderConfig { batch, workers, shuffle, seed, ..Default::default() };
        let loader = loader(Numbered::new(len), config);
        let mut seen: Vec<usize> = content(&loader, epoch).into_iter().flat_map(|(i, ..)| i).collect();
        prop_assert_eq!(&seen, &sample_order(seed, epoch, len, shuffle));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
    }
}
