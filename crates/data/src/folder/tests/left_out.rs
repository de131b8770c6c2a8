//! What is found and not used.

use super::*;

/// Reasons and relative paths.
fn left_out(dir: &TempDir) -> Vec<(Reason, String)> {
    let found = scanned(dir).unwrap();
    let short = |it: &LeftOut| (it.reason, without_root(dir, &it.path.display().to_string()));
    found.left_out.iter().map(short).collect()
}

#[test]
fn hidden_files_and_those_of_systems_are_ignored() {
    let dir = tree(
        "images/a.png images/b.png masks/a.png masks/b.png images/._a.png masks/._a.png .DS_Store
         images/.ipynb_checkpoints/a.png __MACOSX/images/a.png images/Thumbs.db masks/desktop.ini
         .cache/images/c.png @eaDir/images/a.png images/THUMBS.DB",
    );
    assert_eq!(pairs(&dir).len(), 2);
    assert_eq!(left_out(&dir), []);
}

#[test]
fn text_beside_images_is_no_news() {
    let dir = tree(
        "images/a.png images/notes.txt masks/a.png val/images/b.png val/masks/b.png dataset.yaml",
    );
    let found = scanned(&dir).unwrap();
    assert_eq!((found.left_out, found.notes), (vec![], vec![]));
}

#[test]
fn what_is_not_used_is_counted_and_named() {
    let dir = tree(
        "train/images/a.png train/images/b.png train/images/c.png train/masks/a.png train/masks/b.png
         train/masks/orphan.png train/images/volume.nii.gz val/images/d.png val/masks/d.png
         extra/e.png masks_old/f.png test/images/g.png",
    );
    add(&dir, "train/masks/c", b"GIF89a");
    assert_eq!(
        left_out(&dir),
        [
            (Reason::OtherFolder, "extra/e.png".to_owned()),
            (Reason::OtherFolder, "masks_old/f.png".to_owned()),
            (Reason::NoMaskInTest, "test/images/g.png".to_owned()),
            (
                Reason::UnknownFormat,
                "train/images/volume.nii.gz".to_owned()
            ),
            (Reason::NoImage, "train/masks/orphan.png".to_owned()),
        ]
    );
    assert_eq!(
        scanned(&dir).unwrap().notes,
        [
            "test images without a mask: 1 left out (`test/images/g.png`)",
            "masks that no image needs: 1 left out (`train/masks/orphan.png`)",
            "images outside the folders that are read: 2 left out (`extra/e.png`, `masks_old/f.png`)",
            "files of an unknown format: 1 left out (`train/images/volume.nii.gz`)",
        ]
    );
}

#[test]
fn first_bytes_count_where_the_ending_says_nothing() {
    let starts: [&[u8]; 7] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"GIF87a",
        b"II*\0\x08\0\0\0",
        b"MM\0*",
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"BM\x46\0\0\0\0\0\0\0\x36\0",
    ];
    let dir = tree("");
    for (i, start) in starts.iter().enumerate() {
        add(&dir, format!("images/a{i}.dat"), start);
        add(&dir, format!("masks/a{i}"), start);
    }
    add(&dir, "images/notes.dat", "BMW is not a bitmap");
    assert_eq!(pairs(&dir).len(), 7);
    assert_eq!(
        left_out(&dir),
        [(Reason::UnknownFormat, "images/notes.dat".to_owned())]
    );
}

#[test]
fn up_to_a_third_may_lack_a_mask() {
    let with_masks = |masks: usize| {
        let image = |i: usize| format!("train/images/a{i}.png ");
        let mask = |i: usize| format!("train/masks/a{i}.png ");
        let files: String = (0..6).map(image).chain((0..masks).map(mask)).collect();
        tree(&(files + "val/images/b.png val/masks/b.png"))
    };
    let dir = with_masks(4);
    let found = scanned(&dir).unwrap();
    assert_eq!(found.train.len(), 4);
    assert_eq!(
        found.notes,
        [
            "attention: 2 of 6 images for training have no mask and are left out (above a third is an \
          error): a4.png, a5.png"
        ]
    );
    assert_eq!(left_out(&dir).len(), 2);
    let (text, hint) = refusal(&with_masks(3));
    assert_eq!(
        text,
        "3 image(s) in `train/images` have no mask in `train/masks`: a3.png, a4.png, a5.png"
    );
    assert!(hint.contains("up to a third"), "{hint}");
    // The images for validation count by themselves.
    let text = refusal(&tree(
        "train/images/a.png train/masks/a.png val/images/b.png",
    ))
    .0;
    assert_eq!(
        text,
        "1 image(s) in `val/images` have no mask in `DIR`: b.png"
    );
}

#[test]
fn test_needs_no_masks() {
    for test in ["test/images", "images/test", "testing/img"] {
        let dir = tree(&format!(
            "images/a.png images/b.png masks/a.png masks/b.png {test}/c.png {test}/d.png"
        ));
        let found = scanned(&dir).unwrap();
        assert_eq!(
            (pairs(&dir).len(), found.test.len(), found.left_out.len()),
            (2, 0, 2),
            "{test}"
        );
    }
    let dir = tree(
        "train/a.jpg train/a_mask.png val/b.jpg val/b_mask.png test/c.jpg test/d.jpg test/d_mask.png",
    );
    assert_eq!(stems(&scanned(&dir).unwrap().test), ["d"]);
    assert_eq!(
        left_out(&dir),
        [(Reason::NoMaskInTest, "test/c.jpg".to_owned())]
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let dir = tree("elsewhere/a.png elsewhere/b.png set/masks/a.png set/masks/b.png");
    let set = dir.path().join("set");
    symlink(dir.path().join("elsewhere"), set.join("images")).unwrap();
    symlink(&set, set.join("again")).unwrap();
    symlink("nowhere", set.join("masks/c.png")).unwrap();
    symlink("nowhere", set.join(".hidden")).unwrap();
    let found = scan(&set, &SplitOptions::default()).unwrap();
    assert_eq!(found.train.len() + found.val.len(), 2);
    let reasons: Vec<Reason> = found.left_out.iter().map(|it| it.reason).collect();
    assert_eq!(reasons, [Reason::LinkLoop, Reason::BrokenLink]);
}

#[test]
fn a_tree_is_searched_to_a_depth() {
    let deep = "1/2/3/4/5/6/7/8";
    let dir = tree(&format!(
        "images/a.png images/b.png masks/a.png masks/b.png images/{deep}/c.png"
    ));
    assert_eq!(pairs(&dir).len(), 2);
    assert_eq!(
        left_out(&dir),
        [(Reason::TooDeep, "images/1/2/3/4/5/6/7".to_owned())]
    );
}
