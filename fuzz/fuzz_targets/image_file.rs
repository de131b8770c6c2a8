//! Decodes a file as an image and as a mask, in whatever format its content is.

#![no_main]

use data::decode::{self, ImageRule, LabelKind};
use data::masks::{Request, Tally};
use libfuzzer_sys::{Corpus, fuzz_target};

const FORMATS: [&str; 6] = ["bmp", "gif", "jpg", "png", "tiff", "webp"];

fuzz_target!(init: fuzz::allow_decoders_to_panic(), |bytes: &[u8]| -> Corpus {
    if fuzz::format(&FORMATS).is_some_and(|only| format(bytes) != Some(only)) {
        return Corpus::Reject;
    }
    read(bytes);
    Corpus::Keep
});

/// The usual extension of the format that the first bytes tell.
fn format(bytes: &[u8]) -> Option<&'static str> {
    // BigTIFF, which `image` does not know.
    if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") {
        return Some("tiff");
    }
    let format = image::guess_format(bytes).ok()?;
    format.extensions_str().first().copied()
}

fn read(bytes: &[u8]) {
    let path = fuzz::file("a", bytes);
    let size = decode::size(&path).ok();
    // The last byte chooses the channels: images without it are the same to most readers.
    let channels = 1 + usize::from(bytes.last().copied().unwrap_or(0)) % decode::MAX_CHANNELS;
    let rules = [
        ImageRule::default(),
        ImageRule {
            channels,
            ..ImageRule::default()
        },
    ];
    for rule in rules {
        match decode::image(&path, &rule) {
            Ok(image) => {
                assert_eq!(
                    image.pixels.len(),
                    image.height * image.width * rule.channels
                );
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
        rule.classes(&labels)
            .expect("it was decided from these values");
    }
}
