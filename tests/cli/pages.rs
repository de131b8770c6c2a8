//! The commands on the guide's pages and in the README, run as they stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Run, Sandbox, small};

/// Beginnings of lines that are not run here, and why.
const NOT_RUN: [(&str, &str); 7] = [
    (
        "cargo xtask bench",
        "takes minutes; `tests/cli/bench.rs` runs it on small cases",
    ),
    ("cargo xtask test", "runs this test"),
    (
        "cargo xtask wheel",
        "takes minutes; `--check` tries the wheel",
    ),
    (
        "cargo build",
        "the step `features` of `ci` builds all combinations",
    ),
    ("pip install", "downloads gigabytes"),
    (
        "snug train DIR",
        "the same as with `--dry-run`, after a wheel was installed",
    ),
    (
        "snug convert unet.pth",
        "needs a file of PyTorch's; `tests/cli/pytorch_files.rs` reads such",
    ),
];

/// The lines of a page's shell commands, without comments.
fn commands(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|it| it.split("```").next());
    blocks
        .flat_map(str::lines)
        .map(|line| {
            line.split(" #")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .filter(|line| !line.is_empty())
        .collect()
}

/// Everything that the pages speak of, under the names that they give it.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::with_pages();
    fs::rename(sandbox.path("data"), sandbox.path("DIR")).unwrap();
    let run = ["--data", "DIR", "--run-dir", "runs/NAME"];
    sandbox.train(&small(&run)).ok();
    fs::copy(
        sandbox.path("runs/NAME/best.safetensors"),
        sandbox.path("best.safetensors"),
    )
    .unwrap();
    fs::create_dir_all(sandbox.path("IMAGES")).unwrap();
    fs::create_dir_all(sandbox.path("SRC")).unwrap();
    let images = sandbox.path("DIR/val/images");
    for (nth, image) in fs::read_dir(images).unwrap().enumerate() {
        let image = image.unwrap().path();
        fs::copy(&image, sandbox.path(&format!("IMAGES/{nth}.png"))).unwrap();
        fs::copy(&image, sandbox.path(&format!("SRC/{nth}.png"))).unwrap();
        let outline = serde_json::json!({
            "imagePath": format!("{nth}.png"), "imageHeight": 64, "imageWidth": 64,
            "shapes": [{"label": "cat", "shape_type": "polygon", "points": [[1, 1], [40, 2], [20, 50]]}],
        });
        sandbox.write(&format!("SRC/{nth}.json"), outline.to_string());
    }
    let settings = "CFG = {\"BATCH\": 8, \"IMG_SIZE\": (384, 512)}\n";
    sandbox.write("train.py", settings);
    sandbox.write("guide.md", format!("# Guide\n\n```python\n{settings}```\n"));
    sandbox
}

/// A line of a page as a program of ours and its words.
fn typed(line: &str) -> Option<(&'static str, Vec<String>)> {
    let ours = [
        ("cargo xtask train", env!("CARGO_BIN_EXE_train"), "fit"),
        (
            "cargo run --features full --bin snug --",
            env!("CARGO_BIN_EXE_snug"),
            "",
        ),
        (
            "cargo run --features full --",
            env!("CARGO_BIN_EXE_train"),
            "",
        ),
        ("cargo run -p advisor --", env!("CARGO_BIN_EXE_snug"), ""),
        ("snug", env!("CARGO_BIN_EXE_snug"), ""),
    ];
    ours.iter().find_map(|(start, program, command)| {
        let words = line.strip_prefix(start)?;
        let words = shlex::split(&format!("{command} {words}"))?;
        Some((*program, words))
    })
}

#[test]
fn every_command_works_or_says_why_it_is_not_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = fs::read_dir(root.join("docs/guide")).unwrap();
    let mut pages: Vec<_> = guide.map(|it| it.unwrap().path()).collect();
    pages.retain(|it| it.extension().is_some_and(|it| it == "md"));
    pages.push(root.join("README.md"));
    let lines: BTreeSet<_> = pages.iter().flat_map(|page| commands(page)).collect();
    let prepared = prepared();
    let mut reasons: BTreeSet<_> = NOT_RUN.map(|(start, _)| start).into();
    let mut num_run = 0;
    for line in &lines {
        if let Some((start, _)) = NOT_RUN
            .iter()
            .find(|(start, _)| line.starts_with(start) && !line.contains("--dry-run"))
        {
            reasons.remove(start);
            continue;
        }
        let (program, words) = typed(line).unwrap_or_else(|| panic!("no command of ours: {line}"));
        let mut words: Vec<_> = words.iter().map(String::as_str).collect();
        match words[0] {
            "fit" => words = small(&[&words[1..], &["--max-steps", "2"]].concat()),
            "memory" => words.extend(["--width", "4", "--img-size", "32x32", "--batch", "1"]),
            _ => {}
        }
        // What one command leaves is not in the way of another.
        let sandbox = Sandbox::empty();
        for (path, bytes) in prepared.tree() {
            let name = path.strip_prefix(prepared.dir.path()).unwrap();
            // `import` makes its folder.
            if let Some(bytes) = bytes.filter(|_| words[0] != "import" || !name.starts_with("DIR"))
            {
                sandbox.write(name.to_str().unwrap(), bytes);
            }
        }
        let run = sandbox.command();
        let mut command = Command::new(program);
        command.args(&words).current_dir(sandbox.dir.path());
        for (name, value) in run.get_envs() {
            command.env(name, value.unwrap());
        }
        let run = Run::of(&mut command);
        assert_eq!(run.code, Some(0), "{line}\n{}{}", run.stdout, run.stderr);
        num_run += 1;
    }
    assert!(num_run >= 15, "only {num_run} commands were run");
    assert!(
        reasons.is_empty(),
        "no page has these any more: {reasons:?}"
    );
}
