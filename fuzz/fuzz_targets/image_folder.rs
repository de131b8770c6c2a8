//! Reads an image and its mask as a sample of a folder: decodes, compares and resizes them.
//!
//! The first byte is the number of classes (0: whatever the mask has), the next two are the length of the image; then follow
//! the image and the mask.

#![no_main]

use data::folder::{Dataset, MaskFile, Pair};
use data::masks::{IGNORE, Request};
use data::{FolderSource, Source as _, Survey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fuzz::allow_decoders_to_panic(), |bytes: &[u8]| {
    let Some(([classes, low, high], files)) = bytes.split_first_chunk() else {
        return;
    };
    let at = usize::from(u16::from_le_bytes([*low, *high]));
    let Some((image, mask)) = files.split_at_checked(at) else {
        return;
    };
    let pair = Pair {
        stem: "a".to_owned(),
        image: fuzz::file("a.png", image),
        mask: MaskFile::One(fuzz::file("a_mask.png", mask)),
    };
    let classes = usize::from(classes % 4);
    let dataset = Dataset {
        train: vec![pair],
        ..Dataset::default()
    };
    let request = Request {
        num_classes: (classes > 0).then_some(classes),
        ..Request::default()
    };
    let survey = match Survey::of(&dataset, 1, |_, _| ()) {
        Ok(survey) => survey,
        Err(error) => return drop((error.to_string(), error.hint())),
    };
    let Ok(reading) = survey.reading(None, &request) else {
        return;
    };
    let (rule, channels) = (reading.mask.clone(), reading.image.channels);
    let source = FolderSource::new(dataset.train, reading, 16, 32).with_cache_bytes(0);
    let sample = source.load(0).expect("what was surveyed can be read");
    assert_eq!((sample.image.len(), sample.mask.len()), (channels * 512, 512));
    let is_class = |&it: &u8| usize::from(it) < rule.num_classes.max(2) || it == IGNORE;
    assert!(sample.mask.iter().all(is_class));
});
