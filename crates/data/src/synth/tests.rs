use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{SynthSource, baseline, decode, folder, verify};

#[test]
fn a_page_is_a_function_of_its_seed() {
    assert_eq!(page(1, 2, 64, 96), page(1, 2, 64, 96));
    assert_ne!(page(1, 2, 64, 96), page(1, 3, 64, 96));
    assert_ne!(page(1, 2, 64, 96), page(2, 2, 64, 96));
    assert_ne!(page(1, 2, 64, 96), page(val_seed(1), 2, 64, 96));
    assert_ne!(val_seed(1), test_seed(1));
}

#[test]
fn a_page_is_the_same_picture_at_any_resolution() {
    for index in 0..8 {
        let small = page(3, index, 64, 96);
        let large = page(3, index, 256, 384);
        let (mut same, mut all) = (0, 0);
        for y in 0..64 {
            for x in 0..96 {
                let centre = large.mask[(y * 4 + 2) * 384 + x * 4 + 2];
                same += usize::from(centre == small.mask[y * 96 + x]);
                all += 1;
            }
        }
        // Only pixels on an outline may differ.
        assert!(same * 100 > all * 97, "page {index}: {same} of {all}");
    }
}

#[test]
fn trivial_predictions_are_poor_and_every_page_has_balloons() {
    // Upper limits for each trivial prediction.
    const LIMIT: f64 = 0.6;
    for (height, width) in [(128, 128), (96, 160)] {
        let source = SynthSource::new(5, 64, height, width).unwrap();
        let summary = verify(&source, 1, |_, _| {}).unwrap();
        assert_eq!(summary.empty_masks, 0);
        assert!(
            (0.1..0.4).contains(&summary.foreground()),
            "{}",
            summary.foreground()
        );
        let found = baseline::of_source(&source).unwrap();
        assert!(found.all_foreground < LIMIT, "{found:?}");
        assert!(found.brightness < LIMIT, "{found:?}");
    }
}

#[test]
fn an_invalid_page_size_is_refused() {
    let text = |height, width| {
        SynthSource::new(0, 1, height, width)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(15, 64),
        "invalid image size 15x64 (height x width): each side of a page must have at least 16 pixels"
    );
    assert!(
        text(64, 20_000).contains("at most 16384"),
        "{}",
        text(64, 20_000)
    );
}

#[test]
fn a_written_folder_is_read_back_as_the_same_pages() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("pages");
    let counts = Counts {
        train: 3,
        val: 2,
        test: 1,
    };
    write_dataset(&out, counts, (32, 48), 9, |_, all| assert_eq!(all, 6)).unwrap();
    let found = folder::scan(&out, &folder::SplitOptions::default()).unwrap();
    assert_eq!(
        (found.train.len(), found.val.len(), found.test.len()),
        (3, 2, 1)
    );
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let pairs = found
        .train
        .iter()
        .zip([9; 3])
        .chain(found.val.iter().zip([val_seed(9); 2]));
    let mut seen = HashSet::new();
    for (i, (pair, seed)) in pairs.enumerate() {
        let drawn = page(seed, if i < 3 { i as u64 } else { i as u64 - 3 }, 32, 48);
        let image = decode::image(&pair.image, &decode::ImageRule::default()).unwrap();
        assert_eq!((image.height, image.width), (32, 48));
        assert_eq!(image.pixels, drawn.image);
        let labels = decode::labels(&pair.mask.paths()[0]).unwrap().values;
        let classes: Vec<_> = labels.iter().map(|&it| u8::from(it == 255)).collect();
        assert_eq!(classes, drawn.mask);
        assert!(seen.insert(drawn.image), "pages differ");
    }
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.txt"), "keep").unwrap();
    let counts = Counts {
        train: 1,
        val: 0,
        test: 0,
    };
    let error = write_dataset(dir.path(), counts, (32, 32), 0, |_, _| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("folder `{}` is not empty", dir.path().display())
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("name a new folder: nothing is overwritten")
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let file = dir.path().join("mine.txt");
    let error = write_dataset(&file, counts, (32, 32), 0, |_, _| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot write `{}`", file.display())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_shape_can_be_drawn(seed: u64, index: u64, height in 16_u32..200, width in 16_u32..200) {
        let page = page(seed, index, height, width);
        let pixels = (height * width) as usize;
        prop_assert_eq!((page.image.len(), page.mask.len()), (pixels * 3, pixels));
        prop_assert!(page.mask.iter().all(|&class| class <= 1));
        prop_assert!(page.mask.contains(&1));
    }
}
