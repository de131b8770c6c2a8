//! Makes the `.tar.gz` of a folder: the same files always make the same bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, HeaderMode};

use crate::error::Error;
use crate::files::{sorted, unwritable};

/// Packs `folder` under its own name, and returns the size of the archive.
pub(crate) fn write(folder: &Path, archive: &Path) -> Result<u64, Error> {
    let file = File::create(archive).map_err(|it| unwritable(archive, it))?;
    let encoder = GzEncoder::new(BufWriter::new(file), Compression::best());
    let mut builder = Builder::new(encoder);
    // All entries have the same time and owner; gzip's header has no time either.
    builder.mode(HeaderMode::Deterministic);
    let name = folder.file_name().map_or(Path::new(""), Path::new);
    for (path, name) in tree(folder, name)? {
        let added = if path.is_dir() {
            builder.append_dir(name, path)
        } else {
            builder.append_path_with_name(path, name)
        };
        added.map_err(|it| unwritable(archive, it))?;
    }
    finish(builder)
        .and_then(|()| Ok(fs::metadata(archive)?.len()))
        .map_err(|it| unwritable(archive, it))
}

/// A folder and everything in it, with the names in the archive, sorted.
fn tree(path: &Path, name: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let mut found = vec![(path.to_path_buf(), name.to_path_buf())];
    if path.is_dir() {
        for child in sorted(path)? {
            let name = name.join(child.file_name().unwrap_or_default());
            found.extend(tree(&child, &name)?);
        }
    }
    Ok(found)
}

/// Flushes every buffer, so that a full disk is still reported.
fn finish(builder: Builder<GzEncoder<BufWriter<File>>>) -> io::Result<()> {
    builder.into_inner()?.finish()?.flush()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, SystemTime};

    use flate2::read::GzDecoder;
    use tempfile::TempDir;

    use super::*;

    /// Makes a folder `snug` with files in this order, with this mode and time.
    fn folder(dir: &TempDir, files: [&str; 3], mode: u32, time: SystemTime) -> PathBuf {
        let folder = dir.path().join("snug");
        for name in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            let executable = if name.ends_with("train") { 0o100 } else { 0 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | executable)).unwrap();
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        folder
    }

    #[test]
    fn the_same_files_make_the_same_bytes() {
        let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let now = SystemTime::now();
        let files = ["train", "libexec/train", "README.md"];
        let earlier = now - Duration::from_secs(100_000);
        let first = folder(&dirs[0], files, 0o644, now);
        let mut reversed = files;
        reversed.reverse();
        let second = folder(&dirs[1], reversed, 0o600, earlier);
        let [to_a, to_b] = [0, 1].map(|it| dirs[it].path().join("snug.tar.gz"));
        let bytes = write(&first, &to_a).unwrap();
        write(&second, &to_b).unwrap();
        assert_eq!(fs::read(&to_a).unwrap(), fs::read(&to_b).unwrap());
        assert_eq!(fs::metadata(&to_a).unwrap().len(), bytes);

        let mut entries = Vec::new();
        let mut archive = tar::Archive::new(GzDecoder::new(File::open(&to_a).unwrap()));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            entries.push((path, entry.header().mode().unwrap(), text));
        }
        let entry = |path: &str, mode, text: &str| (path.to_owned(), mode, text.to_owned());
        assert_eq!(
            entries,
            [
                entry("snug", 0o755, ""),
                entry("snug/README.md", 0o644, "README.md"),
                entry("snug/libexec", 0o755, ""),
                entry("snug/libexec/train", 0o755, "libexec/train"),
                entry("snug/train", 0o755, "train"),
            ]
        );
    }

    #[test]
    fn a_missing_folder_is_named() {
        let dir = TempDir::new().unwrap();
        let error = write(dir.path(), &dir.path().join("no/such/a.tar.gz")).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    }
}
