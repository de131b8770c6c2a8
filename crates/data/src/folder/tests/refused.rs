//! Folders that are not understood, and what is said about them.

use super::*;

#[test]
fn what_was_found_and_what_was_expected_are_named() {
    let error = scan(Path::new("/no/such"), &SplitOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "there is no folder `/no/such`");
    assert_eq!(error.hint().as_deref(), Some("check the path"));

    let (text, hint) = refusal(&tree(
        "pictures/a.png pictures/b.PNG pictures/c.jpg other/a.npy readme",
    ));
    assert_eq!(
        text,
        "`DIR`: no images with masks, found:\n  `pictures`: 2 .png, 1 .jpg\n  \
         in the folder itself: 1 without ending\n  `other`: 1 .npy"
    );
    assert!(
        hint.starts_with("expected `images/` and `masks/`"),
        "{hint}"
    );

    let many: Vec<String> = (0..9).map(|i| format!("d{i}/a.png")).collect();
    let text = refusal(&tree(&many.join(" "))).0;
    assert!(
        text.ends_with("`d4`: 1 .png\n  ... and 4 more folders"),
        "{text}"
    );
    let empty = tree("");
    fs::create_dir_all(empty.path().join("train/images")).unwrap();
    assert_eq!(
        refusal(&empty).0,
        "`DIR`: no images with masks (it has no files)"
    );
}

#[test]
fn annotations_of_other_formats_are_named() {
    let contents = [
        (
            "annotations/instances.json",
            r#"{"info": {}, "images": [], "annotations": []}"#,
            "COCO",
        ),
        (
            "images/a.json",
            r#"{"version": "5.0", "flags": {}, "shapes": [], "imagePath": "a.jpg"}"#,
            "LabelMe",
        ),
        ("labels/a.txt", "0 0.1 0.2 0.3 0.4 0.5 0.6\n", "YOLO"),
        ("images/a.txt", "3 0.5 0.5 0.25 1", "YOLO"),
        (
            "gtFine/a_polygons.json",
            r#"{"imgHeight": 1, "imgWidth": 1, "objects": []}"#,
            "Cityscapes",
        ),
        (
            "Annotations/a.xml",
            "<annotation>\n<object/></annotation>",
            "PASCAL VOC",
        ),
        (
            "annotations.xml",
            "<?xml version=\"1.0\"?>\n<annotations>\n</annotations>",
            "CVAT",
        ),
    ];
    for (path, content, format) in contents {
        let dir = tree("images/a.jpg images/b.jpg readme.txt classes.txt");
        add(&dir, path, content);
        let (text, hint) = refusal(&dir);
        assert!(
            text.starts_with("`DIR`: no images with masks, found:"),
            "{text}"
        );
        assert_eq!(
            hint,
            format!(
                "the annotations are in the format {format}: `train import DIR --out NEW` makes masks of them"
            )
        );
    }
    for (path, content) in [
        ("a.json", "{\"lr\": 1}"),
        ("a.xml", "<x/>"),
        ("a.txt", "12 lines of text or so"),
    ] {
        let dir = tree("images/a.jpg");
        add(&dir, path, content);
        assert!(refusal(&dir).1.starts_with("expected"), "{path}");
    }
}

#[test]
fn two_folders_of_a_kind_are_refused() {
    let (text, hint) = refusal(&tree("images/a.png masks/a.png labels/a.png"));
    assert_eq!(
        text,
        "`DIR`: both `labels` and `masks` could hold the masks"
    );
    assert_eq!(hint, "move or rename the folder that is not meant");
    let text = refusal(&tree(
        "train/img/a.png train/images/a.png train/masks/a.png",
    ))
    .0;
    assert_eq!(
        text,
        "`DIR`: both `train/images` and `train/img` could hold the images"
    );
    let text = refusal(&tree("images_256/a.png images_512/a.png masks/a.png")).0;
    assert_eq!(
        text,
        "`DIR`: both `images_256` and `images_512` could hold the images"
    );
    // The mask of the field of view and that of the vessels, in DRIVE.
    let files = |i: i32| {
        format!(
            "training/images/{i}_training.tif training/mask/{i}_training_mask.gif \
             training/1st_manual/{i}_manual1.gif "
        )
    };
    let text = refusal(&tree(&(files(21) + &files(22)))).0;
    assert_eq!(
        text,
        "`DIR`: both `training/1st_manual` and `training/mask` could hold the masks"
    );
}

#[test]
fn a_folder_that_matches_nothing_is_no_rival() {
    let dir =
        tree("images/a.png images/b.png masks/a.png masks/b.png labels/legend.png imgs/x.png");
    assert_eq!(pairs(&dir)[0], "any a = images/a.png + masks/a.png");
    let left_out = scanned(&dir).unwrap().left_out;
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    // Each part may have its own name.
    let dir = tree("train/images/a.png train/masks/a.png val/imgs/b.png val/labels/b.png");
    assert_eq!(pairs(&dir).len(), 2);
    // Text is no mask: labels of YOLO beside masks.
    let dir = tree("images/a.png images/b.png labels/a.txt labels/b.txt masks/a.png masks/b.png");
    assert_eq!(pairs(&dir).len(), 2);
}

#[test]
fn a_part_is_never_ignored() {
    let train = "train/images/a.png train/images/b.png train/masks/a.png train/masks/b.png ";
    let text = refusal(&tree(&format!("{train} Valid/pictures/c.png"))).0;
    assert_eq!(
        text,
        "`DIR`: no images with masks in `Valid`, found:\n  `Valid/pictures`: 1 .png"
    );
    let text = refusal(&tree(&format!("{train} validation/readme.txt"))).0;
    assert_eq!(
        text,
        "`DIR`: no images with masks in `validation`, found:\n  `validation`: 1 .txt"
    );
    let dir = tree(train);
    fs::create_dir(dir.path().join("val")).unwrap();
    assert_eq!(
        refusal(&dir).0,
        "`DIR`: no images with masks in `val` (it has no files)"
    );
    let dir = tree("images/train/a.png masks/train/a.png labels/val/b.txt images/val/c.txt");
    assert!(
        refusal(&dir)
            .0
            .starts_with("`DIR`: no images with masks in `images/val`")
    );

    // A folder with more words in its name is taken for one if no other is.
    let dir = tree(&format!("{train} my_val/images/c.png my_val/masks/c.png"));
    assert_eq!(stems(&scanned(&dir).unwrap().val), ["c"]);

    let text = refusal(&tree("val/images/a.png val/masks/a.png")).0;
    assert_eq!(text, "`DIR`: no images for training");
    let (text, hint) = refusal(&tree(
        "train/val/images/a.png train/val/masks/a.png train/train/images/b.png",
    ));
    assert_eq!(text, "`DIR`: `train/val/images` names two parts of a split");
    assert_eq!(hint, "rename one of the two folders");
}

#[test]
fn missing_masks_are_named_up_to_five_and_counted() {
    let images: Vec<String> = (0..7).map(|i| format!("images/a{i}.png")).collect();
    let text = refusal(&tree(&format!("{} masks/a3_mask.png", images.join(" ")))).0;
    assert_eq!(
        text,
        "6 image(s) in `images` have no mask in `masks`: a0.png, a1.png, a2.png, a4.png, a5.png, ..."
    );
}

#[test]
fn two_images_with_one_name_are_refused() {
    let (text, hint) = refusal(&tree("images/a.png images/a.jpg masks/a.png"));
    assert_eq!(
        text,
        "two images are named `a`: `images/a.jpg` and `images/a.png`"
    );
    assert_eq!(hint, "remove or rename one of them");
    // Not so in different parts.
    assert_eq!(
        pairs(&tree(
            "train/a.jpg train/a_mask.png val/a.jpg val/a_mask.png"
        ))
        .len(),
        2
    );
}
