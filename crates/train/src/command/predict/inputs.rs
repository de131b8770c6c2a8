//! The images that `predict` is asked for: files, folders with all that is below them, patterns, and
//! lists of these.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

use data::decode::ENDINGS;
use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, Result};
use crate::usage::UsageError;

/// The suffix of a mask's name, after the stem of its image's.
const SUFFIX: &str = "_mask.png";

/// An image, and its mask below the folder of masks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) image: PathBuf,
    pub(super) mask: PathBuf,
}

/// Files of folders that are not read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    hidden: usize,
    others: usize,
    /// A file that is no image.
    example: Option<PathBuf>,
    masks: usize,
    unreadable: usize,
}

impl fmt::Display for LeftOut {
    /// `2 hidden, 3 no images (such as notes.txt)`; empty if nothing is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let no_images = match &self.example {
            Some(path) => format!("no images (such as `{}`)", path.display()),
            None => "no images".to_owned(),
        };
        let kinds = [
            (self.hidden, "hidden"),
            (self.others, &no_images),
            (self.masks, "masks of other images, by their names"),
            (self.unreadable, "not readable"),
        ];
        let kinds = kinds.into_iter().filter(|(count, _)| *count > 0);
        let kinds: Vec<String> = kinds
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        f.write_str(&kinds.join(", "))
    }
}

/// Finds the images of `inputs` and of the lists in `lists`. A mask's folder below `out` is that of its
/// image below the folder or the pattern, or below what all single files have in common. Nothing in
/// `out` is an image.
///
/// # Errors
/// If a path does not exist, or there is no image at all.
pub(super) fn find(
    inputs: &[PathBuf],
    lists: &[PathBuf],
    out: &Path,
) -> Result<(Vec<Input>, LeftOut)> {
    let mut search = Search {
        out: out.canonicalize().ok(),
        ..Search::default()
    };
    let mut single = Vec::new();
    for input in inputs {
        search.add(input, &mut single)?;
    }
    search.add_files(&single);
    for list in lists {
        let mut single = Vec::new();
        for path in read_list(list)? {
            search.add(&path, &mut single)?;
        }
        search.add_files(&single);
    }
    if search.found.is_empty() {
        let places = inputs
            .iter()
            .chain(lists)
            .map(|it| format!("`{}`", it.display()));
        let places: Vec<String> = places.collect();
        let places = places.join(", ");
        return Err(UsageError::NoImages { places }.into());
    }
    search.found()
}

/// The paths of a list, one in each line. Empty lines and those that begin with `#` do not count. A path
/// that is not there is one beside the list.
fn read_list(list: &Path) -> Result<Vec<PathBuf>> {
    let mut text = Vec::new();
    let read = if list == Path::new("-") {
        std::io::stdin().read_to_end(&mut text)
    } else {
        std::fs::File::open(list).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(|error| Error::io("read", list, error))?;
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let beside = list.parent().unwrap_or(Path::new(""));
    let path = |line: &[u8]| {
        let path = path_of(line);
        let other = beside.join(&path);
        if !path.exists() && other.exists() {
            other
        } else {
            path
        }
    };
    Ok(lines.map(path).collect())
}

/// Names are bytes where the system's are.
#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

#[derive(Debug, Default)]
struct Search {
    /// Images with the folder of their masks, in order.
    found: Vec<(PathBuf, PathBuf)>,
    left_out: LeftOut,
    /// The folder of masks, if it exists.
    out: Option<PathBuf>,
}

impl Search {
    /// Adds what `input` names; a file goes to `single`.
    fn add(&mut self, input: &Path, single: &mut Vec<PathBuf>) -> Result<()> {
        if input.is_file() {
            single.push(input.to_owned());
        } else if input.is_dir() {
            self.add_folder(input, input);
        } else if let Some((base, pattern)) = pattern(input) {
            let wrong = |error: glob::PatternError| UsageError::NotAPattern {
                pattern: pattern.to_owned(),
                problem: error.msg.to_owned(),
            };
            let matches: Vec<_> = glob::glob(pattern).map_err(wrong)?.collect();
            self.left_out.unreadable += matches.iter().filter(|it| it.is_err()).count();
            let paths = matches.into_iter().flatten();
            let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
            // `**` matches the folders of files as well.
            if files.is_empty() {
                for folder in &folders {
                    self.add_folder(folder, &base);
                }
            }
            for file in files {
                self.add_file(file, &base);
            }
        } else {
            return Err(Error::io("read", input, ErrorKind::NotFound.into()));
        }
        Ok(())
    }

    /// Adds files that were named one by one.
    fn add_files(&mut self, files: &[PathBuf]) {
        let base = common_folder(files);
        for file in files {
            self.push(file.clone(), &base);
        }
    }

    /// Adds the images of a folder and of those below it.
    fn add_folder(&mut self, folder: &Path, base: &Path) {
        let is_out = |entry: &DirEntry, out: &Option<PathBuf>| {
            entry.depth() > 0
                && entry.file_type().is_dir()
                && out.is_some()
                && entry.path().canonicalize().ok() == *out
        };
        let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
        let out = self.out.clone();
        let mut entries = walk.into_iter();
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                self.left_out.unreadable += 1;
                continue;
            };
            let is_dir = entry.file_type().is_dir();
            let is_hidden = entry.depth() > 0 && is_hidden(entry.file_name());
            if is_hidden || is_out(&entry, &out) {
                self.left_out.hidden += usize::from(is_hidden);
                if is_dir {
                    entries.skip_current_dir();
                }
            } else if !is_dir {
                self.add_file(entry.into_path(), base);
            }
        }
    }

    fn add_file(&mut self, file: PathBuf, base: &Path) {
        if file.file_name().is_some_and(is_hidden) {
            self.left_out.hidden += 1;
        } else if is_image(&file) {
            self.push(file, base);
        } else {
            self.left_out.others += 1;
            self.left_out.example.get_or_insert(file);
        }
    }

    fn push(&mut self, image: PathBuf, base: &Path) {
        let folder = image.parent().unwrap_or(Path::new(""));
        let below = folder
            .strip_prefix(base)
            .unwrap_or(Path::new(""))
            .to_owned();
        self.found.push((image, below));
    }

    /// The images, each once, without those that are the masks of others.
    fn found(mut self) -> Result<(Vec<Input>, LeftOut)> {
        let masks: HashSet<PathBuf> = self
            .found
            .iter()
            .map(|(image, _)| image.with_file_name(mask_name(image)))
            .collect();
        let mut seen = HashSet::new();
        let mut by_mask: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        let mut inputs = Vec::new();
        for (image, below) in self.found {
            if masks.contains(&image) {
                self.left_out.masks += 1;
                continue;
            }
            if !seen.insert(image.clone()) {
                continue;
            }
            let mask = below.join(mask_name(&image));
            if let Some(first) = by_mask.insert(mask.clone(), image.clone()) {
                let second = image;
                return Err(UsageError::OneMaskForTwo {
                    first,
                    second,
                    mask,
                }
                .into());
            }
            inputs.push(Input { image, mask });
        }
        Ok((inputs, self.left_out))
    }
}

fn mask_name(image: &Path) -> OsString {
    let mut name = image.file_stem().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    name
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_image(file: &Path) -> bool {
    let ending = file
        .extension()
        .map(|it| it.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|it| ENDINGS.contains(&it.as_str()))
}

/// A path with `*`, `?` or `[` as a pattern, and the folders before these.
fn pattern(path: &Path) -> Option<(PathBuf, &str)> {
    let text = path.to_str()?;
    let is_plain =
        |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let base: PathBuf = path.components().take_while(is_plain).collect();
    (base != path).then_some((base, text))
}

/// The folder that all `files` are below.
fn common_folder(files: &[PathBuf]) -> PathBuf {
    let mut folders = files.iter().filter_map(|file| file.parent());
    let Some(first) = folders.next() else {
        return PathBuf::new();
    };
    folders.fold(first.to_owned(), |common, folder| {
        let both = common.components().zip(folder.components());
        both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    /// Images and masks, relative to the folder.
    fn found(dir: &tempfile::TempDir, inputs: &[&str], out: &str) -> (Vec<String>, String) {
        let inputs: Vec<_> = inputs.iter().map(|it| dir.path().join(it)).collect();
        let (found, left_out) = find(&inputs, &[], &dir.path().join(out)).unwrap();
        let line = |it: &Input| {
            let image = it.image.strip_prefix(dir.path()).unwrap();
            format!("{} -> {}", image.display(), it.mask.display())
        };
        let root = format!("{}/", dir.path().display());
        (
            found.iter().map(line).collect(),
            left_out.to_string().replace(&root, ""),
        )
    }

    #[test]
    fn trees_keep_their_folders_and_say_what_they_leave_out() {
        let dir = tree(&[
            "in/a.png",
            "in/b/a.JPG",
            "in/b/._a.JPG",
            "in/.git/x.png",
            "in/notes.txt",
            "in/a_mask.png",
            "in/out/a_mask.png",
            "in/out/b/a_mask.png",
        ]);
        let (lines, left_out) = found(&dir, &["in"], "in/out");
        assert_eq!(
            lines,
            ["in/a.png -> a_mask.png", "in/b/a.JPG -> b/a_mask.png"]
        );
        assert_eq!(
            left_out,
            "2 hidden, 1 no images (such as `in/notes.txt`), 1 masks of other images, by their names"
        );
        // Two folders of their own, with one name in both.
        let inputs = ["in/b", "in/a.png"].map(|it| dir.path().join(it));
        let refused = find(&inputs, &[], Path::new("out")).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("would both become `a_mask.png`"),
            "{refused}"
        );
    }

    #[test]
    fn patterns_and_single_files_keep_what_tells_them_apart() {
        let dir = tree(&[
            "x/1/a.png",
            "x/2/a.png",
            "x/2/b.tif",
            "x/2/c.txt",
            "y[1].png",
        ]);
        let (lines, left_out) = found(&dir, &["x/**/*"], "out");
        assert_eq!(
            lines,
            [
                "x/1/a.png -> 1/a_mask.png",
                "x/2/a.png -> 2/a_mask.png",
                "x/2/b.tif -> 2/b_mask.png"
            ]
        );
        assert_eq!(left_out, "1 no images (such as `x/2/c.txt`)");
        let (lines, _) = found(&dir, &["x/1/a.png", "x/2/a.png"], "out");
        assert_eq!(
            lines,
            ["x/1/a.png -> 1/a_mask.png", "x/2/a.png -> 2/a_mask.png"]
        );
        // A name that looks like a pattern.
        assert_eq!(
            found(&dir, &["y[1].png"], "out").0,
            ["y[1].png -> y[1]_mask.png"]
        );
    }

    #[test]
    fn a_list_names_files_beside_it() {
        let dir = tree(&["x/1/a.png", "x/2/a.png"]);
        let list = dir.path().join("x/list.txt");
        std::fs::write(&list, "# two\r\n1/a.png\r\n\r\n2/a.png\n").unwrap();
        let (found, _) = find(&[], &[list], Path::new("out")).unwrap();
        let masks: Vec<_> = found.iter().map(|it| it.mask.to_str().unwrap()).collect();
        assert_eq!(masks, ["1/a_mask.png", "2/a_mask.png"]);
    }
}
