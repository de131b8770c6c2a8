//! Says for each folder of a tree what it holds, judging by its name and by the names beside it,
//! and what remains of its path to tell its files apart.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use super::listing::stem;
use super::refused::LayoutProblem;
use super::words::{Kind, Part, Word};

/// Stands for a part's name.
pub(super) const PART: &str = "{part}";

/// A folder that holds images or masks.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) part: Option<Part>,
    /// `None` if no name on its path says what it holds.
    pub(super) kind: Option<Kind>,
    /// It holds something of a kind, but in another depth than what is read.
    pub(super) is_aside: bool,
    /// The path without the names that say kind and part, joined with `/`.
    pub(super) key: PathBuf,
    /// The folder whose name says the kind, and that name without the part.
    pub(super) kind_folder: Option<(PathBuf, String)>,
    /// The name that says the part, unless it says the kind as well.
    pub(super) part_name: Option<String>,
    /// The path for people, up to the last name that says something, with `*` for other names and
    /// [`PART`] for the part's.
    pub(super) shown: String,
    depth: usize,
}

/// A file in such a folder. Its identity is part, folder and name.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Relative to the root.
    pub(super) path: PathBuf,
    /// Index of its [`Place`].
    pub(super) place: usize,
    pub(super) part: Option<Part>,
    pub(super) folder: Vec<u8>,
    /// Without ending, in Unicode's composed form (NFC) unless names differ in the form alone.
    pub(super) name: Vec<u8>,
    /// The name on disk is in composed form.
    pub(super) is_composed: bool,
}

impl Entry {
    /// The path without the names that say kind and part, and without ending. Masks of one image
    /// may be in a folder of this name.
    pub(super) fn key(&self) -> Vec<u8> {
        if self.folder.is_empty() {
            self.name.clone()
        } else {
            [&self.folder, b"/".as_slice(), &self.name].concat()
        }
    }
}

/// The images of a tree with the folders they are in.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) places: Vec<Place>,
    pub(super) entries: Vec<Entry>,
}

impl Tree {
    /// Sorts the images `paths`, which are sorted themselves.
    ///
    /// # Errors
    /// [`LayoutProblem::SplitInSplit`].
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self, LayoutProblem> {
        let base = common_folder(paths);
        let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        let names = Names::of(&base, &folders);
        let places = folders.iter().map(|folder| names.place(&base, folder));
        let mut places: Vec<Place> = places.collect::<Result<_, _>>()?;
        set_aside(&mut places);
        let index: HashMap<&Path, usize> = folders.into_iter().zip(0..).collect();
        let composes = !has_twins(paths);
        let entries = paths.iter().map(|path| {
            let place = index[path.parent().unwrap_or(Path::new(""))];
            let name = stem(path).as_encoded_bytes();
            Entry {
                path: path.clone(),
                place,
                part: places[place].part,
                folder: composed(places[place].key.as_os_str().as_encoded_bytes(), composes),
                name: composed(name, composes),
                is_composed: composed(name, true) == name,
            }
        });
        Ok(Self {
            entries: entries.collect(),
            places,
        })
    }
}

/// The folder that contains all images, unless its name is one of a split.
fn common_folder(paths: &[PathBuf]) -> PathBuf {
    let (Some(first), Some(last)) = (paths.first(), paths.last()) else {
        return PathBuf::new();
    };
    let folders = first.parent().into_iter().flat_map(Path::components);
    folders
        .zip(last.components())
        .take_while(|(one, other)| one == other)
        .map(|(one, _)| one)
        .take_while(|name| {
            let word = Word::of(name.as_os_str().as_encoded_bytes());
            word.part.is_none() || !word.exact
        })
        .collect()
}

/// The first of the folders that is this part of a split by its exact name, at most three deep.
pub(super) fn part_folder(folders: &[PathBuf], part: Part) -> Option<&Path> {
    let is_part = |path: &Path| {
        let word = Word::of(path.file_name().unwrap_or_default().as_encoded_bytes());
        word.part == Some(part) && word.exact && word.kind.is_none()
    };
    let mut high = folders.iter().filter(|path| path.components().count() <= 3);
    high.find(|path| is_part(path)).map(PathBuf::as_path)
}

/// What the names in a tree say.
struct Names<'a> {
    words: HashMap<&'a Path, Word>,
    /// Of the folders in a folder: which kinds are there, by exact names and by any.
    kinds: HashMap<&'a Path, (HashSet<Kind>, HashSet<Kind>)>,
    /// Parts that some folder is by its exact name, so that folders with inexact names are not.
    exact_parts: HashSet<Part>,
}

impl<'a> Names<'a> {
    fn of(base: &Path, folders: &BTreeSet<&'a Path>) -> Self {
        let all: BTreeSet<&Path> = folders.iter().flat_map(|path| path.ancestors()).collect();
        let mut words = HashMap::new();
        let mut kinds: HashMap<_, (HashSet<_>, HashSet<_>)> = HashMap::new();
        for path in all {
            if !path.starts_with(base) || path == base {
                continue;
            }
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            let word = Word::of(name.as_encoded_bytes());
            if let Some(kind) = word.kind {
                let (exact, any) = kinds.entry(parent).or_default();
                any.insert(kind);
                if word.exact {
                    exact.insert(kind);
                }
            }
            words.insert(path, word);
        }
        let exact = words.values().filter(|word: &&Word| word.exact);
        let exact_parts = exact.filter_map(|word| word.part).collect();
        Self {
            words,
            kinds,
            exact_parts,
        }
    }

    fn place(&self, base: &Path, folder: &'a Path) -> Result<Place, LayoutProblem> {
        let mut names: Vec<&Path> = folder
            .ancestors()
            .filter(|it| self.words.contains_key(it))
            .collect();
        names.reverse();
        let kind_at = names
            .iter()
            .filter_map(|path| Some((self.certainty(path)?, *path)))
            .min_by_key(|(certainty, _)| *certainty)
            .map(|(_, path)| path);
        let mut place = Place {
            part: None,
            kind: kind_at.and_then(|path| self.words[path].kind),
            is_aside: false,
            key: PathBuf::new(),
            kind_folder: kind_at.map(|path| (path.to_owned(), self.words[path].rest.clone())),
            part_name: None,
            shown: String::new(),
            depth: 0,
        };
        let is_exact = names.iter().any(|path| {
            let word = &self.words[path];
            word.exact && word.part.is_some()
        });
        let mut shown: PathBuf = base.to_owned();
        let mut unsaid = PathBuf::new();
        for path in names {
            let (word, name) = (&self.words[path], path.file_name().unwrap_or_default());
            let part = word
                .part
                .filter(|part| word.exact || !is_exact && !self.exact_parts.contains(part));
            if place.part.is_some() && part.is_some() && part != place.part {
                return Err(LayoutProblem::SplitInSplit {
                    path: folder.to_owned(),
                });
            }
            place.part = place.part.or(part);
            if Some(path) == kind_at {
                place.depth = place.key.components().count();
                shown.extend([&*unsaid, Path::new(name)]);
                unsaid.clear();
            } else if part.is_some() {
                place.part_name = Some(name.display().to_string());
                shown.extend([&*unsaid, Path::new(PART)]);
                unsaid.clear();
            } else {
                place.key.push(name);
                unsaid.push("*");
            }
        }
        place.shown = shown.display().to_string();
        Ok(place)
    }

    /// How certain it is that the folder's name says what it holds; 0 is most certain.
    fn certainty(&self, path: &Path) -> Option<u8> {
        let word = &self.words[path];
        let (exact, any) = &self.kinds.get(path.parent()?)?;
        word.kind?;
        if word.exact && exact.len() == 2 {
            Some(0)
        } else if any.len() == 2 && exact.len() < 2 {
            Some(1)
        } else {
            (word.exact && word.strong).then_some(2)
        }
    }
}

/// Of images and masks of a part at several depths, only the highest are read: `extra/images` is
/// not when there is `images`.
fn set_aside(places: &mut [Place]) {
    let mut depths: HashMap<(Option<Part>, Kind), BTreeSet<usize>> = HashMap::new();
    for place in &*places {
        if let Some(kind) = place.kind {
            depths
                .entry((place.part, kind))
                .or_default()
                .insert(place.depth);
        }
    }
    for place in places.iter_mut().filter(|place| place.kind.is_some()) {
        let of_kind = |kind| depths.get(&(place.part, kind));
        let both = of_kind(Kind::Image).zip(of_kind(Kind::Mask));
        let highest = both.and_then(|(images, masks)| images.intersection(masks).min());
        place.is_aside = highest.is_some_and(|depth| *depth != place.depth);
    }
}

/// Whether two paths differ in the Unicode form alone.
fn has_twins(paths: &[PathBuf]) -> bool {
    let mut seen = HashSet::new();
    let mut others = paths.iter().map(|path| path.as_os_str().as_encoded_bytes());
    !others.all(|path| path.is_ascii() || seen.insert(composed(path, true)))
}

/// Bytes that are valid UTF-8 in composed form.
pub(super) fn composed(bytes: &[u8], composes: bool) -> Vec<u8> {
    match str::from_utf8(bytes) {
        Ok(text) if composes && !is_nfc(text) => text.nfc().collect::<String>().into_bytes(),
        _ => bytes.to_vec(),
    }
}
