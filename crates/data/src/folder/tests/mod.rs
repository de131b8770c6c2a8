mod layouts;
mod left_out;
mod names;
mod order;
mod refused;
mod sources;
mod split;

use std::fs;

use tempfile::TempDir;

use super::*;

/// A folder with empty files at these paths, separated by whitespace. Listing does not open them.
fn tree(paths: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths.split_whitespace() {
        add(&dir, path, "");
    }
    dir
}

fn add(dir: &TempDir, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = dir.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn scanned(dir: &TempDir) -> Result<Dataset, DataError> {
    scan(dir.path(), &SplitOptions::default())
}

fn without_root(dir: &TempDir, text: &str) -> String {
    text.replace(&format!("{}/", dir.path().display()), "")
        .replace(&dir.path().display().to_string(), "DIR")
}

/// The pairs in lines `PART STEM = IMAGE + MASK`. The part is `any` if it was chosen at random.
fn pairs(dir: &TempDir) -> Vec<String> {
    let found = scanned(dir).unwrap_or_else(|error| panic!("{error}\n{:?}", error.hint()));
    let is_random = found.notes.iter().any(|note| note.starts_with("no `val`"));
    let parts = if is_random {
        ["any", "any", "test"]
    } else {
        ["train", "val", "test"]
    };
    let mut lines = Vec::new();
    for (part, pairs) in parts
        .into_iter()
        .zip([&found.train, &found.val, &found.test])
    {
        for Pair { stem, image, mask } in pairs {
            let masks: Vec<_> = mask
                .paths()
                .iter()
                .map(|it| it.display().to_string())
                .collect();
            let line = format!(
                "{part} {stem} = {} + {}",
                image.display(),
                masks.join(" + ")
            );
            lines.push(without_root(dir, &line));
        }
    }
    lines.sort();
    lines
}

/// Checks pairs, one in a line, and the layout in words.
fn assert_reads(paths: &str, layout: &str, expected: &str) {
    let dir = tree(paths);
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    assert_eq!(pairs(&dir), expected, "{layout}");
    assert_eq!(scanned(&dir).unwrap().layout, layout);
}

/// The message of an error and its hint.
fn refusal(dir: &TempDir) -> (String, String) {
    let error = scanned(dir).unwrap_err();
    let hint = error.hint().unwrap();
    (
        without_root(dir, &error.to_string()),
        without_root(dir, &hint),
    )
}

fn stems(pairs: &[Pair]) -> Vec<&str> {
    pairs.iter().map(|pair| pair.stem.as_str()).collect()
}
