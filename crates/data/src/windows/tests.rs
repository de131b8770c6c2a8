use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::folder::{Dataset, MaskFile, Pair};
use crate::masks::Request;
use crate::{
    DataError, FolderSource, Loader, LoaderConfig, Reading, Source as _, Survey, baseline,
};

/// The gray level of the pixel at (`row`, `column`): neighbours differ, and so do rows and columns.
fn level(row: u32, column: u32) -> u8 {
    u8::try_from((row * 31 + column * 7) % 251).unwrap()
}

/// A folder with a gray image of each size, whose mask is foreground where `is_foreground`.
struct Images {
    dir: tempfile::TempDir,
    pairs: Vec<Pair>,
    survey: Survey,
    reading: Reading,
}

impl Images {
    fn new(sizes: &[(u32, u32)], is_foreground: impl Fn(u32, u32) -> bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let save = |name: &str, size: (u32, u32), value: &dyn Fn(u32, u32) -> u8| {
            let path = dir.path().join(name);
            let image =
                image::GrayImage::from_fn(size.1, size.0, |x, y| image::Luma([value(y, x)]));
            image.save(&path).unwrap();
            path
        };
        let mask = |y, x| u8::from(is_foreground(y, x)) * 255;
        let pair = |(nth, &size): (usize, &(u32, u32))| Pair {
            stem: format!("page-{nth}"),
            image: save(&format!("{nth}.png"), size, &level),
            mask: MaskFile::One(save(&format!("{nth}_mask.png"), size, &mask)),
        };
        let pairs: Vec<Pair> = sizes.iter().enumerate().map(pair).collect();
        let dataset = Dataset {
            train: pairs.clone(),
            ..Dataset::default()
        };
        let survey = Survey::of(&dataset, 2, |_, _| {}).unwrap();
        let reading = survey.reading(None, &Request::default()).unwrap();
        Self {
            dir,
            pairs,
            survey,
            reading,
        }
    }

    fn windows(&self, choice: Choice) -> WindowSource {
        let (pairs, reading) = (self.pairs.clone(), self.reading.clone());
        let sizes = &self.survey.train.sizes;
        WindowSource::new(pairs, reading, (32, 32), sizes, choice).unwrap()
    }
}

fn ring(y: u32, x: u32) -> bool {
    (30..34).contains(&y) || x == 50
}

#[test]
fn every_pixel_of_an_image_is_in_one_window() {
    let images = Images::new(&[(80, 100), (20, 100), (32, 32)], ring);
    let source = images.windows(Choice::Covering);
    assert_eq!((source.len(), source.num_images()), (12 + 4 + 1, 3));
    assert_eq!(images.survey.train.num_windows((32, 32)), source.len());
    let of_image: Vec<_> = (0..3).map(|image| source.samples_of(image)).collect();
    assert_eq!(of_image, [0..12, 12..16, 16..17]);
    for (image, (height, width)) in [(80, 100), (20, 100), (32, 32)].into_iter().enumerate() {
        let mut own = Vec::new();
        for index in source.samples_of(image) {
            assert_eq!(source.image_of(index), image);
            let sample = source.load(index).unwrap();
            let pixels = sample.rgb().as_chunks::<3>().0.to_vec();
            let counted = pixels.iter().zip(&sample.mask);
            own.extend(
                counted
                    .filter(|it| *it.1 != IGNORE)
                    .map(|it| (it.0[0], *it.1)),
            );
        }
        let all = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let mut all: Vec<_> = all.map(|(y, x)| (level(y, x), ring(y, x).into())).collect();
        own.sort_unstable();
        all.sort_unstable();
        assert_eq!(own, all, "image {image}");
    }
}

#[test]
fn drawn_windows_follow_from_seed_epoch_and_index() {
    let images = Images::new(&[(80, 100), (64, 40)], ring);
    let source = images.windows(Choice::Drawn);
    let one = source.load_in_epoch(5, 1, 2).unwrap();
    assert_eq!(
        one,
        images
            .windows(Choice::Drawn)
            .load_in_epoch(5, 1, 2)
            .unwrap()
    );
    for (seed, epoch) in [(2, 2), (1, 3)] {
        assert_ne!(one, source.load_in_epoch(5, seed, epoch).unwrap());
    }
    // A loader passes its own on, whatever its threads do.
    let content = |workers, first| -> Vec<_> {
        let config = LoaderConfig {
            batch: 3,
            workers,
            shuffle: true,
            seed: 7,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(Arc::new(images.windows(Choice::Drawn)), config).unwrap();
        let batches = loader.epoch_from(1, first).map(Result::unwrap);
        batches
            .map(|it| (it.indices.clone(), it.images.clone()))
            .collect()
    };
    let whole = content(1, 0);
    assert_eq!(whole.len(), (12_usize + 4).div_ceil(3));
    assert_eq!((&content(3, 0), &content(2, 2)[..]), (&whole, &whole[2..]));
    let first = source.load_in_epoch(whole[0].0[0], 7, 1).unwrap();
    assert_eq!(whole[0].1[..first.image.len()], first.image);
}

#[test]
fn rare_foreground_is_in_a_third_of_the_windows() {
    let dot = |y, x| (y, x) == (3, 190);
    let images = Images::new(&[(200, 200)], dot);
    let source = images.windows(Choice::Drawn);
    let shows = |epoch| source.load_in_epoch(0, 0, epoch).unwrap().mask.contains(&1);
    let num = (0..600).filter(|&epoch| shows(epoch)).count();
    // 200 expected, with a deviation of 12, and a few of the others.
    assert!((150..260).contains(&num), "{num} of 600");
    // Without foreground, windows lie anywhere.
    assert_eq!(foreground(&[0, IGNORE, 0], &mut stream_of(1)), None);
    let mask = [vec![1; 10_000], vec![2], vec![IGNORE; 99]].concat();
    let classes = (0..200).map(|seed| mask[foreground(&mask, &mut stream_of(seed)).unwrap()]);
    let rare = classes.filter(|class| *class == 2).count();
    assert!((60..140).contains(&rare), "classes are alike: {rare}");
}

fn stream_of(seed: u64) -> ChaCha8Rng {
    crate::random::stream(crate::random::RandomUse::Window, seed, 0, 0)
}

#[test]
fn small_images_are_reflected() {
    let shown = |first, num, length| reflected(first, num, length).collect::<Vec<_>>();
    assert_eq!(shown(-2, 7, 3), [2, 1, 0, 1, 2, 1, 0]);
    assert_eq!(shown(-1, 3, 1), [0, 0, 0]);
    assert_eq!(shown(1, 2, 4), [1, 2]);
    let images = Images::new(&[(2, 30)], |y, _| y == 0);
    let sample = images.windows(Choice::Drawn).load(0).unwrap();
    assert_eq!(
        (sample.image.len(), sample.mask.len()),
        (32 * 32 * 3, 32 * 32)
    );
    // 15 rows above the image, and a column to its left.
    let rows: Vec<u8> = sample.mask.chunks(32).map(|row| row[7]).collect();
    assert_eq!(rows, [0, 1].repeat(16));
    assert_eq!(
        sample.image[15 * 96..][..6],
        [level(0, 1), level(0, 0)].map(|it| [it; 3]).concat()
    );
}

#[test]
fn an_image_is_decoded_once_where_memory_allows() {
    let images = Images::new(&[(80, 100)], ring);
    let cached = images.windows(Choice::Drawn);
    let uncached = images.windows(Choice::Covering).with_cache_bytes(0);
    let of_both = [&cached, &uncached].map(|source| source.load(0).unwrap());
    std::fs::remove_file(&images.pairs[0].image).unwrap();
    assert_eq!(cached.load(0).unwrap(), of_both[0]);
    // The image of the last window is kept.
    assert_ne!(uncached.load(1).unwrap(), of_both[1]);
    assert!(images.windows(Choice::Covering).load(0).is_err());
}

#[test]
fn an_image_of_another_size_is_refused() {
    let images = Images::new(&[(40, 50)], ring);
    let source = images.windows(Choice::Drawn);
    for name in ["0.png", "0_mask.png"] {
        let path = images.dir.path().join(name);
        image::GrayImage::new(60, 40).save(path).unwrap();
    }
    let error = source.load(0).unwrap_err();
    assert!(matches!(error, DataError::SizeChanged { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .ends_with("0.png` is 40x60 (height x width), but was 40x50 when all files were read")
    );
    assert!(error.hint().is_some());
}

#[test]
fn baselines_are_those_of_whole_images() {
    let images = Images::new(&[(80, 100), (40, 33)], ring);
    let of_windows = baseline::of_source(&images.windows(Choice::Covering)).unwrap();
    let whole = |nth: usize, height, width| {
        let source = FolderSource::new(images.pairs.clone(), images.reading.clone(), height, width);
        source.load(nth).unwrap()
    };
    let whole = baseline::of_samples(&[whole(0, 80, 100), whole(1, 40, 33)]);
    assert_eq!(of_windows, whole);
    assert!(whole.all_foreground > 0.0);
}

proptest! {
    #[test]
    fn windows_cover_evenly(
        height in 1_usize..200, width in 1_usize..200, window in 1_usize..60, share in 0_usize..4,
    ) {
        let (size, overlap) = ((height, width), window * share / 4);
        let all = covering(size, (window, window + 3), (overlap, overlap));
        let mut seen = vec![0_u8; height * width];
        let mut starts = BTreeSet::new();
        for it in &all {
            // What lies inside the image has at least half of the overlap around it.
            let spans = [(it.first.0, &it.own.0, height, window), (it.first.1, &it.own.1, width, window + 3)];
            for (first, own, length, window) in spans {
                let first = usize::try_from(first).unwrap_or(0);
                prop_assert!(length <= window || first + window <= length);
                prop_assert!(own.start == 0 || own.start >= first + overlap / 2);
                prop_assert!(own.end == length || own.end + overlap / 2 <= first + window);
            }
            starts.insert(it.first);
            let answer: Vec<u8> = vec![1; window * (window + 3)];
            let mut image = vec![0; height * width];
            it.paste(&answer, window + 3, &mut image, width);
            seen.iter_mut().zip(image).for_each(|(sum, own)| *sum += own);
        }
        prop_assert!(seen.iter().all(|&times| times == 1));
        prop_assert_eq!(starts.len(), all.len());
        if overlap == 0 {
            prop_assert_eq!(all.len(), num_covering(size, (window, window + 3)));
        }
    }

    #[test]
    fn what_is_cut_is_pasted_to_its_place(height in 1_usize..70, width in 1_usize..70) {
        let size = (height, width);
        let image: Vec<u8> = (0..height * width).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut copy = vec![255; image.len()];
        for window in covering(size, (16, 24), (8, 12)) {
            let cut = window.cut(&image, 1, size, (16, 24));
            window.paste(&cut, 24, &mut copy, width);
        }
        prop_assert_eq!(copy, image);
    }
}
