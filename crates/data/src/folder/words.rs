//! What the names of folders and files mean, as tables.
//!
//! A layout is not a list of fixed paths here: a folder's name says whether it holds images or
//! masks and which part of a split, wherever it stands. `places.rs` applies this to whole trees.

use std::ffi::OsStr;
use std::path::Path;

/// A part of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Training.
    Train,
    /// Validation.
    Val,
    /// The final score.
    Test,
}

impl Part {
    /// The name of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// The part that a name says, such as `train2017`, `valid` or `instances_val.json`.
    pub(crate) fn of_name(name: &OsStr) -> Option<Self> {
        Word::of(name.as_encoded_bytes()).part
    }

    /// The part that a path says. The last name in it that says one counts.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        path.iter().rev().find_map(Self::of_name)
    }

    /// The part that the folders of a file say. Its own name may be about anything, such as a
    /// train.
    pub(crate) fn of_folder(file: &Path) -> Option<Self> {
        file.parent().and_then(Self::of_path)
    }
}

/// What a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Image,
    Mask,
}

/// Letter case and separators do not count in any of these tables.
const PARTS: [(Part, &[&str]); 3] = [
    (Part::Train, &["train", "training"]),
    (
        Part::Val,
        &["val", "valid", "validation", "validate", "eval", "dev"],
    ),
    (Part::Test, &["test", "testing"]),
];

/// Parts of a split, but only in a name that also says what the folder holds: `imagesTr`.
const SHORT_PARTS: [(Part, &str); 2] = [(Part::Train, "tr"), (Part::Test, "ts")];

/// Folders by what they hold. A weak name is one only beside a folder of the other kind,
/// because `data` alone may hold anything.
const KINDS: [(Kind, Strength, &[&str]); 4] = [
    (
        Kind::Image,
        Strength::Strong,
        &[
            "images",
            "image",
            "imgs",
            "img",
            "jpegimages",
            "leftimg8bit",
        ],
    ),
    (
        Kind::Image,
        Strength::Weak,
        &[
            "data", "input", "inputs", "frames", "photos", "pictures", "x",
        ],
    ),
    (
        Kind::Mask,
        Strength::Strong,
        &[
            "masks",
            "mask",
            "labels",
            "label",
            "lbl",
            "msk",
            "seg",
            "semantic",
            "segmentationclass",
            "segmentationclasspng",
            "segmentation",
            "segmentations",
            "annotations",
            "annotation",
            "annot",
            "ann",
            "gt",
            "gts",
            "gtfine",
            "gtcoarse",
            "groundtruth",
            "targets",
            "target",
            "manual",
            "1stmanual",
            "2ndmanual",
        ],
    ),
    (Kind::Mask, Strength::Weak, &["output", "outputs", "y"]),
];

/// Words that add nothing: `img_dir`, `TrainDataset`.
const FILLERS: [&str; 5] = ["dataset", "set", "split", "dir", "folder"];

/// A name with one of these holds no masks of classes: `SegmentationObject`, `mask_overlays`.
const NOT_CLASSES: [&str; 11] = [
    "object",
    "objects",
    "instance",
    "instances",
    "visualization",
    "visualizations",
    "viz",
    "vis",
    "overlay",
    "overlays",
    "preview",
];

/// What tells masks from images in the names of files, the first before the others where several
/// files could be the mask of one image.
const MASK_AFFIXES: [&str; 21] = [
    "mask",
    "",
    "masks",
    "seg",
    "segmentation",
    "label",
    "labels",
    "labelids",
    "gtfinelabelids",
    "gtcoarselabelids",
    "gt",
    "groundtruth",
    "annotation",
    "matte",
    "l",
    "p",
    "manual1",
    "jpg",
    "jpeg",
    "png",
    "tif",
];

/// What names of images may have and their masks have not.
const IMAGE_AFFIXES: [&str; 8] = [
    "",
    "image",
    "img",
    "sat",
    "rgb",
    "leftimg8bit",
    "0000",
    "training",
];

/// Whether a name means what it says wherever it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

/// What a folder's name says.
#[derive(Debug, Clone, Default)]
pub(super) struct Word {
    pub(super) part: Option<Part>,
    pub(super) kind: Option<Kind>,
    /// Every word of the name is known, as in `train_masks` and unlike in `old_masks`.
    pub(super) exact: bool,
    /// The kind is certain without a folder of the other kind beside it.
    pub(super) strong: bool,
    /// The name without its part, in lower case and without separators.
    pub(super) rest: String,
}

impl Word {
    pub(super) fn of(name: &[u8]) -> Self {
        let tokens = tokens(name);
        let mut word = Self {
            exact: true,
            ..Self::default()
        };
        let mut short = None;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let rest = tokens[at..].concat();
            let two = tokens[at..]
                .iter()
                .take(2)
                .map(String::as_str)
                .collect::<String>();
            at += 1;
            if let Some(kind) = kind_of(&rest) {
                word.take(kind, &rest);
                break;
            } else if let Some(kind) = kind_of(token) {
                word.take(kind, token);
            } else if let Some(kind) = kind_of(&two) {
                word.take(kind, &two);
                at += 1;
            } else if let Some((part, rest)) = part_of(token) {
                word.part = word.part.or(Some(part));
                if let Some(kind) = kind_of(rest) {
                    word.take(kind, rest);
                }
            } else if let Some((part, _)) = SHORT_PARTS.iter().find(|(_, name)| name == token) {
                short = Some(*part);
            } else {
                word.rest.push_str(token);
                let known =
                    FILLERS.contains(&token.as_str()) || token.as_bytes()[0].is_ascii_digit();
                word.exact &= known;
            }
        }
        if tokens
            .iter()
            .any(|token| NOT_CLASSES.contains(&token.as_str()))
        {
            (word.kind, word.exact) = (None, false);
        }
        if word.kind.is_some() {
            word.part = word.part.or(short);
        } else {
            word.exact &= short.is_none();
        }
        word
    }

    /// `label_images` are masks, so a mask outranks an image.
    fn take(&mut self, (kind, strength): (Kind, Strength), text: &str) {
        self.rest.push_str(text);
        if self.kind < Some(kind) {
            (self.kind, self.strong) = (Some(kind), strength == Strength::Strong);
        }
    }
}

fn kind_of(text: &str) -> Option<(Kind, Strength)> {
    let row = KINDS.iter().find(|(_, _, names)| names.contains(&text));
    row.map(|(kind, strength, _)| (*kind, *strength))
}

/// The part of a split that a word names, and the kind if both are in one word, as `annot` in
/// `trainannot`.
fn part_of(token: &str) -> Option<(Part, &str)> {
    let names = PARTS
        .iter()
        .flat_map(|(part, names)| names.iter().map(|name| (*part, *name)));
    let mut found = names.filter_map(|(part, name)| Some((part, token.strip_prefix(name)?)));
    found.find(|(_, rest)| rest.is_empty() || FILLERS.contains(rest) || kind_of(rest).is_some())
}

/// The place of an affix among those known for masks, the most usual first.
pub(super) fn mask_affix_rank(affix: &[u8]) -> Option<usize> {
    let text = tokens(affix).concat();
    MASK_AFFIXES.iter().position(|known| *known == text)
}

/// Whether an affix is known for images.
pub(super) fn is_image_affix(affix: &[u8]) -> bool {
    IMAGE_AFFIXES.contains(&tokens(affix).concat().as_str())
}

/// Whether a word starts at `at` in `name` or ends there: `a|_mask`, `Ground|Truth`, `img|7`.
pub(super) fn is_boundary(name: &[u8], at: usize) -> bool {
    let Some((&before, &after)) = at
        .checked_sub(1)
        .and_then(|before| name.get(before))
        .zip(name.get(at))
    else {
        return true;
    };
    let next_is_small = name.get(at + 1).is_some_and(u8::is_ascii_lowercase);
    is_separator(before)
        || is_separator(after)
        || before.is_ascii_digit() != after.is_ascii_digit()
        || after.is_ascii_uppercase() && (!before.is_ascii_uppercase() || next_is_small)
}

pub(super) fn is_separator(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric()
}

/// The words of a name in lower case: `JPEGImages_2` has `jpeg`, `images` and `2`.
fn tokens(name: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut start = 0;
    for end in 1..=name.len() {
        if is_boundary(name, end) {
            let word = String::from_utf8_lossy(&name[start..end]).to_ascii_lowercase();
            if !is_separator(name[start]) {
                words.push(word);
            }
            start = end;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_say_kind_and_part() {
        use Kind::{Image, Mask};
        use Part::{Test, Train, Val};
        let exact: [(&str, Option<Part>, Option<Kind>); 28] = [
            ("images", None, Some(Image)),
            ("Imgs", None, Some(Image)),
            ("JPEGImages", None, Some(Image)),
            ("leftImg8bit", None, Some(Image)),
            ("img_dir", None, Some(Image)),
            ("images_512", None, Some(Image)),
            ("SegmentationClass", None, Some(Mask)),
            ("SegmentationClassPNG", None, Some(Mask)),
            ("ground_truth", None, Some(Mask)),
            ("Ground-Truth", None, Some(Mask)),
            ("gtFine", None, Some(Mask)),
            ("1st_manual", None, Some(Mask)),
            ("gt_image_2", None, Some(Mask)),
            ("train", Some(Train), None),
            ("TRAINING", Some(Train), None),
            ("train2017", Some(Train), None),
            ("TrainDataset", Some(Train), None),
            ("Valid", Some(Val), None),
            ("validation", Some(Val), None),
            ("testing", Some(Test), None),
            ("imagesTr", Some(Train), Some(Image)),
            ("labelsTr", Some(Train), Some(Mask)),
            ("imagesTs", Some(Test), Some(Image)),
            ("train_masks", Some(Train), Some(Mask)),
            ("masks-val", Some(Val), Some(Mask)),
            ("trainannot", Some(Train), Some(Mask)),
            ("x_train", Some(Train), Some(Image)),
            ("valset", Some(Val), None),
        ];
        for (name, part, kind) in exact {
            let word = Word::of(name.as_bytes());
            assert_eq!(
                (word.part, word.kind, word.exact),
                (part, kind, true),
                "{name}"
            );
        }
    }

    #[test]
    fn paths_of_annotations_say_the_part() {
        for (path, part) in [
            ("annotations/instances_train2017.json", Some(Part::Train)),
            ("valid/_annotations.coco.json", Some(Part::Val)),
            ("gtFine/test/berlin/a_polygons.json", Some(Part::Test)),
            ("Validation", Some(Part::Val)),
            ("train/val/a.json", Some(Part::Val)),
            ("trainval.json", None),
            ("latest/restrain.json", None),
        ] {
            assert_eq!(Part::of_path(Path::new(path)), part, "{path}");
        }
        assert_eq!(Part::of_folder(Path::new("images/train_1.png")), None);
        let folder = Part::of_folder(Path::new("val/train_1.png"));
        assert_eq!(folder, Some(Part::Val));
    }

    #[test]
    fn other_words_in_a_name_make_it_inexact_or_no_kind_at_all() {
        let word = Word::of(b"ISIC2018_Task1_Training_GroundTruth");
        let found = (word.part, word.kind, word.exact);
        assert_eq!(found, (Some(Part::Train), Some(Kind::Mask), false));
        assert_eq!(Word::of(b"stage1_train").part, Some(Part::Train));
        for name in [
            "SegmentationObject",
            "SegmentationClassVisualization",
            "mask_overlays",
        ] {
            assert_eq!(Word::of(name.as_bytes()).kind, None, "{name}");
        }
        for name in ["tr", "ts", "training_log", "imaging", "patient"] {
            assert!(!Word::of(name.as_bytes()).exact, "{name}");
        }
        let rest = |name: &str| Word::of(name.as_bytes()).rest;
        assert_eq!([rest("train_masks"), rest("masks_2")], ["masks", "masks2"]);
    }
}
