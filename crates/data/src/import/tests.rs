use std::fs;

use tempfile::TempDir;

use super::*;
use crate::annotations::tests::{GOOD, folder};
use crate::annotations::{Uncertain, rasterise};
use crate::decode::{LabelKind, labels};
use crate::masks::Request;
use crate::{FolderSource, Source as _, Survey};

/// An imported folder, `new/out`, and what was said about it.
struct Done {
    dir: TempDir,
    report: Imported,
}

fn import_from(source: &TempDir, classes: KeptClasses) -> Result<Done, DataError> {
    let dir = tempfile::tempdir().unwrap();
    let options = ImportOptions { classes };
    let report = import(
        source.path(),
        &dir.path().join("new/out"),
        &options,
        |_, _| {},
    )?;
    Ok(Done { dir, report })
}

fn imported(files: &[(&str, &str)]) -> Done {
    import_from(&folder(files), KeptClasses::All).unwrap()
}

/// The message with `DIR` for the folder, and the hint.
fn refusal(files: &[(&str, &str)], classes: KeptClasses) -> (String, String) {
    let source = folder(files);
    let error = import_from(&source, classes).err().unwrap();
    let short = |text: String| text.replace(&source.path().display().to_string(), "DIR");
    (
        short(error.to_string()),
        short(error.hint().unwrap_or_default()),
    )
}

impl Done {
    fn out(&self) -> std::path::PathBuf {
        self.dir.path().join("new/out")
    }

    /// The files, in the order of their names.
    fn files(&self) -> Vec<String> {
        let walk = walkdir::WalkDir::new(self.dir.path()).sort_by_file_name();
        let files = walk
            .into_iter()
            .map(Result::unwrap)
            .filter(|it| it.file_type().is_file());
        let path = |it: walkdir::DirEntry| {
            it.path()
                .strip_prefix(self.out())
                .unwrap()
                .display()
                .to_string()
        };
        files.map(path).collect()
    }

    fn mask(&self, name: &str) -> Vec<u32> {
        labels(&self.out().join(name)).unwrap().values
    }

    fn classes(&self) -> String {
        fs::read_to_string(self.out().join("classes.toml")).unwrap()
    }
}

/// A cat.
const OBJECT: &[[u32; 6]] = &[[1, 0, 0, 0, 6, 4]];

/// A COCO file: images by name, each with rectangles (category, crowd, x0, y0, x1, y1). Category 1
/// is `cat`, 2 is `dog` and 3 is `cow`.
fn coco(images: &[(&str, &[[u32; 6]])]) -> String {
    let sized: Vec<_> = images
        .iter()
        .map(|&(name, objects)| (name, 4, 6, objects))
        .collect();
    coco_of(&sized)
}

fn coco_of(images: &[(&str, u32, u32, &[[u32; 6]])]) -> String {
    let (mut listed, mut annotations) = (Vec::new(), Vec::new());
    for (id, (name, height, width, objects)) in images.iter().enumerate() {
        listed.push(format!(
            r#"{{"id": {id}, "file_name": "{name}", "height": {height}, "width": {width}}}"#
        ));
        for [class, crowd, x0, y0, x1, y1] in *objects {
            annotations.push(format!(
                r#"{{"image_id": {id}, "category_id": {class}, "iscrowd": {crowd},
                "segmentation": [[{x0}, {y0}, {x1}, {y0}, {x1}, {y1}, {x0}, {y1}]]}}"#
            ));
        }
    }
    format!(
        r#"{{"images": [{}], "annotations": [{}], "categories": [{{"id": 1, "name": "cat"}},
        {{"id": 2, "name": "dog"}}, {{"id": 3, "name": "cow"}}]}}"#,
        listed.join(", "),
        annotations.join(", ")
    )
}

#[test]
fn masks_of_every_format_are_those_of_its_annotations() {
    for (i, good) in GOOD.into_iter().enumerate() {
        // The last two belong together.
        let with = if i < 5 { good } else { GOOD[11 - i] };
        let files = [("a.png", "4x6"), good, with];
        let source = folder(&files);
        let found = annotations::read(source.path()).unwrap().unwrap();
        let done = imported(&files);
        assert_eq!(
            done.files(),
            ["classes.toml", "images/a.png", "masks/a_mask.png"]
        );
        let image = fs::read(done.out().join("images/a.png")).unwrap();
        assert_eq!(image, fs::read(source.path().join("a.png")).unwrap());
        let expected = rasterise(&found.images[0], Uncertain::Ignore);
        let expected: Vec<u32> = expected.into_iter().map(u32::from).collect();
        assert_eq!(done.mask("masks/a_mask.png"), expected, "{}", found.format);
        let lines = done.report.lines();
        assert_eq!(
            lines[0],
            format!(
                "{}: 1 image with its mask; images are hard links",
                found.format
            )
        );
        let names: Vec<&str> = done.report.names().collect();
        assert_eq!(names[1..], found.classes);
    }
}

#[test]
fn a_folder_is_read_back_with_its_parts() {
    let train = coco(&[("a.png", &[[1, 0, 0, 0, 3, 4]]), ("b.png", &[])]);
    let val = coco(&[("c.png", &[[2, 0, 0, 0, 6, 2], [3, 1, 0, 2, 6, 3]])]);
    let done = imported(&[
        ("annotations/instances_train2017.json", &train),
        ("annotations/instances_val2017.json", &val),
        ("train2017/a.png", "4x6"),
        ("train2017/b.png", "4x6"),
        ("val2017/c.png", "4x6"),
    ]);
    let lines = [
        "COCO: 3 images with their masks (2 train, 1 val); images are hard links",
        "objects: cat 1, dog 1, cow 1",
        "1 image has no outlines: its mask is empty",
        "6 pixels are ignored (255): crowds and void",
    ];
    assert_eq!(done.report.lines(), lines);
    assert_eq!(
        done.classes(),
        "[classes]\nnames = [\"background\",\"cat\",\"dog\",\"cow\"]\nvalues = [0, 1, 2, 3]\nignore = [255]\n"
    );
    let data = folder::scan(&done.out(), &SplitOptions::default()).unwrap();
    assert_eq!(
        (data.train.len(), data.val.len(), data.test.len()),
        (2, 1, 0)
    );
    assert_eq!(data.left_out, []);
    let survey = Survey::of(&data, 1, |_, _| ()).unwrap();
    let reading = survey.reading(None, &Request::default()).unwrap();
    assert_eq!(
        (reading.mask.num_classes, reading.mask.ignored().len()),
        (3, 1)
    );
    let sample = FolderSource::new(data.train, reading, 4, 6)
        .load(0)
        .unwrap();
    assert_eq!(sample.mask, [1, 1, 1, 0, 0, 0].repeat(4));
    let mask = labels(&done.out().join("val/masks/c_mask.png")).unwrap();
    let LabelKind::Palette(colours) = mask.kind else {
        panic!("{:?}", mask.kind)
    };
    // As the masks of PASCAL VOC: 1 is aeroplane, 15 is person, 255 is void.
    let shown = [0, 1, 2, 15, 20, 255].map(|index: usize| colours[index]);
    let expected = [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ];
    assert_eq!(shown, expected.map(|[r, g, b]| [r, g, b, 255]));
}

#[test]
fn classes_are_kept_united_or_made_one() {
    let objects: &[_] = &[[1, 0, 0, 0, 4, 4], [2, 1, 5, 0, 6, 4], [3, 0, 2, 0, 3, 4]];
    let text = coco(&[("a.png", objects)]);
    let files = [("a.json", &*text), ("a.png", "4x6")];
    let group = |name: &str, of: &[&str]| ClassGroup {
        name: name.to_owned(),
        of: of.iter().map(|&name| name.to_owned()).collect(),
    };
    for (classes, row, names, line) in [
        (
            KeptClasses::One,
            [1, 1, 1, 1, 0, 255],
            r#"["background","foreground"]"#,
            None,
        ),
        (
            KeptClasses::These(vec![
                group("pet", &["dog"]),
                group("cattle", &["cow", "cat"]),
            ]),
            [2, 2, 2, 2, 0, 255],
            r#"["background","pet","cattle"]"#,
            None,
        ),
        (
            // What hides a cat is no cat, and a crowd of no class is background.
            KeptClasses::These(vec![group("\"cat\"\u{7f}", &["cat"])]),
            [1, 1, 0, 1, 0, 0],
            r#"["background","\"cat\"\u007F"]"#,
            Some("2 objects of other classes became background"),
        ),
    ] {
        let done = import_from(&folder(&files), classes).unwrap();
        assert_eq!(done.mask("masks/a_mask.png")[..6], row, "{names}");
        assert!(done.classes().contains(names), "{}", done.classes());
        if let Some(line) = line {
            assert!(done.report.lines().iter().any(|it| it == line));
        }
    }
    for (groups, expected) in [
        (
            vec![group("a", &["horse"])],
            "class `horse` is not annotated: found `cat`, `dog`, `cow`",
        ),
        (
            vec![group("a", &["cat"]), group("b", &["cat"])],
            "class `cat` is listed twice",
        ),
        (
            vec![group("a", &["cat"]), group("a", &["dog"])],
            "class `a` is listed twice",
        ),
    ] {
        assert_eq!(refusal(&files, KeptClasses::These(groups)).0, expected);
    }
}

#[test]
fn what_is_lost_is_counted_and_named() {
    let object: &[_] = &[[1, 0, 0, 0, 2, 4], [1, 0, 3, 0, 4, 4], [2, 0, 1, 0, 2, 4]];
    let text = coco(&[
        ("a.png", object),
        ("odd.png", object),
        ("bad.png", object),
        ("out.png", &[[1, 0, 6, 0, 9, 4]]),
        ("g1.png", &[]),
        ("g2.png", &[]),
        ("g3.png", &[]),
        ("g4.png", &[]),
        ("g5.png", &[]),
        ("g6.png", &[]),
    ]);
    let point = r#"{"image_id": 0, "category_id": 1, "segmentation": [[1, 1]]},
        {"image_id": 0, "category_id": 1, "bbox": [0, 0, 1, 1]}, "#;
    let text = text.replace("\"annotations\": [", &format!("\"annotations\": [{point}"));
    let done = imported(&[
        ("a.json", &text),
        ("a.png", "4x6"),
        ("odd.png", "8x12"),
        ("bad.png", "no image"),
        ("out.png", "4x6"),
        ("other.png", "4x6"),
    ]);
    assert_eq!(
        done.report.lines(),
        [
            "COCO: 2 images with their masks; images are hard links",
            "objects: cat 3, dog 1",
            "left out: 6 annotated images do not exist: `g1.png`, `g2.png`, `g3.png`, `g4.png`, `g5.png`, ...",
            "left out: 1 image differs in size from its annotations: `odd.png`",
            "left out: 1 image cannot be read: `bad.png`",
            "left out: 1 box without an outline (first in `a.json`)",
            "left out: 1 outline of fewer than three points (first in `a.json`)",
            "left out: 1 image without annotations (such as `other.png`)",
            "1 class has no objects",
            "1 image has outlines and an empty mask",
            "2 objects share their class with others in their image: masks do not tell them apart",
            "4 pixels of objects are covered by later objects of other classes",
        ]
    );
    let (text, hint) = refusal(
        &[
            ("a.json", &coco(&[("odd.png", object)])),
            ("odd.png", "8x12"),
        ],
        KeptClasses::All,
    );
    assert_eq!(
        text,
        "none of the annotated images in `DIR` can be used:\n  \
         left out: 1 image differs in size from its annotations: `odd.png`"
    );
    assert_eq!(hint, "");
}

#[test]
fn a_mask_may_have_the_stored_size_of_a_turned_image() {
    let turned = crate::decode::tests::turned_png();
    for (height, width, written) in [(3, 5, 1), (5, 3, 1), (6, 3, 0)] {
        let text = coco_of(&[("a.png", height, width, &[]), ("b.png", 4, 6, OBJECT)]);
        let source = folder(&[("a.json", &text), ("b.png", "4x6")]);
        fs::write(source.path().join("a.png"), &turned).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let report = import(source.path(), &out, &ImportOptions::default(), |_, _| {}).unwrap();
        assert_eq!(report.images(), 1 + written, "{height}x{width}");
    }
}

#[test]
fn equal_names_get_those_of_their_folders() {
    let text = coco(&[
        ("x/1.png", &[[1, 0, 0, 0, 6, 4]]),
        ("y/1.jpg", &[]),
        ("y/2.png", &[]),
    ]);
    let done = imported(&[
        ("a.json", &text),
        ("x/1.png", "4x6"),
        ("y/1.jpg", "4x6"),
        ("y/2.png", "4x6"),
    ]);
    assert_eq!(
        done.files()[1..4],
        ["images/2.png", "images/x_1.png", "images/y_1.jpg"]
    );
    assert_eq!(done.mask("masks/x_1_mask.png"), [1; 24]);
    assert_eq!(done.report.renamed, 2);
    let text = coco(&[("x/1.png", &[]), ("y/1.png", &[]), ("x_1.png", &[])]);
    let files = [
        ("a.json", &*text),
        ("x/1.png", "4x6"),
        ("y/1.png", "4x6"),
        ("x_1.png", "4x6"),
    ];
    let (text, _) = refusal(&files, KeptClasses::All);
    assert_eq!(
        text,
        "two images are named `x_1`: `DIR/x/1.png` and `DIR/x_1.png`"
    );
}

#[test]
fn masks_come_before_boxes() {
    let boxes =
        "<annotation><filename>a.jpg</filename><object><name>dog</name></object></annotation>";
    let polygon = boxes.replace(
        "</object>",
        "<polygon><x1>0</x1><y1>0</y1><x2>3</x2><y2>0</y2><x3>3</x3><y3>3</y3></polygon></object>",
    );
    let mut masks = vec![
        ("JPEGImages/a.jpg", "4x6"),
        ("SegmentationClass/a.png", "4x6"),
    ];
    masks.extend([
        ("JPEGImages/b.jpg", "4x6"),
        ("SegmentationClass/b.png", "4x6"),
    ]);
    for xml in [boxes, &polygon] {
        let files = [&[("Annotations/a.xml", xml)], &masks[..]].concat();
        let (text, hint) = refusal(&files, KeptClasses::All);
        assert_eq!(
            text,
            "`DIR` has masks: images in `JPEGImages`, masks in `SegmentationClass`, \
             masks named as their images"
        );
        assert_eq!(hint, "no import is needed: train on `DIR`");
    }
    // Masks that lack images are a better reason than boxes.
    masks.extend([("JPEGImages/c.jpg", "4x6"), ("JPEGImages/d.jpg", "4x6")]);
    masks.extend([("JPEGImages/e.jpg", "4x6"), ("JPEGImages/f.jpg", "4x6")]);
    let files = [&[("Annotations/a.xml", boxes)], &masks[..]].concat();
    let (text, _) = refusal(&files, KeptClasses::All);
    assert!(
        text.starts_with("4 image(s) in `DIR/JPEGImages` have no mask"),
        "{text}"
    );
    let files = [
        ("Annotations/a.xml", &*polygon),
        ("JPEGImages/a.jpg", "4x6"),
    ];
    assert_eq!(imported(&files).report.images(), 1);
    let files = [("Annotations/a.xml", boxes), ("JPEGImages/a.jpg", "4x6")];
    let (text, _) = refusal(&files, KeptClasses::All);
    assert_eq!(
        text,
        "`DIR/Annotations/a.xml` has boxes, no outlines (PASCAL VOC)"
    );
    let (text, hint) = refusal(&[("a.png", "4x6")], KeptClasses::All);
    assert_eq!(text, "`DIR` has no annotations that Snug reads");
    assert!(
        hint.starts_with("the formats are COCO, LabelMe, "),
        "{hint}"
    );
}

#[test]
fn nothing_is_overwritten_or_left_behind() {
    let source = folder(&[("a.json", &coco(&[("a.png", OBJECT)])), ("a.png", "4x6")]);
    let options = ImportOptions::default();
    let refused = |out: &Path| import(source.path(), out, &options, |_, _| {}).unwrap_err();
    assert!(matches!(
        refused(source.path()),
        DataError::OutputNotEmpty { .. }
    ));
    for out in ["new", "deep/er/new"] {
        let error = refused(&source.path().join(out));
        assert!(matches!(error, DataError::OutputInside { .. }), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(
        refused(&dir.path().join("file")),
        DataError::Write { .. }
    ));
    let missing = import(
        &dir.path().join("none"),
        &dir.path().join("out"),
        &options,
        |_, _| {},
    );
    assert!(matches!(
        missing.unwrap_err(),
        DataError::FolderMissing { .. }
    ));
    // An empty folder may be filled.
    let out = dir.path().join("empty");
    fs::create_dir(&out).unwrap();
    import(source.path(), &out, &options, |_, _| {}).unwrap();
    assert!(out.join("masks/a_mask.png").exists());
    assert!(matches!(refused(&out), DataError::OutputNotEmpty { .. }));
    // The name of the mask is too long for the file system.
    let long = format!("{}.png", "n".repeat(250));
    let source = folder(&[("a.json", &coco(&[(&long, OBJECT)])), (&long, "4x6")]);
    let error = import(source.path(), &dir.path().join("out"), &options, |_, _| {}).unwrap_err();
    assert!(matches!(error, DataError::Write { .. }), "{error}");
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["empty", "file"]);
}

#[test]
fn progress_counts_every_image() {
    let names: Vec<String> = (0..20).map(|i| format!("{i}.png")).collect();
    let images: Vec<(&str, &[[u32; 6]])> =
        names.iter().map(|name| (name.as_str(), OBJECT)).collect();
    let text = coco(&images);
    let mut files = vec![("a.json", text.as_str())];
    files.extend(names.iter().map(|name| (name.as_str(), "4x6")));
    let source = folder(&files);
    let dir = tempfile::tempdir().unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let progress = |done, all| seen.lock().unwrap().push((done, all));
    import(
        source.path(),
        &dir.path().join("out"),
        &ImportOptions::default(),
        progress,
    )
    .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=20).map(|done| (done, 20)).collect::<Vec<_>>());
}
