//! The binary itself: exit codes, stdout and stderr.

use std::process::{Command, Output};

fn advisor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(arguments)
        .env_remove("CUDA_VISIBLE_DEVICES")
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn bad_input() {
    let mut text = String::new();
    for vram in [
        "0", "0GiB", "-1GiB", "1e30GiB", "nanGiB", "abc", "8", "8G", "",
    ] {
        let output = advisor(&["suggest", "--vram", vram]);
        assert_eq!(output.status.code(), Some(2), "{vram}");
        assert!(output.stdout.is_empty(), "{vram}");
        let message = stderr(&output);
        text.push_str(message.lines().next().unwrap_or_default());
        text.push('\n');
    }
    for arguments in [&["sugest"][..], &["suggest", "--jsn"], &[]] {
        let output = advisor(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    insta::assert_snapshot!("bad_input", text);
}

#[test]
fn decimal_units_are_said() {
    let output = advisor(&["suggest", "--vram", "8GB"]);
    assert!(output.status.success());
    insta::assert_snapshot!("decimal", stderr(&output));
    let output = advisor(&["suggest", "--vram", "8GiB"]);
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn this_machine_whatever_it_is() {
    let output = advisor(&["suggest", "--json"]);
    assert!(output.status.success());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema_version"], 1);
    assert!(value["device"]["kind"].is_string());
    let output = advisor(&["suggest"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("  cargo xtask train --preset "));
}

#[test]
fn hidden_gpus_are_no_gpus() {
    let output = Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(["suggest", "--json"])
        .env("CUDA_VISIBLE_DEVICES", "")
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["device"]["kind"], "cpu");
}

/// An impossible request gets an answer or an error, never a panic.
#[test]
fn absurd_wishes() {
    let card = ["suggest", "--vram", "8GiB"];
    for (wish, code) in [
        (&["--target-batch", "1099511627776"][..], 2),
        (&["--target-batch", "65536"], 0),
        (&["--target-batch", "65537"], 2),
        (&["--target-batch", "0"], 2),
        (&["--img-size", "8x8"], 2),
        (&["--img-size", "16x16"], 0),
        (&["--img-size", "65536x65536"], 3),
        (&["--width", "1"], 0),
        (&["--width", "0"], 2),
        (&["--width", "1024"], 3),
        (&["--classes", "255"], 0),
        (&["--classes", "256"], 2),
        (&["--goal", "luck"], 2),
        (&["--max-batch", "--target-batch", "8"], 2),
    ] {
        let output = advisor(&[&card, wish].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{wish:?}: {said}");
        assert!(!said.contains("panicked"), "{wish:?}: {said}");
    }
    let output = advisor(&["suggest", "--vram", "1KiB"]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("nothing fits"), "{text}");
    let output = advisor(&["suggest", "--gpu", "RTX 3061"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("similar names: "));
}

#[test]
fn goals_and_recipes() {
    let mut text = String::new();
    for wish in [
        &["--goal", "memory"][..],
        &["--goal", "speed"],
        &["--max-batch"],
        &["--target-batch", "64"],
        &["--width", "16", "--img-size", "256x256"],
    ] {
        let output = advisor(&[&["suggest", "--gpu", "RTX 3060"], wish].concat());
        assert!(output.status.success(), "{wish:?}: {output:?}");
        text.extend(["--- ", &wish.join(" "), "\n"]);
        text.push_str(&String::from_utf8(output.stdout).unwrap());
    }
    insta::assert_snapshot!("goals", text);
}

#[test]
fn a_recipe_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("recipe.toml");
    let path = file.to_str().unwrap();
    let arguments = ["suggest", "--vram", "4GiB", "--write", path];
    let output = advisor(&arguments);
    assert!(output.status.success(), "{output:?}");
    let config = config::resolve(None, Some(&file), config::Overrides::default());
    let config = config.unwrap().config;
    let line = advisor::line(&config);
    // A long line is broken.
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(" \\\n      ", " ");
    assert!(text.contains(&line), "{line} is not in {text}");
    // `--write` refuses an existing file and a missing folder.
    let again = advisor(&arguments);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("already exists"), "{again:?}");
    let nowhere = dir.path().join("none/recipe.toml");
    let output = advisor(&[
        "suggest",
        "--vram",
        "4GiB",
        "--write",
        nowhere.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[test]
fn of_a_flag_given_twice_the_last_counts() {
    let once = advisor(&["suggest", "--vram", "8GiB"]);
    let twice = advisor(&["suggest", "--vram", "24GiB", "--vram", "8GiB"]);
    assert_eq!(twice.stdout, once.stdout);
    let note = "note: `--vram` was given 2 times; the last value, `8GiB`, is used\n";
    assert_eq!(stderr(&twice), format!("{note}{}", stderr(&once)));
}

/// What the README shows of `suggest` is what it prints, but for spaces and the lines that are left out.
#[test]
fn the_suggestion_of_the_readme_is_what_is_printed() {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = include_str!("../../../../README.md");
    let (_, after) = readme
        .split_once("$ cargo run -p advisor -- suggest")
        .unwrap();
    let (flags, shown) = after.split_once('\n').unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert_eq!(flags, " --gpu \"RTX 3060\"");
    let output = advisor(&["suggest", "--gpu", "RTX 3060"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<String> = text.lines().map(words).collect();
    for line in shown.lines().filter(|line| line.trim() != "...") {
        assert!(printed.contains(&words(line)), "`{line}` is not in\n{text}");
    }
}
