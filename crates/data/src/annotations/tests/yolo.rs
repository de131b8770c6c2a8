use super::*;

const YAML: &str = "path: /content/datasets/leaves # of another machine\ntrain: ../train/images\nval:\n  - valid/images\ntest:\nnc: 2\nnames: ['leaf', no]\n";
const LEAF: &str = "0 0 0 0.5 0 0.5 0.5 0 0.5\n\n1 0.5 0.5 1 0.5 1.0 1\n";

#[test]
fn labels_and_images_are_found_as_by_ultralytics() {
    let found = annotations(&[
        ("data.yaml", YAML),
        ("train/images/b.png", "8x12"),
        ("train/images/a.jpg", "4x4"),
        ("train/images/notes.md", ""),
        ("train/labels/b.txt", LEAF),
        ("valid/images/images/c.png", "2x2"),
    ]);
    assert_eq!(
        (found.format, &found.classes[..]),
        (Format::Yolo, &["leaf".into(), "no".into()][..])
    );
    let files: Vec<_> = found
        .images
        .iter()
        .map(|it| (name(it), it.size, it.part, it.shapes.len()))
        .collect();
    assert_eq!(
        files,
        [
            ("a.jpg", (4, 4), Some(Part::Train), 0),
            ("b.png", (8, 12), Some(Part::Train), 2),
            ("c.png", (2, 2), Some(Part::Val), 0)
        ]
    );
    // ultralytics 8.4.190 with opencv-python-headless 5.0.0.93:
    // polygon2mask((8, 12), [np.array([0, 0, 6, 0, 6, 4, 0, 4])])
    // polygon2mask((8, 12), [np.array([6, 4, 12, 4, 12, 8])])
    assert_eq!(
        rows(&found.images[1], Uncertain::Paint),
        [
            "1111111.....",
            "1111111.....",
            "1111111.....",
            "1111111.....",
            "111111222222",
            ".......22222",
            ".........222",
            "...........2"
        ]
    );
}

#[test]
fn names_may_be_a_map_and_images_a_list() {
    let yaml = "train: lists/train.txt\nval: images/val\nvalidation_note: x\nnames:\n  1: b\n  0: background\n";
    let found = annotations(&[
        ("set.yml", yaml),
        (
            "lists/train.txt",
            "../images/train/a.png\nimages/val/v.png\ngone.png\n",
        ),
        ("images/train/a.png", "4x4"),
        ("images/val/v.png", "4x4"),
        ("labels/train/a.txt", "1 0 0 1 0 1 1\n0 0 0 .5 0 .5 .5"),
        ("labels/val/v.txt", ""),
    ]);
    assert_eq!(found.classes, ["b"]);
    assert_eq!(found.images.len(), 2);
    assert_eq!(found.images[0].shapes[1].label, Label::Background);
    assert_eq!(
        ignored(&found),
        [
            "1 image that is missing (first in `lists/train.txt`)",
            "1 image that is listed twice (first in `set.yml`)"
        ]
    );
}

#[test]
fn mistakes_are_named() {
    let with = |yaml: &str, label: &str| {
        refusal(&[
            ("data.yaml", yaml),
            ("images/a.png", "4x4"),
            ("labels/a.txt", label),
        ])
    };
    let yaml = "train: images\nval: images\nnames: [a]\n";
    for (label, expected) in [
        ("0 .5 .5 1 1", "has boxes, no outlines (YOLO)"),
        (
            "0 0 0 1 0 1 1\n0 .5 .5 1 1",
            "has boxes, no outlines (YOLO)",
        ),
        (
            "1 0 0 1 0 1 1",
            "has a mistake in line 1: the class `1` is not defined",
        ),
        (
            "0 0 0 1 0 1",
            "has a mistake in line 1: it has 5 coordinates, but each point needs two",
        ),
        (
            "0 0 0 1 0 1 1 1",
            "has a mistake in line 1: it has 7 coordinates, but each point needs two",
        ),
        (
            "0 0 0 1 0 1 1\n\n0 0 0 1 0 1 4",
            "has a mistake in line 3: the coordinate 4 is not a share of the image's side, 0 to 1",
        ),
        (
            "0 0 0 1 0 1 1\n0 0 0 1 0 1 NaN",
            "has a mistake in line 2: the coordinate NaN is not a share of the image's side, 0 to 1",
        ),
        (
            "0 0 0 1 0 1 1\n0 0 0 1 0 1 x",
            "has a mistake in line 2: `x` is not a number",
        ),
    ] {
        assert_eq!(
            with(yaml, label),
            format!("`DIR/labels/a.txt` {expected}"),
            "{label}"
        );
    }
    let label = "0 0 0 1 0 1 1";
    for (yaml, expected) in [
        (
            "train: images\nnames: [a]\nkpt_shape: [17, 3]\n",
            "contains keypoints, no outlines",
        ),
        ("train: images\nnames: [a\n", "is not a valid YOLO file: "),
        (
            "train: images\nnames: {0: a, 2: b}\n",
            "is not a valid YOLO file: ",
        ),
        (
            "train: pictures\nnames: [a]\n",
            "annotates 1 image(s) that are not in the folder, such as `pictures`",
        ),
        (
            "train: /etc\nnames: [a]\n",
            "annotates 1 image(s) that are not in the folder, such as `/etc`",
        ),
        (
            "train: ../../images\nnames: [a]\n",
            "annotates 1 image(s) that are not in the folder, such as `../../images`",
        ),
    ] {
        let text = with(yaml, label);
        assert!(
            text.starts_with(&format!("`DIR/data.yaml` {expected}")),
            "{text}"
        );
    }
    let text = refusal(&[("images/a.png", "4x4"), ("labels/a.txt", label)]);
    assert_eq!(
        text,
        "`DIR/labels/a.txt` looks like a YOLO label, but no YAML file in the folder names its classes"
    );
    let text = refusal(&[
        ("data.yaml", yaml),
        ("images/a.png", "4x4"),
        ("text/labels/a.txt", label),
    ]);
    assert_eq!(
        text,
        "`DIR/data.yaml` lists images without labels: `DIR/labels/a.txt` does not exist"
    );
}
