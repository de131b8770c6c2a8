//! Samples of what was found.

use std::fs::File;

use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::ColorType;
use tiff::tags::{PhotometricInterpretation, SampleFormat};

use super::*;
use crate::decode::Range;
use crate::masks::{MaskKind, Request, Undecided};
use crate::{FolderSource, Reading, Source as _, Survey};

/// What is in the files of these pairs, and how to read them.
fn surveyed(pairs: &[&Pair], request: &Request) -> (Survey, Result<Reading, Undecided>) {
    let dataset = Dataset {
        train: pairs.iter().map(|&pair| pair.clone()).collect(),
        ..Dataset::default()
    };
    let survey = Survey::of(&dataset, 2, |_, _| {}).unwrap();
    let reading = survey.reading(None, request);
    (survey, reading)
}

fn source_of(pair: &Pair, height: usize, width: usize) -> FolderSource {
    let (_, reading) = surveyed(&[pair], &Request::default());
    FolderSource::new(vec![pair.clone()], reading.unwrap(), height, width)
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_named() {
    // A dangling link is used, because permissions would not stop root.
    let dir = tree("images/b.png masks/a.png");
    let link = dir.path().join("images/a.png");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let pair = Pair {
        stem: "a".into(),
        image: link.clone(),
        mask: MaskFile::One(dir.path().join("masks/a.png")),
    };
    let dataset = Dataset {
        train: vec![pair],
        ..Dataset::default()
    };
    let error = Survey::of(&dataset, 1, |_, _| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read `{}`", link.display())
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_source_resizes_checks_and_caches() {
    let dir = tree("");
    let save = |name: &str, size: (u32, u32), value: u8| {
        let path = dir.path().join(name);
        image::GrayImage::from_pixel(size.1, size.0, image::Luma([value]))
            .save(&path)
            .unwrap();
        path
    };
    let pair = |stem: &str, image, mask| Pair {
        stem: stem.to_owned(),
        image: save(&format!("{stem}.png"), image, 200),
        mask: MaskFile::One(save(&format!("{stem}_mask.png"), mask, 255)),
    };
    let good = pair("good", (10, 20), (10, 20));
    let bad = pair("bad", (10, 20), (20, 10));
    let source = source_of(&good, 16, 48);
    assert_eq!(
        (
            source.name(0).as_str(),
            source.size(),
            source.original_size(0)
        ),
        ("good", (16, 48), None)
    );
    source.load(0).unwrap();
    assert_eq!(source.original_size(0), Some((10, 20)));
    // It is in memory now, unless caching is off.
    fs::remove_file(&good.image).unwrap();
    let sample = source.load(0).unwrap();
    assert_eq!(
        (sample.image, sample.mask),
        (vec![200; 16 * 48 * 3], vec![1; 16 * 48])
    );
    assert!(source.with_cache_bytes(0).load(0).is_err());
    let dataset = Dataset {
        val: vec![bad],
        ..Dataset::default()
    };
    let error = Survey::of(&dataset, 2, |_, _| {}).unwrap_err();
    let text = error
        .to_string()
        .replace(&dir.path().display().to_string(), "DIR");
    assert_eq!(
        text,
        "mask `DIR/bad_mask.png` is 20x10 (height x width), but its image `DIR/bad.png` is 10x20"
    );
    assert_eq!(
        error.hint().unwrap(),
        "a mask must have one pixel for each pixel of its image"
    );
}

#[test]
fn masks_of_objects_are_united() {
    let dir = tree("");
    let save = |name: &str, pixels: [u8; 4]| {
        let path = dir.path().join(name);
        image::GrayImage::from_raw(2, 2, pixels.to_vec())
            .unwrap()
            .save(&path)
            .unwrap();
        path
    };
    let pair = Pair {
        stem: "a".to_owned(),
        image: save("a.png", [200; 4]),
        mask: MaskFile::Union(vec![
            save("1.png", [255, 0, 0, 0]),
            save("2.png", [255, 0, 255, 0]),
        ]),
    };
    assert_eq!(source_of(&pair, 2, 2).load(0).unwrap().mask, [1, 0, 1, 0]);
    let two = Request {
        num_classes: Some(2),
        ..Request::default()
    };
    let refused = surveyed(&[&pair], &two).1.unwrap_err();
    assert_eq!(
        without_root(&dir, &refused.reason),
        "`1.png` is one of several masks of an image, which can have only one class, not 2"
    );
}

#[test]
fn a_mask_drawn_on_the_stored_pixels_is_turned_like_its_image() {
    let dir = tree("");
    let [image, mask] = ["a.png", "a_mask.png"].map(|name| dir.path().join(name));
    let pixels = vec![0, 255, 0, 0, 255, 255, 0, 0];
    // Orientation 6: viewers turn it clockwise, to 4 pixels high and 2 wide.
    let mut info = png::Info::with_size(4, 2);
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    info.exif_metadata = Some(exif[..].into());
    let mut bytes = Vec::new();
    let encoder = png::Encoder::with_info(&mut bytes, info).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    fs::write(&image, bytes).unwrap();
    let drawn = image::GrayImage::from_raw(4, 2, pixels).unwrap();
    drawn.save(&mask).unwrap();
    let stem = "a".to_owned();
    let pair = Pair {
        stem,
        image,
        mask: MaskFile::One(mask),
    };
    let source = source_of(&pair, 4, 2);
    let sample = source.load(0).unwrap();
    assert_eq!(sample.mask, [1, 0, 1, 1, 0, 0, 0, 0]);
    let gray: Vec<u8> = sample.image.iter().step_by(3).map(|it| it / 255).collect();
    assert_eq!(gray, sample.mask);
}

#[test]
fn what_files_hold_is_counted_by_part() {
    let dir = tree("");
    let save = |name: &str, pixels: &[u16]| {
        let path = dir.path().join(name);
        let width = u32::try_from(pixels.len()).unwrap();
        let pixels = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, 1, pixels.to_vec());
        pixels.unwrap().save(&path).unwrap();
        path
    };
    let pair = |stem: &str, image: &[u16], mask: &[u16]| Pair {
        stem: stem.to_owned(),
        image: save(&format!("{stem}.png"), image),
        mask: MaskFile::One(save(&format!("{stem}_mask.png"), mask)),
    };
    let dataset = Dataset {
        train: vec![
            pair("a", &[7, 4095, 100], &[0, 255, 255]),
            pair("b", &[9, 8], &[0, 0]),
        ],
        val: vec![pair("c", &[9, 8], &[255, 255])],
        ..Dataset::default()
    };
    let survey = Survey::of(&dataset, 2, |_, _| {}).unwrap();
    assert_eq!((survey.train.samples, survey.val.samples), (2, 1));
    assert_eq!(
        (survey.train.min_size, survey.train.max_size),
        ((1, 2), (1, 3))
    );
    assert_eq!((survey.train.oddities.deep, survey.leaked), (2, 1));
    let reading = survey.reading(None, &Request::default()).unwrap();
    // Of 12 bits: the values of all images are spread.
    assert_eq!(reading.image.channels, 3);
    let (low, high) = (7.0, 4095.0);
    assert_eq!(reading.image.ranges, [Range { low, high }]);
    assert_eq!(reading.mask.kind, MaskKind::TwoValues(0, 255));
    let shares = reading.mask.shares(&survey.all.masks);
    assert_eq!(shares.pixels, [3, 4]);
    assert_eq!((shares.empty, shares.full), (1, 1));
    let sample = FolderSource::new(dataset.train, reading, 1, 3)
        .load(0)
        .unwrap();
    assert_eq!(sample.image[0..9], [0, 0, 0, 255, 255, 255, 6, 6, 6]);
    assert_eq!(sample.mask, [0, 1, 1]);
}

/// A TIFF of a pixel.
fn pixel<const N: usize>(path: &Path, channels: [f32; N]) {
    struct Bands<const N: usize>;
    impl<const N: usize> ColorType for Bands<N> {
        type Inner = f32;
        const TIFF_VALUE: PhotometricInterpretation = PhotometricInterpretation::BlackIsZero;
        const BITS_PER_SAMPLE: &'static [u16] = &[32; N];
        const SAMPLE_FORMAT: &'static [SampleFormat] = &[SampleFormat::IEEEFP; N];
        fn horizontal_predict(_row: &[f32], _result: &mut Vec<f32>) {}
    }
    let mut encoder = TiffEncoder::new(File::create(path).unwrap()).unwrap();
    encoder.write_image::<Bands<N>>(1, 1, &channels).unwrap();
}

#[test]
fn channels_are_those_of_the_images() {
    let dir = tree("");
    let path = |name: &str| dir.path().join(name);
    let gray = |name: &str, value: u8| {
        let image = image::GrayImage::from_raw(1, 1, vec![value]).unwrap();
        image.save(path(name)).unwrap();
    };
    gray("gray.png", 7);
    gray("mask.png", 255);
    pixel(&path("low.tif"), [-5.0, 0.0, 300.0, 0.5, f32::NAN]);
    pixel(&path("high.tif"), [5.0, 0.0, 100.0, 0.25, 0.5]);
    pixel(&path("four.tif"), [0.0; 4]);
    let pairs = |names: &[&str]| -> Vec<Pair> {
        let pair = |name: &&str| Pair {
            stem: (*name).to_owned(),
            image: path(name),
            mask: MaskFile::One(path("mask.png")),
        };
        names.iter().map(pair).collect()
    };
    let reading = |names: &[&str], channels| {
        let train = pairs(names);
        let dataset = Dataset {
            train,
            ..Dataset::default()
        };
        let survey = Survey::of(&dataset, 1, |_, _| {}).unwrap();
        assert_eq!(
            survey.all.oddities.non_finite,
            names.iter().filter(|it| **it == "low.tif").count()
        );
        let reading = survey.reading(channels, &Request::default());
        reading.map_err(|it| without_root(&dir, &it.reason))
    };
    let bands = reading(&["low.tif", "high.tif"], None).unwrap();
    assert_eq!(bands.image.channels, 5);
    // Each has its own range.
    let ranges: Vec<_> = bands
        .image
        .ranges
        .iter()
        .map(|it| (it.low, it.high))
        .collect();
    assert_eq!(
        ranges,
        [
            (-5.0, 5.0),
            (0.0, 1.0),
            (100.0, 300.0),
            (0.0, 1.0),
            (0.0, 1.0)
        ]
    );
    let source = FolderSource::new(pairs(&["low.tif"]), bands, 2, 2);
    assert_eq!(source.channels(), 5);
    let sample = source.load(0).unwrap();
    assert_eq!(sample.image, [0, 0, 255, 128, 0].repeat(4));
    assert_eq!(sample.rgb(), [0, 0, 255].repeat(4));

    let channels = |names, asked| reading(names, asked).map(|it| it.image.channels);
    assert_eq!(channels(&["gray.png"], None), Ok(3));
    assert_eq!(channels(&["gray.png"], Some(1)), Ok(1));
    assert_eq!(
        channels(&["low.tif", "four.tif", "high.tif"], None).unwrap_err(),
        "the channels of the images differ: others have 5, but `four.tif` has 4"
    );
    assert_eq!(
        channels(&["gray.png"], Some(5)).unwrap_err(),
        "the channels of the images differ: `gray.png` has 1, not 5"
    );
}
