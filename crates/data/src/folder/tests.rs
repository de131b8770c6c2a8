use tempfile::TempDir;

use super::*;
use crate::{FolderSource, Source as _, verify};

/// A folder with empty files at `paths`; listing does not open them.
fn tree(paths: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    dir
}

fn scanned(dir: &TempDir) -> Result<Dataset, DataError> {
    scan(dir.path(), &SplitOptions::default())
}

/// The message without the folder's own name, and the hint.
fn refusal(dir: &TempDir) -> (String, String) {
    let error = scanned(dir).unwrap_err();
    let text = error
        .to_string()
        .replace(&dir.path().display().to_string(), "DIR");
    (text, error.hint().unwrap())
}

fn stems(pairs: &[Pair]) -> Vec<&str> {
    pairs.iter().map(|pair| pair.stem.as_str()).collect()
}

/// A flat folder of `count` images.
fn flat(count: usize) -> TempDir {
    let files: Vec<String> = (0..count)
        .flat_map(|i| {
            [
                format!("imgs/a{i:03}.png"),
                format!("masks/a{i:03}_mask.png"),
            ]
        })
        .collect();
    tree(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_layout_of_the_script_is_read() {
    let dir = tree(&[
        "train/images/b.JPG",
        "train/images/a.png",
        "train/images/.hidden.png",
        "train/images/notes.txt",
        "train/masks/a_mask.png",
        "train/masks/b.png",
        "val/images/c.jpeg",
        "val/masks/c_mask.png",
    ]);
    let found = scanned(&dir).unwrap();
    assert_eq!(
        (stems(&found.train), stems(&found.val)),
        (vec!["a", "b"], vec!["c"])
    );
    assert!(
        found.test.is_empty() && found.notes.is_empty(),
        "{:?}",
        found.notes
    );
    assert_eq!(found.train[1].image, dir.path().join("train/images/b.JPG"));
    assert_eq!(found.train[1].mask, dir.path().join("train/masks/b.png"));
}

#[test]
fn a_flat_folder_is_split_by_seed_and_name() {
    let dir = flat(50);
    let with = |val_percent, seed| scan(dir.path(), &SplitOptions { val_percent, seed }).unwrap();
    let found = with(10.0, 1);
    assert_eq!((found.train.len(), found.val.len()), (45, 5));
    assert_eq!(found, with(10.0, 1));
    assert_ne!(found.val, with(10.0, 2).val);
    let mut all = [stems(&found.train), stems(&found.val)].concat();
    assert!(found.train.is_sorted_by(|a, b| a.stem < b.stem));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 50);
    let notes = found.notes[0].replace(&dir.path().display().to_string(), "DIR");
    assert_eq!(
        notes,
        "no `val` folder: 5 of the 50 images in `DIR` are used for validation (seed 1)"
    );
    // Added images do not move the earlier ones, apart from the change of the share.
    fs::write(dir.path().join("imgs/new.png"), "").unwrap();
    fs::write(dir.path().join("masks/new.png"), "").unwrap();
    let kept = with(10.0, 1)
        .val
        .iter()
        .filter(|pair| found.val.contains(pair))
        .count();
    assert!(kept >= 4);
    // Each part gets at least one image, however small the share.
    assert_eq!(with(0.1, 1).val.len(), 1);
    assert_eq!(with(99.9, 1).train.len(), 1);
}

#[test]
fn without_a_val_folder_a_part_is_split_off_and_reported() {
    let dir = tree(&[
        "train/images/a.png",
        "train/images/b.png",
        "train/masks/a_mask.png",
        "train/masks/b_mask.png",
        "train/masks/orphan_mask.png",
    ]);
    let found = scanned(&dir).unwrap();
    assert_eq!(
        (found.train.len(), found.val.len(), found.notes.len()),
        (1, 1, 2)
    );
    assert!(
        found.notes[0].contains("`orphan_mask.png`"),
        "{}",
        found.notes[0]
    );
    assert!(
        found.notes[1].starts_with("no `val` folder: 1 of the 2 images"),
        "{}",
        found.notes[1]
    );
}

#[test]
fn a_missing_folder_is_named() {
    let error = scan(Path::new("/no/such"), &SplitOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "folder `/no/such` does not exist");
    assert!(error.hint().unwrap().contains("STEM_mask.png"));

    let (text, hint) = refusal(&tree(&["pictures/a.png", "readme.md"]));
    assert_eq!(
        text,
        "`DIR` contains neither `train/images` nor `images` (found `pictures`, `readme.md`)"
    );
    assert!(hint.contains("STEM_mask.png"));

    let (text, _) = refusal(&tree(&["images/a.png"]));
    assert_eq!(text, "folder `DIR/masks` does not exist");
    let dir = tree(&[
        "train/images/a.png",
        "train/masks/a.png",
        "val/pictures/b.png",
    ]);
    assert_eq!(refusal(&dir).0, "folder `DIR/val/images` does not exist");
}

#[test]
fn an_error_about_missing_images_lists_the_folder() {
    let (text, hint) = refusal(&tree(&["images/a.txt", "images/b.psd", "masks/a.png"]));
    assert_eq!(
        text,
        "no images (PNG, JPEG, TIFF, BMP, WebP or GIF) in `DIR/images` (found `a.txt`, `b.psd`)"
    );
    assert_eq!(
        hint,
        "image files must end in .png, .jpg, .jpeg, .tif, .tiff, .bmp, .webp, .gif"
    );
    let dir = tree(&["images/.keep", "masks/a.png"]);
    assert_eq!(
        refusal(&dir).0,
        "no images (PNG, JPEG, TIFF, BMP, WebP or GIF) in `DIR/images` (it is empty)"
    );
}

#[test]
fn missing_masks_are_named_up_to_five_and_counted() {
    let mut files: Vec<String> = (0..7).map(|i| format!("images/a{i}.png")).collect();
    files.push("masks/a3_mask.png".to_owned());
    let dir = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let (text, hint) = refusal(&dir);
    assert_eq!(
        text,
        "6 image(s) in `DIR/images` have no mask in `DIR/masks`: \
         a0.png, a1.png, a2.png, a4.png, a5.png, ..."
    );
    assert!(hint.contains("`STEM_mask.png` or `STEM.png`"));
}

#[test]
fn a_mask_in_a_lossy_format_is_refused() {
    let (text, hint) = refusal(&tree(&["images/a.png", "masks/a_mask.jpg"]));
    assert_eq!(
        text,
        "mask `DIR/masks/a_mask.jpg` is not in a lossless format (PNG, TIFF, BMP, GIF or lossless WebP)"
    );
    assert_eq!(
        hint,
        "save masks as PNG: JPEG and lossy WebP change the values along every edge"
    );
}

#[test]
fn two_images_with_one_name_are_refused() {
    let (text, hint) = refusal(&tree(&["images/a.png", "images/a.jpg", "masks/a.png"]));
    assert_eq!(
        text,
        "two images are named `a`: `DIR/images/a.jpg` and `DIR/images/a.png`"
    );
    assert_eq!(hint, "remove or rename one of them");
}

#[test]
fn too_few_images_or_no_share_cannot_be_split() {
    let (text, hint) = refusal(&flat(1));
    assert_eq!(
        text,
        "`DIR` has 1 image, too few to split off a validation set"
    );
    assert_eq!(hint, "add images, or a `val` folder next to `train`");
    for val_percent in [0.0, 100.0, f64::NAN] {
        let options = SplitOptions {
            val_percent,
            seed: 0,
        };
        let text = scan(flat(4).path(), &options).unwrap_err().to_string();
        assert_eq!(
            text,
            format!("validation share of {val_percent} % is not above 0 and below 100")
        );
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_named() {
    // A dangling link is used, because permissions would not stop root.
    let dir = tree(&["images/b.png", "masks/a.png", "masks/b.png"]);
    let link = dir.path().join("images/a.png");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let pair = Pair {
        stem: "a".into(),
        image: link.clone(),
        mask: dir.path().join("masks/a.png"),
    };
    let error = FolderSource::new(vec![pair], 1, 16, 16)
        .load(0)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read `{}`", link.display())
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_source_resizes_checks_and_caches() {
    let dir = tree(&[]);
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
        mask: save(&format!("{stem}_mask.png"), mask, 255),
    };
    let good = pair("good", (10, 20), (10, 20));
    let bad = pair("bad", (10, 20), (20, 10));
    let source = FolderSource::new(vec![good.clone()], 1, 16, 48);
    assert_eq!(
        (
            source.name(0).as_str(),
            source.size(),
            source.original_size(0)
        ),
        ("good", (16, 48), None)
    );
    let summary = verify(&source, 1, |_, _| {}).unwrap();
    assert_eq!(
        (summary.min_size, summary.class_pixels),
        ((10, 20), vec![0, 16 * 48])
    );
    // It is in memory now, unless caching is off.
    fs::remove_file(&good.image).unwrap();
    let sample = source.load(0).unwrap();
    assert_eq!(
        (sample.image, sample.mask),
        (vec![200; 16 * 48 * 3], vec![1; 16 * 48])
    );
    let forgetful = FolderSource::new(vec![good, bad], 1, 16, 48).with_cache_bytes(0);
    assert!(forgetful.load(0).is_err());
    let error = forgetful.load(1).unwrap_err();
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
fn a_mask_drawn_on_the_stored_pixels_is_turned_like_its_image() {
    let dir = tree(&[]);
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
    let source = FolderSource::new(vec![Pair { stem, image, mask }], 1, 4, 2);
    let sample = source.load(0).unwrap();
    assert_eq!(sample.mask, [1, 0, 1, 1, 0, 0, 0, 0]);
    let gray: Vec<u8> = sample.image.iter().step_by(3).map(|it| it / 255).collect();
    assert_eq!(gray, sample.mask);
}
