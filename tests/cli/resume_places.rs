//! Folders that fill up, vanish, become read-only or belong to another run, while a run uses them.

use std::fs;
use std::process::Command;

use super::resume::{EVERY_STEP, assert_same, learnt};
use super::running::Running;
use super::{Run, Sandbox, small};

/// Resumes the run in `run/`, up to `steps` steps.
fn resume_to(sandbox: &Sandbox, steps: u64) -> Run {
    let steps = steps.to_string();
    sandbox.train(&[
        "fit",
        "--device",
        "cpu",
        "--resume",
        "run",
        "--max-steps",
        &steps,
    ])
}

#[test]
fn a_second_run_in_a_folder_is_refused() {
    let sandbox = Sandbox::with_pages();
    let mut first = Running::endless(&sandbox);
    first.wait_for("epoch      2/");
    for flags in [
        &["--resume", "run"][..],
        &["--resume", "auto", "--run-dir", "run"],
    ] {
        let run = sandbox.train(&[&["fit", "--device", "cpu"], flags].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(run.complaint(), @"
            error: another run is at work in `run`
            hint: wait for it or stop it, or choose another `--run-dir`
            ");
        }
    }
    assert!(first.signal("-INT"));
    assert_eq!(first.end(), Some(130), "{}", first.text);
    let rows = sandbox.rows("run/metrics.jsonl").len();
    assert_eq!(sandbox.json("run/summary.json")["epochs"], rows);
    // Now the folder is free.
    resume_to(&sandbox, 2 * rows as u64 + 4).ok();
}

#[test]
fn a_folder_that_is_deleted_under_a_run_is_made_again() {
    let sandbox = Sandbox::with_pages();
    let mut run = Running::endless(&sandbox);
    run.wait_for("epoch      3/");
    // It is moved first, because removing a folder can fail while files are written to it.
    fs::rename(sandbox.path("run"), sandbox.path("gone")).unwrap();
    fs::remove_dir_all(sandbox.path("gone")).unwrap();
    run.wait_for("is gone, with what was in it: it is made again");
    run.wait_for("epoch ");
    assert!(run.signal("-INT"));
    assert_eq!(run.end(), Some(130), "{}", run.text);
    let summary = sandbox.json("run/summary.json");
    assert_eq!(summary["status"], "interrupted");
    let run = resume_to(&sandbox, summary["steps"].as_u64().unwrap() + 3);
    assert!(run.stderr.contains("of epochs that are done"), "{run:?}");
}

/// Runs `script` in a namespace where file systems can be mounted; `"$@"` is `train fit` with its
/// flags. `None` if this machine does not allow it.
fn mounted(sandbox: &Sandbox, script: &str, flags: &[&str]) -> Option<Run> {
    fs::create_dir_all(sandbox.path("disk")).unwrap();
    let run = Run::of(
        Command::new("unshare")
            .args(["-rm", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_train")])
            .args(small(flags))
            .current_dir(sandbox.path(""))
            .env("OMP_NUM_THREADS", "1")
            .env("SNUG_LEDGER", "off"),
    );
    if run.code == Some(77) || run.stderr.contains("unshare failed") {
        return None;
    }
    Some(run)
}

const FLAGS: [&str; 6] = ["--data", "data", "--epochs", "40", "--patience", "0"];

#[test]
fn a_disk_that_fills_up_loses_nothing() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&FLAGS[2..], &["--run-dir", "whole"]].concat());
    // The disk is full from before the first epoch until some are done: the loop waits for the
    // warning.
    let script = "mount -t tmpfs -o size=16m none disk || exit 77
        head -c 15900000 /dev/zero > disk/ballast
        ( until [ -e over ] || grep -q 'no snapshot' log 2>/dev/null; do sleep 0.02; done
          rm disk/ballast ) &
        \"$@\" 2> log; code=$?; touch over; cat log >&2; cp -r disk/run kept; exit $code";
    let flags = [&FLAGS[..], &EVERY_STEP, &["--run-dir", "disk/run"]].concat();
    let Some(run) = mounted(&sandbox, script, &flags) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stderr
            .contains("warning: no snapshot: cannot write `disk/run/last/"),
        "{run:?}"
    );
    assert!(run.stderr.contains("free some disk space"), "{run:?}");
    assert!(
        run.stderr.contains("snapshots are written again"),
        "{run:?}"
    );
    assert_same(&sandbox, "whole", "kept");
}

#[test]
fn a_disk_that_stays_full_is_a_failure_at_the_end() {
    let sandbox = Sandbox::with_pages();
    // There is space for the logs and one snapshot, but not for the next.
    let script = "mount -t tmpfs -o size=3500k none disk || exit 77
        \"$@\"; code=$?; cp -r disk/run kept; ls -A disk/run/last >&2; exit $code";
    let flags = [&FLAGS[..], &["--run-dir", "disk/run"]].concat();
    let Some(run) = mounted(&sandbox, script, &flags) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stderr.contains("epoch 40/40"),
        "it ended early: {run:?}"
    );
    assert!(
        run.stderr.contains("error: cannot write `disk/run/last/"),
        "{run:?}"
    );
    assert!(!run.stderr.contains(".snapshot.new"), "{run:?}");
    // The earlier snapshot is intact, and the run resumes from it once there is space.
    sandbox.fit(&[&FLAGS[2..], &["--run-dir", "whole"]].concat());
    sandbox.resume("kept");
    assert_eq!(learnt(&sandbox, "whole"), learnt(&sandbox, "kept"));
    assert_same(&sandbox, "whole", "kept");
}

#[test]
fn a_folder_that_becomes_read_only_loses_nothing() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&FLAGS[2..], &["--run-dir", "whole"]].concat());
    let script = "mount -t tmpfs -o size=16m none disk || exit 77
        ( until [ -e over ] || grep -q 'epoch  3/' log 2>/dev/null; do sleep 0.01; done
          mount -o remount,ro disk
          until [ -e over ] || grep -q 'no snapshot' log; do sleep 0.01; done
          mount -o remount,rw disk ) &
        \"$@\" 2> log; code=$?; touch over; wait; cat log >&2; cp -r disk/run kept; exit $code";
    let flags = [&FLAGS[..], &["--run-dir", "disk/run"]].concat();
    let Some(run) = mounted(&sandbox, script, &flags) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    if !run.stderr.contains("no snapshot") {
        println!("skipped: the run was over before the folder was read-only");
        return;
    }
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("Read-only file system"), "{run:?}");
    assert_same(&sandbox, "whole", "kept");
}

#[test]
fn the_newest_run_has_the_highest_number_whatever_the_clock_says() {
    let sandbox = Sandbox::with_pages();
    for _ in 0..2 {
        sandbox.fit(&["--epochs", "2"]);
    }
    // Times look as if the clock had been set back before the second run.
    for file in ["", "/last", "/last/snapshot.safetensors", "/summary.json"] {
        let path = sandbox.path(&format!("runs/data-002{file}"));
        let touched = Command::new("touch")
            .args(["-d", "1990-01-01"])
            .arg(path)
            .status();
        assert!(touched.unwrap().success());
    }
    let run = sandbox.fit(&["--resume", "auto", "--epochs", "3"]);
    assert!(
        run.stderr.contains("resume: `runs/data-002`, step 4"),
        "{run:?}"
    );
    // A run without a snapshot is skipped.
    fs::create_dir(sandbox.path("runs/data-007")).unwrap();
    let run = sandbox.fit(&["--resume", "auto", "--epochs", "4"]);
    assert!(
        run.stderr.contains("resume: `runs/data-002`, step 6"),
        "{run:?}"
    );
    // Nor does a name matter, but a run of other data does.
    sandbox.fit(&["--run-name", "mine", "--epochs", "2"]);
    let other = sandbox.path("other/data");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .args([sandbox.path("data"), other])
        .status();
    assert!(copied.unwrap().success());
    let of_other = ["--data", "other/data", "--epochs", "1"];
    sandbox
        .train(&small(&[&of_other[..], &["--run-name", "other"]].concat()))
        .ok();
    let run = sandbox.fit(&["--resume", "auto", "--epochs", "3"]);
    assert!(
        run.stderr.contains("resume: `runs/mine`, step 4"),
        "{run:?}"
    );
    // Data that is gone may have been moved.
    fs::rename(sandbox.path("other"), sandbox.path("new")).unwrap();
    let lost = sandbox.train(&small(&["--resume", "runs/other", "--epochs", "2"]));
    assert_eq!(lost.code, Some(2), "{lost:?}");
    assert!(
        lost.complaint().contains("`--data FOLDER` names the place"),
        "{lost:?}"
    );
    let moved = ["--data", "new/data", "--epochs", "2", "--resume", "auto"];
    let run = sandbox.train(&small(&moved)).ok();
    assert!(
        run.stderr.contains("resume: `runs/other`, step 2"),
        "{run:?}"
    );
    // A damaged snapshot is no reason to begin anew.
    sandbox.write("runs/data-009/last/snapshot.safetensors", "nonsense");
    let run = sandbox.train(&small(&["--data", "data", "--resume", "auto"]));
    let complaint = "error: `runs/data-009/last/snapshot.safetensors`: damaged";
    assert!(run.complaint().starts_with(complaint), "{run:?}");
}
