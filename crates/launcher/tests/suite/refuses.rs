//! Messages for people without a usable libtorch or program.

use std::fs;
use std::process::Command;

use crate::dist::Dist;

fn refusal(dist: &Dist, command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    dist.without_dir(&output.stderr)
}

#[test]
fn nothing_anywhere_lists_every_place() {
    let dist = Dist::new();
    assert_eq!(
        refusal(&dist, &mut dist.train()),
        "error: no libtorch 2.11.0 found; these places were tried:\n  \
         `LIBTORCH`: not set\n  \
         `python3`: not found\n  \
         `python`: not found\n  \
         `DIR/snug/libtorch`: not found\n  \
         `DIR/snug/torch`: not found\n\
         hint: run `python3 -m pip install torch==2.11.0` in a virtual environment, or set \
         `LIBTORCH` to the folder of a libtorch 2.11.0\n"
    );
}

#[test]
fn the_python_that_starts_the_program_is_told_to_install() {
    let dist = Dist::new();
    let good = dist.torch("good", "2.11.0");
    dist.python("python3", &good.display().to_string());
    dist.python("mine", "");
    let mine = dist.path("bin/mine");
    assert_eq!(
        refusal(&dist, dist.train().env("SNUG_PYTHON", mine)),
        "error: no libtorch 2.11.0 found; these places were tried:\n  \
         `LIBTORCH`: not set\n  \
         `DIR/bin/mine`: it has no torch installed (`DIR/bin/mine`)\n  \
         `DIR/snug/libtorch`: not found\n  \
         `DIR/snug/torch`: not found\n\
         hint: run `DIR/bin/mine -m pip install torch==2.11.0`, or set `LIBTORCH` to the folder of a \
         libtorch 2.11.0\n"
    );
}

#[test]
fn each_place_says_what_is_wrong_with_it() {
    let dist = Dist::new();
    let old = dist.torch("site/torch", "2.9.1");
    dist.python("python3", &old.display().to_string());
    dist.script(
        "bin/python",
        "#!/bin/sh\necho 'Traceback' >&2\necho 'ImportError: no' >&2\nexit 1\n",
    );
    fs::create_dir_all(dist.path("venv/bin")).unwrap();
    dist.script("venv/bin/python", "#!/bin/sh\necho /v/python\necho\n");
    let broken = dist.torch("snug/libtorch", "2.11.0");
    fs::write(broken.join("lib/libc10.so"), "").unwrap();
    fs::create_dir(dist.path("snug/torch")).unwrap();
    let text = refusal(&dist, dist.train().env("VIRTUAL_ENV", dist.path("venv")));
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines[..lines.len() - 1],
        [
            "  `LIBTORCH`: not set",
            "  `DIR/venv/bin/python`: it has no torch installed (`/v/python`)",
            "  `python3`: its torch cannot be used (`DIR/site/torch`): its version is 2.9.1, not \
             2.11.0",
            "  `python`: it failed to run: ImportError: no",
            "  `DIR/snug/libtorch`: cannot be used: `DIR/snug/libtorch/lib/libc10.so` has 0 of 1 \
             bytes",
            "  `DIR/snug/torch`: cannot be used: neither its `version.py` nor its `build-version` \
             names a version",
        ]
    );
}

#[test]
fn an_unusable_variable_is_not_skipped() {
    let dist = Dist::new();
    let good = dist.torch("good", "2.11.0");
    dist.python("python3", &good.display().to_string());
    let old = dist.torch("old", "2.12.0");
    let text = refusal(&dist, dist.train().env("LIBTORCH", &old));
    assert_eq!(
        text,
        "error: `LIBTORCH=DIR/old` cannot be used: its version is 2.12.0, not 2.11.0\n\
         hint: Snug needs libtorch 2.11.0: unset `LIBTORCH` to use the torch of the active Python\n"
    );
    let text = refusal(&dist, dist.train().env("LIBTORCH", dist.path("none")));
    assert!(
        text.starts_with(
            "error: `LIBTORCH=DIR/none` cannot be used: `DIR/none` is missing\nhint: "
        ),
        "{text}"
    );
}

#[test]
fn a_missing_program_is_named() {
    let dist = Dist::new();
    dist.torch("snug/libtorch", "2.11.0");
    fs::remove_file(dist.path("snug/libexec/train")).unwrap();
    let text = refusal(&dist, &mut dist.train());
    assert!(
        text.starts_with(
            "error: `DIR/snug/libexec/train`, which this program starts, is missing\nhint: "
        ),
        "{text}"
    );
}
