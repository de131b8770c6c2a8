//! Outputs that cannot be written, or disks that fill up.

use std::fs::File;
use std::process::{Command, Stdio};

use super::{Run, Sandbox, small};

#[test]
fn a_closed_or_full_stdout_does_not_fail_a_run() {
    let sandbox = Sandbox::with_pages();
    let flags = small(&["--data", "data", "--max-steps", "1", "--run-dir", "run"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let run = Run::of(sandbox.command().args(flags).stdout(Stdio::from(full)));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    assert_eq!(sandbox.json("run/summary.json")["status"], "completed");
}

#[test]
fn a_folder_that_cannot_be_created_is_found_before_training() {
    let sandbox = Sandbox::with_pages();
    sandbox.write("file", "mine");
    let before = sandbox.tree();
    let refused = |flags: &[&str]| {
        let run = sandbox.train(&small(&[&["--data", "data"], flags].concat()));
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(!run.stderr.contains("epoch 1/"), "{run:?}");
        assert!(sandbox.tree() == before, "{flags:?} left something");
        run.complaint().to_owned()
    };
    insta::assert_snapshot!(refused(&["--run-dir", "file/run"]), @"
    error: cannot create `file/run`: Not a directory (os error 20)
    hint: choose another folder
    ");
    insta::assert_snapshot!(refused(&["--models-dir", "file"]), @"
    error: cannot create `file`: File exists (os error 17)
    hint: choose another folder
    ");
    let run = sandbox.train(&["synth", "--out", "file/pages"]);
    assert_eq!(run.code, Some(2));
    insta::assert_snapshot!(run.complaint(), @"
    error: cannot write `file/pages`: Not a directory (os error 20)
    hint: choose another folder
    ");
    insta::assert_snapshot!(refused(&["--run-dir", "/proc/run"]), @"
    error: cannot create `/proc/run`: No such file or directory (os error 2)
    hint: check the path
    ");
}

#[test]
fn a_full_disk_ends_a_run_with_a_clear_error() {
    let sandbox = Sandbox::with_pages();
    std::fs::create_dir(sandbox.path("disk")).unwrap();
    // The file system belongs to the process, so nothing stays mounted. 300 KiB hold the logs but
    // not the weights.
    let script = "mount -t tmpfs -o size=300k none disk || exit 77; \
                  shift 0; \"$@\"; code=$?; find disk -name '.snug-*' >&2; exit $code";
    let train = env!("CARGO_BIN_EXE_train");
    let flags = small(&[
        "--data",
        "data",
        "--max-steps",
        "1",
        "--run-dir",
        "disk/run",
    ]);
    let run = Run::of(
        Command::new("unshare")
            .args(["-rm", "sh", "-c", script, "sh", train])
            .args(flags)
            .current_dir(sandbox.path(""))
            .env("OMP_NUM_THREADS", "1")
            .env("SNUG_LEDGER", "off"),
    );
    if run.code == Some(77) || run.stderr.contains("unshare failed") {
        println!(
            "skipped: no file system can be mounted here: {}",
            run.stderr
        );
        return;
    }
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.complaint()
            .starts_with("error: cannot write `disk/run/"),
        "{run:?}"
    );
    assert!(
        run.complaint().contains("\nhint: free some disk space"),
        "{run:?}"
    );
    assert!(
        !run.stderr.contains("panicked") && !run.stderr.contains(".snug-"),
        "{run:?}"
    );
}
