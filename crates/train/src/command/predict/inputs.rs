//! The images that `predict` is asked for: files, folders with all that is below them, patterns, and
//! lists of these.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

use data::decode::ENDINGS;
use walkdir::WalkDir;

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
    /// Images that are not among those of a data set.
    beside: usize,
    unreadable: usize,
    /// Named files that do not exist, and patterns that match nothing.
    pub(super) missing: Vec<PathBuf>,
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
            (self.beside, "images outside the folders of images"),
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
/// `out` is an image, unless a file there is named by itself.
///
/// # Errors
/// If a path outside the lists does not exist, or there is no image at all.
pub(super) fn find(
    inputs: &[PathBuf],
    lists: &[PathBuf],
    out: &Path,
) -> Result<(Vec<Input>, LeftOut)> {
    let mut search = Search {
        out: out.canonicalize().ok(),
        ..Search::default()
    };
    search.add_all(inputs)?;
    // A missing path in a list is skipped, like an unreadable image.
    if let Some(missing) = search.left_out.missing.first() {
        let why = io::Error::new(ErrorKind::NotFound, "no such file or folder");
        return Err(match pattern(missing) {
            Some(_) => no_images(std::iter::once(missing)),
            None => Error::io("read", missing, why),
        });
    }
    for list in lists {
        search.add_all(&read_list(list)?)?;
    }
    if search.found.is_empty() {
        let missing = &search.left_out.missing;
        let places = if missing.is_empty() { lists } else { missing };
        return Err(no_images(inputs.iter().chain(places)));
    }
    search.found()
}

fn no_images<'a>(places: impl Iterator<Item = &'a PathBuf>) -> Error {
    let places: Vec<String> = places.map(|it| format!("`{}`", it.display())).collect();
    let places = places.join(", ");
    UsageError::NoImages { places }.into()
}

/// The paths in a list, one per line. Empty lines and lines that begin with `#` are skipped. A path that
/// does not exist is looked up relative to the list's folder.
fn read_list(list: &Path) -> Result<Vec<PathBuf>> {
    let mut text = Vec::new();
    let read = if list == Path::new("-") {
        io::stdin().read_to_end(&mut text)
    } else {
        std::fs::File::open(list).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(|error| Error::io("read", list, error))?;
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let beside = list.parent().unwrap_or(Path::new(""));
    let is_there = |path: &Path| path.exists() || pattern(path).is_some_and(|it| it.base.exists());
    let path = |line: &[u8]| {
        let path = path_of(line);
        let other = beside.join(&path);
        if !is_there(&path) && is_there(&other) {
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

/// An image that was found.
#[derive(Debug)]
struct Found {
    image: PathBuf,
    /// The file, whatever way leads to it.
    file: PathBuf,
    /// The folder of its mask below that of all masks.
    below: PathBuf,
}

#[derive(Debug, Default)]
struct Search {
    /// In order.
    found: Vec<Found>,
    left_out: LeftOut,
    /// The folder of masks, if it exists.
    out: Option<PathBuf>,
}

impl Search {
    /// Adds what `inputs` name.
    fn add_all(&mut self, inputs: &[PathBuf]) -> Result<()> {
        let mut single = Vec::new();
        for input in inputs {
            if input.is_dir() {
                self.add_folder(input, input);
            } else if let (false, Some(pattern)) = (input.is_file(), pattern(input)) {
                self.add_pattern(input, &pattern)?;
            } else if input.is_file() {
                single.push(input.clone());
            } else {
                self.left_out.missing.push(input.clone());
            }
        }
        let files: Vec<PathBuf> = single.iter().map(|image| real(image)).collect();
        let base = common_folder(&files);
        for (image, file) in single.into_iter().zip(files) {
            let below = folder_below(&file, &base);
            self.found.push(Found { image, file, below });
        }
        Ok(())
    }

    fn add_pattern(&mut self, input: &Path, pattern: &Pattern) -> Result<()> {
        let wrong = |error: glob::PatternError| UsageError::NotAPattern {
            pattern: pattern.text.clone(),
            problem: error.msg.to_owned(),
        };
        let matches = glob::glob(&pattern.text).map_err(wrong)?;
        let mut num = 0;
        for path in matches {
            num += 1;
            match path {
                Err(_) => self.left_out.unreadable += 1,
                // `**` matches the folders of files as well.
                Ok(path) if path.is_dir() && pattern.text.contains("**") => {}
                Ok(path) if path.is_dir() => self.add_folder(&path, &pattern.base),
                Ok(path) => self.add_file(path, &pattern.base),
            }
        }
        if num == 0 {
            self.left_out.missing.push(input.to_owned());
        }
        Ok(())
    }

    /// Adds the images of a folder and of those below it: of a data set, only what training takes for images.
    fn add_folder(&mut self, folder: &Path, base: &Path) {
        let own = self.out.iter().find_map(|out| {
            let own = out.strip_prefix(folder.canonicalize().ok()?).ok()?;
            Some(own.to_owned()).filter(|it| !it.as_os_str().is_empty())
        });
        let known = data::folder::contents(folder, &[], own.as_deref());
        let known = known.ok().flatten();
        let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
        let mut entries = walk.into_iter();
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                self.left_out.unreadable += 1;
                continue;
            };
            if !entry.file_type().is_dir() {
                let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                match &known {
                    Some(known) if known.masks.contains(below) => self.left_out.masks += 1,
                    Some(known)
                        if !known.images.contains(below)
                            && is_image(below)
                            && !is_hidden(entry.file_name()) =>
                    {
                        self.left_out.beside += 1;
                    }
                    _ => self.add_file(entry.into_path(), base),
                }
            } else if entry.depth() > 0 && is_hidden(entry.file_name()) {
                self.left_out.hidden += 1;
                entries.skip_current_dir();
            } else if entry.depth() > 0 && self.out == entry.path().canonicalize().ok() {
                entries.skip_current_dir();
            }
        }
    }

    fn add_file(&mut self, image: PathBuf, base: &Path) {
        let (file, below) = (real(&image), folder_below(&image, base));
        let is_own = self.out.as_ref().is_some_and(|out| {
            let is_inside = base.canonicalize().is_ok_and(|base| base != *out);
            is_inside && file.starts_with(out)
        });
        let mut names = below.iter().chain(image.file_name());
        if is_own {
            // A mask of an earlier call.
        } else if names.any(is_hidden) {
            self.left_out.hidden += 1;
        } else if is_image(&image) {
            self.found.push(Found { image, file, below });
        } else {
            self.left_out.others += 1;
            self.left_out.example.get_or_insert(image);
        }
    }

    /// The images, each once, without those that are the masks of others.
    fn found(mut self) -> Result<(Vec<Input>, LeftOut)> {
        let mask_of = |found: &Found| found.file.with_file_name(mask_name(&found.image));
        let masks: HashSet<PathBuf> = self.found.iter().map(mask_of).collect();
        let mut seen = HashSet::new();
        let mut by_mask: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        let mut inputs = Vec::new();
        for Found { image, file, below } in self.found {
            if !seen.insert(file.clone()) {
                continue;
            }
            if masks.contains(&file) {
                self.left_out.masks += 1;
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

/// The file with its folder as the system knows it. A link to a file keeps its own name.
fn real(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    match (folder, file.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    }
}

/// The folder of `file` below `base`: never anywhere else.
fn folder_below(file: &Path, base: &Path) -> PathBuf {
    let below = file.parent().and_then(|it| it.strip_prefix(base).ok());
    let parts = below.into_iter().flat_map(Path::components);
    parts
        .filter(|it| matches!(it, Component::Normal(_)))
        .collect()
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

/// A path with `*`, `?` or `[`.
#[derive(Debug)]
struct Pattern {
    text: String,
    /// The folders before the first of these.
    base: PathBuf,
}

fn pattern(path: &Path) -> Option<Pattern> {
    // Matches come without a leading `.`.
    let parts = || path.components().filter(|it| *it != Component::CurDir);
    let is_plain = |part: &Component<'_>| {
        let part = part.as_os_str().to_string_lossy();
        !part.contains(['*', '?', '['])
    };
    let all: PathBuf = parts().collect();
    let base: PathBuf = parts().take_while(is_plain).collect();
    let text = all.to_str().filter(|_| base != all)?.to_owned();
    Some(Pattern { text, base })
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

    /// Nothing is written outside the folder of masks, whatever the paths are like.
    #[test]
    fn absolute_paths_and_ways_round_stay_below_the_folder_of_masks() {
        let dir = tree(&["x/a.png", "x/y/b.png"]);
        let here = std::env::current_dir().unwrap();
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let round = |path: &Path| up.join(path.strip_prefix("/").unwrap());
        let (a, b) = (
            dir.path().join("x/a.png"),
            dir.path().join("x/y/../y/b.png"),
        );
        for inputs in [
            vec![a.clone(), round(&b)],
            vec![round(&a), a.clone(), b.clone()],
        ] {
            let (found, _) = find(&inputs, &[], Path::new("out")).unwrap();
            let masks: Vec<_> = found.iter().map(|it| it.mask.to_str().unwrap()).collect();
            assert_eq!(masks, ["a_mask.png", "y/b_mask.png"], "{inputs:?}");
        }
        assert_eq!(
            folder_below(Path::new("/data/a.png"), Path::new("")),
            Path::new("data")
        );
    }

    #[test]
    fn patterns_leave_out_what_folders_leave_out() {
        let dir = tree(&[
            "in/a.png",
            "in/.git/x.png",
            "in/out/a_mask.png",
            "in/b/c.png",
        ]);
        let (lines, left_out) = found(&dir, &["in/**/*.png"], "in/out");
        assert_eq!(
            lines,
            ["in/a.png -> a_mask.png", "in/b/c.png -> b/c_mask.png"]
        );
        assert_eq!(left_out, "1 hidden");
        // Folders among files.
        let (lines, _) = found(&dir, &["in/*"], "in/out");
        assert_eq!(
            lines,
            ["in/a.png -> a_mask.png", "in/b/c.png -> b/c_mask.png"]
        );
        let nothing = [dir.path().join("in/a.png"), dir.path().join("in/*.tif")];
        let refused = find(&nothing, &[], Path::new("out")).unwrap_err();
        assert!(refused.to_string().ends_with("in/*.tif`"), "{refused}");
        assert_eq!(
            pattern(Path::new("./x/**/*.png")).unwrap().base,
            Path::new("x")
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
