//! Names of masks against names of images.

use std::ffi::OsStr;

use super::*;

/// Reads `images/` and `masks/` with these names and gives the names of the masks by image.
fn masks_of(images: &str, masks: &str) -> Vec<String> {
    let in_folder = |folder: &str, names: &str| {
        names
            .split_whitespace()
            .map(|it| format!("{folder}/{it} "))
            .collect::<Vec<_>>()
            .concat()
    };
    let lines = pairs(&tree(
        &(in_folder("images", images) + &in_folder("masks", masks)),
    ));
    let short = |line: &String| {
        line.replace("any ", "")
            .replace("images/", "")
            .replace("masks/", "")
    };
    lines.iter().map(short).collect()
}

#[test]
fn any_affix_of_the_masks_is_found() {
    for (prefix, suffix) in [
        ("", "_mask"),
        ("", ""),
        ("", "_xyz"),
        ("m-", ""),
        ("seg_", "_v2"),
        ("", ".jpg"),
        ("", "マスク"),
        ("GT ", ""),
        ("", "bw"),
    ] {
        let dir = tree("");
        for name in ["a 1", "a 2", "b 11"] {
            add(&dir, format!("images/{name}.jpg"), "");
            add(&dir, format!("masks/{prefix}{name}{suffix}.png"), "");
        }
        let found = pairs(&dir);
        assert_eq!(found.len(), 3, "{prefix} {suffix}");
        let first = format!("any a 1 = images/a 1.jpg + masks/{prefix}a 1{suffix}.png");
        assert_eq!(found[0], first);
    }
}

#[test]
fn any_affix_of_both_is_found() {
    assert_eq!(
        masks_of(
            "img_001.png img_002.png img_010.png",
            "mask_001.png mask_002.png mask_010.png"
        ),
        [
            "img_001 = img_001.png + mask_001.png",
            "img_002 = img_002.png + mask_002.png",
            "img_010 = img_010.png + mask_010.png"
        ]
    );
    assert_eq!(
        masks_of(
            "image1.png image2.png image12.png",
            "label1.tif label2.tif label12.tif"
        )[1],
        "image12 = image12.png + label12.tif"
    );
    assert_eq!(
        masks_of(
            "21_training.tif 22_training.tif",
            "21_manual1.gif 22_manual1.gif"
        )[0],
        "21_training = 21_training.tif + 21_manual1.gif"
    );
    // Fewer masks than images, so that what all masks share is more than their affix.
    let images: Vec<String> = (1..=12).map(|i| format!("img_{i:03}.png")).collect();
    let masks: Vec<String> = (1..=9).map(|i| format!("mask_{i:03}.png")).collect();
    let found = masks_of(&images.join(" "), &masks.join(" "));
    assert_eq!(
        (found.len(), &*found[8]),
        (9, "img_009 = img_009.png + mask_009.png")
    );
}

#[test]
fn numbers_are_not_cut() {
    // `1` is a part of `11`, but not its image.
    let images: Vec<String> = (1..=20).map(|i| format!("{i}.png")).collect();
    let masks: Vec<String> = (1..=20).map(|i| format!("{i}_m.png")).collect();
    let found = masks_of(&images.join(" "), &masks.join(" "));
    assert_eq!((found.len(), &*found[2]), (20, "11 = 11.png + 11_m.png"));
    // Masks for other images match none.
    let dir = tree("images/1.png images/2.png images/3.png masks/11.png masks/12.png masks/13.png");
    assert_eq!(
        refusal(&dir).0,
        "3 image(s) in `images` have no mask in `masks`: 1.png, 2.png, 3.png; masks without an \
         image: 11.png, 12.png, 13.png"
    );
}

#[test]
fn names_that_have_nothing_in_common_do_not_match() {
    for (images, masks) in [
        ("cat.png", "car.png"),
        ("cat.png car.png", "dot.png dor.png"),
        ("a.png", "banana.png"),
        ("a.png b.png", "mask.png"),
        ("IMG_1.png IMG_2.png", "IMG_3.png IMG_4.png"),
    ] {
        let names = format!(" {images} {masks}").replace(' ', " x/");
        let names = names
            .replacen("x/", "images/", images.split(' ').count())
            .replace("x/", "masks/");
        let error = scanned(&tree(&names)).unwrap_err();
        assert!(
            matches!(error, DataError::MasksMissing { .. }),
            "{names}: {error}"
        );
    }
    // A photo and a picture in a folder for each product.
    let error = scanned(&tree("1/front.jpg 1/logo.png 2/front.jpg 2/badge.png")).unwrap_err();
    assert!(matches!(error, DataError::Layout { .. }), "{error}");
}

#[test]
fn a_known_affix_decides_between_two_masks() {
    let found = masks_of("a.png b.png", "a.png a_mask.png b_mask.png b.png");
    assert_eq!(found, ["a = a.png + a_mask.png", "b = b.png + b_mask.png"]);
    let found = masks_of("a.png b.png", "a.png a_color.png b_color.png b.png");
    assert_eq!(found, ["a = a.png + a.png", "b = b.png + b.png"]);
    // Both namings in one set.
    let found = masks_of("a.png b.jpg c.png", "a_mask.png b.png c_mask.png");
    assert_eq!(found[1], "b = b.jpg + b.png");
    // A file that a known affix does not explain is not taken for the mask that is missing.
    let dir = tree(
        "images/a.png images/b.png images/c.png masks/a_mask.png masks/b_mask.png masks/c_old_mask.png",
    );
    assert_eq!(
        stems(&[scanned(&dir).unwrap().train, scanned(&dir).unwrap().val].concat()).len(),
        2
    );
}

#[test]
fn two_unknown_affixes_are_refused() {
    let (text, hint) = refusal(&tree(
        "images/a.png images/b.png masks/a_red.png masks/b_red.png masks/a_tip.png masks/b_tip.png",
    ));
    assert_eq!(
        text,
        "`DIR`: both `masks/a_red.png` and `masks/a_tip.png` could be the mask of `images/a.png`"
    );
    assert_eq!(hint, "move the files that are not meant to another folder");
    // The same in one folder: two observers in CHASE_DB1.
    let text = refusal(&tree(
        "1L.jpg 1L_1stHO.png 1L_2ndHO.png 1R.jpg 1R_1stHO.png 1R_2ndHO.png",
    ))
    .0;
    assert_eq!(
        text,
        "`DIR`: both `1L_1stHO.png` and `1L_2ndHO.png` could be the mask of `1L.jpg`"
    );
}

#[test]
fn endings_do_not_matter() {
    let found = masks_of(
        "a.PNG b.JPEG c.Tif d.webp e.bmp f.jfif g.gif h.jpe",
        "a.png b.png c.png d.PNG e.gif f.TIFF g.bmp h.webp",
    );
    assert_eq!(found.len(), 8);
    // A PNG is taken before others of the same name.
    let found = masks_of("a.png b.png", "a.bmp a.png b.gif b.tif");
    assert_eq!(found, ["a = a.png + a.png", "b = b.png + b.gif"]);
    // `scan.001` has no ending.
    let dir = tree("");
    for name in ["scan.001", "scan.002"] {
        add(&dir, format!("images/{name}"), b"\x89PNG\r\n\x1a\n");
        add(&dir, format!("masks/{name}.png"), "");
    }
    assert_eq!(
        pairs(&dir)[1],
        "any scan.002 = images/scan.002 + masks/scan.002.png"
    );
}

/// Two names in Shift-JIS that are alike once their bytes are replaced.
#[cfg(unix)]
#[test]
fn names_are_bytes() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = tree("");
    for name in [b"\x83\x81".as_slice(), b"\x83\x82"] {
        for (folder, end) in [("images", b".png".as_slice()), ("masks", b"_mask.png")] {
            let name = [name, end].concat();
            add(&dir, Path::new(folder).join(OsStr::from_bytes(&name)), "");
        }
    }
    let found = scanned(&dir).unwrap();
    for pair in found.train.iter().chain(&found.val) {
        let image = pair.image.file_name().unwrap().as_bytes();
        let mask = pair.mask.paths()[0].file_name().unwrap().as_bytes();
        assert_eq!(image[..2], mask[..2]);
        assert_eq!(pair.stem, format!("\\x83\\x{:02x}", image[1]));
    }
    assert_eq!(found.train.len() + found.val.len(), 2);
}

#[cfg(unix)]
#[test]
fn composed_and_decomposed_names_match() {
    let (composed, decomposed) = ("\u{e9}t\u{e9}", "e\u{301}te\u{301}");
    let dir = tree(&format!(
        "images/{composed}.png images/b.png masks/{decomposed}_mask.png masks/b_mask.png"
    ));
    let found = scanned(&dir).unwrap();
    let all = [found.train, found.val].concat();
    let pair = all.iter().find(|pair| pair.stem == composed).unwrap();
    assert!(pair.mask.paths()[0].ends_with(format!("{decomposed}_mask.png")));
    assert_eq!(
        found.notes[0],
        format!(
            "1 image(s) and their masks are named in different Unicode forms (NFC and NFD), such as \
             `images/{composed}.png`"
        )
    );
    // Names that differ in the form alone are different names.
    let dir = tree(&format!(
        "images/{composed}.png images/{decomposed}.png masks/{composed}.png masks/{decomposed}.png"
    ));
    let found = scanned(&dir).unwrap();
    for pair in found.train.iter().chain(&found.val) {
        assert_eq!(pair.image.file_name(), pair.mask.paths()[0].file_name());
    }
}
