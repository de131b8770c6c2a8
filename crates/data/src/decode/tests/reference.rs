//! Files that other programs wrote, with the values that other programs read: `reference.py`.

use super::*;

/// How far samples of lossy files may differ: decoders round their transforms differently.
const LOSSY: u8 = 3;

struct Reference {
    name: &'static str,
    /// Of the samples; floats as their bits.
    kind: &'static str,
    shape: [usize; 3],
    alpha: &'static str,
    highest: u32,
    pages: usize,
    samples: Vec<u32>,
    rgb: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

fn references() -> impl Iterator<Item = Reference> {
    include_str!("reference.txt").lines().map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| fields[at].parse().unwrap();
        Reference {
            name: fields[0],
            kind: fields[1],
            shape: [number(2), number(3), number(4)],
            alpha: fields[5],
            highest: fields[6].parse().unwrap(),
            pages: number(7),
            samples: fields[8].split(',').map(|it| it.parse().unwrap()).collect(),
            rgb: (fields[9] != "-").then(|| hex(fields[9])),
            bytes: hex(fields[10]),
        }
    })
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.iter().map(byte).collect()
}

pub(super) fn all() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    references().map(|reference| (reference.name, reference.bytes))
}

pub(super) fn bytes_of(name: &str) -> Vec<u8> {
    all().find(|(found, _)| *found == name).unwrap().1
}

#[test]
fn samples_are_as_other_programs_read_them() {
    for expected in references() {
        let name = expected.name;
        let file = file(&expected.bytes);
        let raster = raster(&file.path).unwrap();
        let found = size(&file.path).unwrap();
        assert_eq!(found, (raster.height, raster.width), "{name}");
        let shape = [raster.height, raster.width, raster.channels];
        assert_eq!(shape, expected.shape, "{name}");
        let (kind, samples): (_, Vec<u32>) = match &raster.samples {
            Samples::U8(it) => ("uint8", it.iter().map(|&it| it.into()).collect()),
            Samples::U16(it) => ("uint16", it.iter().map(|&it| it.into()).collect()),
            Samples::U32(it) => ("uint32", it.clone()),
            Samples::F32(it) => ("float32", it.iter().map(|it| it.to_bits()).collect()),
        };
        assert_eq!(kind, expected.kind, "{name}");
        if raster.lossy {
            let far = samples.iter().zip(&expected.samples);
            let far = far.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(far <= LOSSY.into(), "{name}: {far}");
        } else {
            assert_eq!(samples, expected.samples, "{name}");
        }
        let lossy = name.starts_with("jpeg") || name == "webp-lossy";
        assert_eq!(raster.lossy, lossy, "{name}");
        assert_eq!(raster.highest.unwrap_or(0), expected.highest, "{name}");
        assert_eq!(raster.origin.pages, expected.pages, "{name}");
        let alpha = format!("{:?}", raster.alpha).to_lowercase();
        assert_eq!(alpha, expected.alpha, "{name}");
    }
}

#[test]
fn images_are_as_pillow_shows_them() {
    let mut compared = 0;
    for (expected, name) in references().map(|it| (it.rgb, (it.name, it.bytes))) {
        let (Some(rgb), (name, bytes)) = (expected, name) else {
            continue;
        };
        let found = image_of(&bytes);
        let lossy = name.starts_with("jpeg") || name == "webp-lossy";
        let allowed = if lossy { LOSSY } else { 0 };
        assert_eq!(found.len(), rgb.len(), "{name}");
        let far = found.iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far.unwrap() <= allowed, "{name}: {found:?}, not {rgb:?}");
        compared += 1;
    }
    assert!(compared > 35, "{compared}");
}

#[test]
fn palettes_of_all_formats_have_the_same_colours() {
    let colours = [[9, 8, 7], [60, 50, 40], [250, 240, 230], [1, 2, 3]];
    for name in ["png-palette", "bmp-palette", "gif-palette"] {
        let palette = raster(&file(&bytes_of(name)).path)
            .unwrap()
            .palette
            .unwrap();
        let found: Vec<_> = palette.iter().map(|&[r, g, b, _]| [r, g, b]).collect();
        assert_eq!(found[..4], colours, "{name}");
    }
    // A ramp of grays is no palette.
    for name in ["bmp-bit", "bmp-gray", "gif-gray"] {
        assert_eq!(
            raster(&file(&bytes_of(name)).path).unwrap().palette,
            None,
            "{name}"
        );
    }
}
