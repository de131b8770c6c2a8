//! Reads a data folder whose files and folders have the given names, one per line.

#![no_main]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use data::folder::{SplitOptions, scan};
use libfuzzer_sys::fuzz_target;

/// Most of the time goes into creating files.
const MAX_FILES: usize = 16;

fuzz_target!(|names: &[u8]| {
    let root = fuzz::folder().join("data");
    fs::create_dir_all(&root).expect("a folder can be made");
    for name in names.split(|byte| *byte == b'\n').take(MAX_FILES) {
        let name = Path::new(OsStr::from_bytes(name));
        let stays = name
            .components()
            .all(|it| matches!(it, Component::Normal(_)));
        let Some(folder) = name.parent().filter(|_| stays) else {
            continue;
        };
        // Names that a file cannot have are skipped.
        if fs::create_dir_all(root.join(folder)).is_ok() {
            drop(fs::write(root.join(name), ""));
        }
    }
    match scan(&root, &SplitOptions::default()) {
        Ok(dataset) => {
            for pair in [dataset.train, dataset.val, dataset.test].concat() {
                assert!(pair.image.is_file());
                assert!(pair.mask.paths().iter().all(|path| path.is_file()));
            }
        }
        Err(error) => drop((error.to_string(), error.hint())),
    }
    fs::remove_dir_all(&root).expect("it can be removed");
});
