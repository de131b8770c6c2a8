//! Which libtorch is taken.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::dist::{Dist, printed};

fn libraries(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    printed(&output, "libraries").concat()
}

fn lib(torch: &Path) -> String {
    torch.join("lib").display().to_string()
}

#[test]
fn the_variable_wins_over_everything() {
    let dist = Dist::new();
    let torch = dist.torch("given", "2.11.0+cpu");
    let other = dist.torch("site/torch", "2.11.0");
    dist.python("python3", &other.display().to_string());
    let found = libraries(dist.train().env("LIBTORCH", &torch));
    assert_eq!(found, lib(&torch));
    // A relative path through a link: the folder itself is passed on.
    std::os::unix::fs::symlink(&torch, dist.path("link")).unwrap();
    let mut train = dist.train();
    train.current_dir(dist.path("")).env("LIBTORCH", "link");
    assert_eq!(libraries(&mut train), lib(&torch));
    // An empty variable counts as unset.
    let found = libraries(dist.train().env("LIBTORCH", ""));
    assert_eq!(found, lib(&other));
}

#[test]
fn the_virtual_environment_comes_before_the_path() {
    let dist = Dist::new();
    let [in_venv, on_path] = ["a", "b"].map(|it| dist.torch(it, "2.11.0"));
    dist.python("python3", &on_path.display().to_string());
    fs::create_dir_all(dist.path("venv/bin")).unwrap();
    let text = format!("#!/bin/sh\necho /v/python\necho '{}'\n", in_venv.display());
    dist.script("venv/bin/python", &text);
    let found = libraries(dist.train().env("VIRTUAL_ENV", dist.path("venv")));
    assert_eq!(found, lib(&in_venv));
    assert_eq!(libraries(&mut dist.train()), lib(&on_path));
}

#[test]
fn the_python_that_starts_the_program_is_the_only_one() {
    let dist = Dist::new();
    let [given, own, on_path] = ["given", "own", "path"].map(|it| dist.torch(it, "2.11.0"));
    dist.python("python3", &on_path.display().to_string());
    dist.python("mine", &own.display().to_string());
    let mine = dist.path("bin/mine");
    let found = libraries(dist.train().env("SNUG_PYTHON", &mine));
    assert_eq!(found, lib(&own));
    let mut train = dist.train();
    train.env("SNUG_PYTHON", &mine).env("LIBTORCH", &given);
    assert_eq!(libraries(&mut train), lib(&given));
    // An empty variable counts as unset.
    assert_eq!(
        libraries(dist.train().env("SNUG_PYTHON", "")),
        lib(&on_path)
    );
}

#[test]
fn an_unusable_python_is_skipped() {
    let dist = Dist::new();
    let [old, good] = [("old", "2.9.1"), ("good", "2.11.0")].map(|(it, v)| dist.torch(it, v));
    dist.python("python3", &old.display().to_string());
    dist.python("python", &good.display().to_string());
    assert_eq!(libraries(&mut dist.train()), lib(&good));
}

#[test]
fn the_programs_own_folder_comes_last() {
    let dist = Dist::new();
    dist.python("python3", "");
    let torch = dist.torch("snug/torch", "2.11.0+cu130");
    assert_eq!(libraries(&mut dist.train()), lib(&torch));
    let libtorch = dist.torch("snug/libtorch", "2.11.0+cu130");
    assert_eq!(libraries(&mut dist.train()), lib(&libtorch));
}
