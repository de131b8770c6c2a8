//! Snapshots and settings that a run refuses to resume with.

use std::fs;

use super::resume::EVERY_STEP;
use super::{Sandbox, small};

const SNAPSHOT: &str = "run/last/snapshot.safetensors";

/// A sandbox with a run of two epochs in `run/`, whose last step is 4.
fn with_run() -> Sandbox {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[&["--epochs", "2", "--run-dir", "run"][..], &EVERY_STEP].concat());
    sandbox
}

/// The error of `fit` with exactly these flags, which must change no file.
fn refused(sandbox: &Sandbox, flags: &[&str]) -> String {
    let before = sandbox.tree();
    let run = sandbox.train(&[&["fit", "--device", "cpu"], flags].concat());
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(sandbox.tree() == before, "{flags:?} changed something");
    run.complaint().to_owned()
}

#[test]
fn a_damaged_snapshot_is_refused_and_the_previous_one_offered() {
    let sandbox = with_run();
    let whole = sandbox.read(SNAPSHOT);
    let refused = |bytes: &[u8]| {
        sandbox.write(SNAPSHOT, bytes);
        refused(&sandbox, &["--resume", "run"])
    };
    // One flipped bit, at several places.
    let mut flipped = 0;
    for place in (100..whole.len()).step_by(whole.len() / 9) {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        let complaint = refused(&bytes);
        let start = format!("error: `{SNAPSHOT}`: ");
        assert!(complaint.starts_with(&start), "{place}: {complaint}");
        assert!(
            complaint.contains("hint: the one before it, of step 4, is whole"),
            "{complaint}"
        );
        flipped += 1;
    }
    println!("{flipped} flipped bits seen");
    let mut data = whole.clone();
    let end = data.len();
    data[end - 1000] ^= 1;
    insta::assert_snapshot!(refused(&data), @"
    error: `run/last/snapshot.safetensors`: damaged: its contents do not match their checksum
    hint: the one before it, of step 4, is whole: `--resume run/last/previous.safetensors`
    ");
    insta::assert_snapshot!(refused(&whole[..end - 5]), @"
    error: `run/last/snapshot.safetensors`: damaged: its header cannot be read (incomplete metadata, file not fully covered)
    hint: the one before it, of step 4, is whole: `--resume run/last/previous.safetensors`
    ");
    insta::assert_snapshot!(refused(b""), @"
    error: `run/last/snapshot.safetensors`: damaged: its header cannot be read (header too small)
    hint: the one before it, of step 4, is whole: `--resume run/last/previous.safetensors`
    ");
    let fixture = include_bytes!("../reference/fixtures/unet.safetensors");
    insta::assert_snapshot!(refused(fixture), @"
    error: `run/last/snapshot.safetensors`: not a snapshot of Snug: its metadata do not say so
    hint: the one before it, of step 4, is whole: `--resume run/last/previous.safetensors`
    ");
    let text = String::from_utf8_lossy(&whole[..20_000]);
    let at = text.find("\"snug_snapshot\":\"1\"").unwrap();
    let mut older = whole.clone();
    // The bytes before it are ASCII, except for the first 8, which are the length.
    let at = whole
        .windows(17)
        .position(|w| w == b"\"snug_snapshot\":\"")
        .unwrap_or(at)
        + 17;
    older[at] = b'0';
    insta::assert_snapshot!(refused(&older), @"
    error: `run/last/snapshot.safetensors`: a snapshot of format 0; this program reads format 1
    hint: the one before it, of step 4, is whole: `--resume run/last/previous.safetensors`
    ");

    sandbox.write(SNAPSHOT, &data);
    let auto = self::refused(&sandbox, &["--resume", "auto", "--run-dir", "run"]);
    assert!(
        auto.contains("--resume run/last/previous.safetensors"),
        "{auto}"
    );

    // The offer works: the run resumes from the previous snapshot, and the damaged one is set
    // aside.
    sandbox.write(SNAPSHOT, &data);
    let run = sandbox
        .train(&[
            "fit",
            "--device",
            "cpu",
            "--epochs",
            "3",
            "--resume",
            "run/last/previous.safetensors",
        ])
        .ok();
    assert!(run.stderr.contains("step 4"), "{run:?}");
    assert_eq!(sandbox.json("run/summary.json")["steps"], 6);
    assert!(sandbox.read("run/last/set-aside.safetensors") == data);

    // Without the previous snapshot, only weights are left.
    sandbox.write(SNAPSHOT, &data);
    fs::remove_file(sandbox.path("run/last/previous.safetensors")).unwrap();
    insta::assert_snapshot!(self::refused(&sandbox, &["--resume", "run"]), @"
    error: `run/last/snapshot.safetensors`: damaged: its contents do not match their checksum
    hint: `--resume FILE` with the weights of the run, such as `best.safetensors`, starts a new run from them
    ");
}

#[test]
fn a_run_resumes_only_with_its_own_settings() {
    let sandbox = with_run();
    let refused = |flags: &[&str]| refused(&sandbox, &[&["--resume", "run"], flags].concat());
    insta::assert_snapshot!(refused(&["--lr", "0.5"]), @"
    error: `run/last/snapshot.safetensors` belongs to a run with `lr` = 0.001, which cannot change to 0.5 (`--lr`)
    hint: leave the setting out to continue the run; to change it, start a new run from its weights: `--resume FILE`
    ");
    for flags in [
        ["--width", "8"],
        ["--img-size", "32x32"],
        ["--batch", "2"],
        ["--accumulation", "2"],
        ["--seed", "1"],
        ["--classes", "2"],
        ["--amp", "bf16"],
        ["--augment", "off"],
        ["--weight-decay", "0.5"],
        ["--val-percent", "20"],
        ["--preset", "speed"],
    ] {
        let complaint = refused(&flags);
        assert!(complaint.contains("which cannot change to"), "{complaint}");
    }
    // Flags that repeat the settings, or mean the same, are accepted.
    for flags in [
        &["--lr", "1e-3", "--epochs", "2", "--width", "4"][..],
        &["--grad-checkpoint", "selective"],
        &["--grad-checkpoint", "block", "--use-reentrant", "on"],
        &["--workers", "2", "--patience", "3", "--split-concat", "on"],
    ] {
        let run = sandbox.train(&[&["fit", "--device", "cpu", "--resume", "run"], flags].concat());
        assert!(
            run.ok().stderr.contains("nothing is left to do"),
            "{flags:?}"
        );
    }
    insta::assert_snapshot!(refused(&["--run-dir", "other"]), @"
    error: a resumed run keeps its own folder, `run`
    hint: leave `--run-dir` and `--run-name` out
    ");
    fs::remove_file(sandbox.path("data/train/images/page-00003.png")).unwrap();
    fs::remove_file(sandbox.path("data/train/masks/page-00003_mask.png")).unwrap();
    insta::assert_snapshot!(refused(&[]), @"
    error: `run/last/snapshot.safetensors`: the run trains on 8 images and validates on 4, here are 7 and 4
    hint: give it the data that it had with `--data DIR`, or start a new run from its weights: `--resume FILE`
    ");
}

#[test]
fn files_without_a_snapshot_are_refused() {
    let sandbox = Sandbox::with_pages();
    insta::assert_snapshot!(refused(&sandbox, &["--resume", "data"]), @"
    error: `data` holds no snapshot to continue from
    hint: a run writes `last/snapshot.safetensors` at each epoch; `--resume FILE` starts from bare weights, such as `best.safetensors`
    ");
    sandbox.fit(&["--epochs", "1", "--run-dir", "run"]);
    fs::copy(sandbox.path(SNAPSHOT), sandbox.path("copy.safetensors")).unwrap();
    insta::assert_snapshot!(refused(&sandbox, &["--resume", "copy.safetensors"]), @"
    error: `copy.safetensors` is a snapshot outside of its run
    hint: it is continued in its run's folder, as `last/snapshot.safetensors`
    ");
    insta::assert_snapshot!(refused(&sandbox, &["--snapshot-minutes", "-1"]), @"
    error: invalid value '-1' for '--snapshot-minutes <N>': must be a number from 0 to 1000000
    hint: `--help` lists the flags
    ");
    // A folder with results but without a snapshot must not be overwritten.
    fs::remove_dir_all(sandbox.path("run/last")).unwrap();
    let flags = small(&["--data", "data", "--resume", "auto", "--run-dir", "run"]);
    let run = sandbox.train(&flags);
    assert_eq!(run.code, Some(2), "{run:?}");
    insta::assert_snapshot!(run.complaint(), @"
    error: the run folder `run` is not empty
    hint: choose another `--run-dir`; nothing is overwritten
    ");
}
