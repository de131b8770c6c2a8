//! Validation sets that are split off.

use super::*;

/// A flat folder of `count` images.
fn flat(count: usize) -> TempDir {
    let files = (0..count).map(|i| format!("imgs/a{i:03}.png masks/a{i:03}_mask.png "));
    tree(&files.collect::<String>())
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
    assert_eq!(
        without_root(&dir, &found.notes[0]),
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

#[test]
fn without_a_val_folder_a_part_is_split_off_and_reported() {
    let dir =
        tree("train/images/a.png train/images/b.png train/masks/a_mask.png train/masks/b_mask.png");
    let found = scanned(&dir).unwrap();
    assert_eq!(
        (found.train.len(), found.val.len(), found.notes.len()),
        (1, 1, 1)
    );
    assert!(found.notes[0].starts_with("no `val` folder: 1 of the 2 images"));
    // Images without a part are for training beside a folder for validation.
    let dir = tree("images/a.png masks/a.png val/images/b.png val/masks/b.png");
    let found = scanned(&dir).unwrap();
    assert_eq!(
        (stems(&found.train), stems(&found.val)),
        (vec!["a"], vec!["b"])
    );
}
