//! Writes pages to disk, in the folder layout that [`folder`](crate::folder) reads.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::{check_size, page, test_seed, val_seed};
use crate::{DataError, encode};

/// Number of pages of each kind to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Pages for training.
    pub train: usize,
    /// Pages for validation, from other seeds than the training pages.
    pub val: usize,
    /// Pages for testing, again from other seeds; 0 makes no `test` folder.
    pub test: usize,
}

/// Writes pages of `height` x `width` to `out` as
/// `{train,val,test}/images/page-00000.png` and `.../masks/page-00000_mask.png`
/// (0 and 255), and calls `progress` with (done, all). Files are never left incomplete.
///
/// # Errors
/// [`DataError::OutputNotEmpty`] if `out` already contains anything,
/// [`DataError::Size`], [`DataError::Write`] with the file.
pub fn write_dataset(
    out: &Path,
    counts: Counts,
    (height, width): (u32, u32),
    seed: u64,
    progress: impl Fn(usize, usize),
) -> Result<(), DataError> {
    check_size(height, width)?;
    let failed = |path: &Path, source| DataError::Write {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(out).map_err(|error| failed(out, error))?;
    let mut entries = fs::read_dir(out).map_err(|error| failed(out, error))?;
    if entries.next().is_some() {
        return Err(DataError::OutputNotEmpty {
            path: out.to_owned(),
        });
    }
    let parts = [
        ("train", counts.train, seed),
        ("val", counts.val, val_seed(seed)),
        ("test", counts.test, test_seed(seed)),
    ];
    let all = counts.train + counts.val + counts.test;
    let mut done = 0;
    for (name, pages, seed) in parts.into_iter().filter(|part| part.1 > 0) {
        let (images, masks) = (out.join(name).join("images"), out.join(name).join("masks"));
        for folder in [&images, &masks] {
            fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        }
        for index in 0..pages {
            let page = page(seed, index as u64, height, width);
            let white: Vec<u8> = page.mask.iter().map(|&class| class * 255).collect();
            let files = [
                (
                    images.join(format!("page-{index:05}.png")),
                    png::ColorType::Rgb,
                    page.image,
                ),
                (
                    masks.join(format!("page-{index:05}_mask.png")),
                    png::ColorType::Grayscale,
                    white,
                ),
            ];
            for (path, colour, pixels) in files {
                let bytes = encode::png(colour, None, (height, width), &pixels);
                let written = bytes.and_then(|bytes| write_whole(&path, &bytes));
                written.map_err(|error| failed(&path, error))?;
            }
            done += 1;
            progress(done, all);
        }
    }
    Ok(())
}

/// Writes next to `path` and renames, so that an interrupted run leaves no partial file.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // What `tempfile` itself opens is private, and its errors name the temporary file.
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .make_in(folder, |it| fs::File::create_new(it))?;
    file.as_file_mut().write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
