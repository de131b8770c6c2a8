//! Which file is the annotated image.

use super::*;

fn coco(names: &[&str]) -> String {
    let images: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            format!(r#"{{"id": {i}, "file_name": "{name}", "height": 2, "width": 2}}"#)
        })
        .collect();
    format!(
        r#"{{"images": [{}], "annotations": [], "categories": []}}"#,
        images.join(",")
    )
}

#[test]
fn no_name_leads_out_of_the_folder() {
    for image in [
        "/etc/hostname",
        "../a.png",
        "images/../../a.png",
        r"C:\\a.png",
        "c:/a.png",
        r"\\\\host\\a.png",
    ] {
        let shown = image.replace(r"\\", r"\");
        let expected = format!("names the file `{shown}`, which is outside of the folder");
        let labelme = format!(r#"{{"shapes": [], "imagePath": "{image}"}}"#);
        let cvat =
            format!(r#"<annotations><image name="{shown}" width="2" height="2"/></annotations>"#);
        let voc = format!("<annotation><filename>{shown}</filename></annotation>");
        for (name, text) in [
            ("a.json", &coco(&[image])),
            ("a.json", &labelme),
            ("a.xml", &cvat),
            ("a.xml", &voc),
        ] {
            let error = refusal(&[(name, text), ("images/b.png", "2x2")]);
            assert_eq!(error, format!("`DIR/{name}` {expected}"));
        }
    }
    let yaml = "train: list.txt\nnames: [a]\n";
    let files = [
        ("data.yaml", yaml),
        ("list.txt", "../a.png"),
        ("labels/a.txt", "0 0 0 1 0 1 1"),
    ];
    assert_eq!(
        refusal(&files),
        "`DIR/list.txt` names the file `../a.png`, which is outside of the folder"
    );
}

#[test]
fn the_split_decides_between_images_of_one_name() {
    let found = annotations(&[
        (
            "annotations/instances_train.json",
            &coco(&["1.png", "2.png"]),
        ),
        ("annotations/instances_val.json", &coco(&["1.png"])),
        ("train/images/1.png", "2x2"),
        ("train/images/2.png", "2x2"),
        ("val/images/1.png", "2x2"),
    ]);
    let splits: Vec<_> = found
        .images
        .iter()
        .map(|image| (name(image), image.part))
        .collect();
    let (train, val) = (Some(Part::Train), Some(Part::Val));
    assert_eq!(splits, [("1.png", train), ("2.png", train), ("1.png", val)]);
    let text = refusal(&[
        ("all.json", &coco(&["1.png"])),
        ("a/1.png", "2x2"),
        ("b/1.png", "2x2"),
    ]);
    assert_eq!(
        text,
        "`DIR/all.json` names the image `1.png`, which may be `a/1.png` or `b/1.png`"
    );
    let found = annotations(&[
        ("all.json", &coco(&["1.png"])),
        ("masks/1.png", "2x2"),
        ("JPEGImages/1.png", "2x2"),
    ]);
    assert!(found.images[0].file.ends_with("JPEGImages/1.png"));
    // The name as it is comes first.
    let found = annotations(&[
        ("all.json", &coco(&["b/1.png"])),
        ("a/b/1.png", "2x2"),
        ("b/1.png", "2x2"),
    ]);
    assert!(found.images[0].file.ends_with("b/1.png"));
    assert!(!found.images[0].file.ends_with("a/b/1.png"));
}

#[test]
fn an_image_is_annotated_once() {
    let text = refusal(&[("a.json", &coco(&["1.png", "./1.png"])), ("1.png", "2x2")]);
    assert_eq!(
        text,
        "`DIR/a.json` annotates `1.png`, which is annotated in `DIR/a.json` as well"
    );
}

#[test]
fn names_are_compared_byte_by_byte() {
    // One letter, composed and decomposed.
    let (composed, decomposed) = ("\u{e9}.png", "e\u{301}.png");
    let files = [
        ("a.json", &coco(&[composed, decomposed])[..]),
        (composed, "2x2"),
        (decomposed, "2x2"),
    ];
    let found = annotations(&files);
    assert_eq!(
        found.images.iter().map(name).collect::<Vec<_>>(),
        [composed, decomposed]
    );
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_no_trap() {
    let dir = folder(&[("set/a.json", &coco(&["1.png"])), ("store/1.png", "2x2")]);
    let set = dir.path().join("set");
    std::os::unix::fs::symlink(dir.path().join("store"), set.join("images")).unwrap();
    std::os::unix::fs::symlink(&set, dir.path().join("store/circle")).unwrap();
    std::os::unix::fs::symlink("nowhere", set.join("dangling.json")).unwrap();
    // Reading a pipe would wait for a writer.
    let pipe = std::process::Command::new("mkfifo")
        .arg(set.join("pipe.json"))
        .status()
        .unwrap();
    assert!(pipe.success());
    let found = read(&set).unwrap().unwrap();
    assert!(found.images[0].file.ends_with("set/images/1.png"));
}
