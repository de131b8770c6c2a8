//! Decodes a file as an image and as a mask, in whatever format its content is.

#![no_main]

use data::decode::{self, ImageRule, LabelKind};
use data::masks::{Request, Tally};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fuzz::allow_decoders_to_panic(), |bytes: &[u8]| {
    let path = fuzz::file("a", bytes);
    let size = decode::size(&path).ok();
    // The last byte chooses the channels: images without it are the same to most readers.
    let channels = 1 + usize::from(bytes.last().copied().unwrap_or(0)) % decode::MAX_CHANNELS;
    let rules = [ImageRule::default(), ImageRule { channels, ..ImageRule::default() }];
    for rule in rules {
        match decode::image(&path, &rule) {
            Ok(image) => {
                assert_eq!(image.pixels.len(), image.height * image.width * rule.channels);
                // The reader of headers may be the stricter one.
                assert!(size.is_none_or(|it| it == (image.height, image.width)));
            }
            Err(error) => drop((error.to_string(), error.hint())),
        }
    }
    let labels = match decode::labels(&path) {
        Ok(labels) => labels,
        Err(error) => return drop((error.to_string(), error.hint())),
    };
    assert_eq!(labels.values.len(), labels.height * labels.width);
    if let LabelKind::Palette(colours) = &labels.kind {
        assert!(colours.len() <= 256);
    }
    if let Ok(rule) = Tally::of(&path, &labels).decide(&Request::default()) {
        rule.classes(&labels).expect("it was decided from these values");
    }
});
