//! What is found depends on names alone.

use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::folder::matching::matches;
use crate::folder::places::{Entry, Tree};

/// Files in random folders with random names, and the same files in another order.
fn files_in_two_orders() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let folder = select(vec![
        "images",
        "masks",
        "labels",
        "val/images",
        "val/masks",
        "x",
        "",
    ]);
    let file = (
        folder,
        "(img|x|é)?[ab]_?[0-9]{1,2}(_mask|_seg|_b|m|-)?[.](png|jpg|x)",
    );
    let files = vec(
        file.prop_map(|(folder, name)| format!("{folder}/{name}")),
        2..16,
    );
    files.prop_flat_map(|files| (Just(files.clone()), Just(files).prop_shuffle()))
}

fn read_in_order(files: &[String]) -> String {
    let dir = tree("");
    for path in files {
        add(&dir, path.trim_start_matches('/'), "");
    }
    without_root(&dir, &format!("{:?}", scanned(&dir)))
}

fn entries(folder: &str, names: impl Iterator<Item = String>) -> Vec<Entry> {
    let mut paths: Vec<PathBuf> = names.map(|name| Path::new(folder).join(name)).collect();
    paths.sort();
    Tree::of(&paths).unwrap().entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_order_of_files_does_not_matter((one, other) in files_in_two_orders()) {
        prop_assert_eq!(read_in_order(&one), read_in_order(&other));
    }

    #[test]
    fn a_common_affix_is_found(
        cores in hash_set("[a-z]{3,8}-[0-9]{1,3}", 2..40),
        prefix in select(vec!["", "m_", "Label ", "0_"]),
        suffix in select(vec!["", "_mask", "-x", ".gt", "_0000"]),
    ) {
        let images = entries("images", cores.iter().map(|core| format!("{core}.jpg")));
        let masks = cores.iter().map(|core| format!("{prefix}{core}{suffix}.png"));
        let masks = entries("masks", masks);
        let found = matches(&images, &masks).unwrap();
        for (image, found) in images.iter().zip(&found.masks) {
            let name = [prefix.as_bytes(), &image.name, suffix.as_bytes()].concat();
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&masks[found[0]].name, &name);
        }
    }
}
