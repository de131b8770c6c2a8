//! `--nproc`: ranks are started, waited for and ended together.

use super::running::Running;
use super::{Run, Sandbox, small};

/// A run of two ranks on `data/` with more flags.
fn two<'a>(more: &[&'a str]) -> Vec<&'a str> {
    small(&[&["--nproc", "2", "--data", "data"], more].concat())
}

#[test]
fn a_wrong_command_line_is_reported_once() {
    let sandbox = Sandbox::with_pages();
    let before = sandbox.tree();
    for (flags, expected) in [
        (&["--width", "0"][..], "`--width`"),
        (&["--nproc", "0"], "--nproc"),
        (&["--config", "missing.toml"], "missing.toml"),
    ] {
        let run = sandbox.train(&two(flags));
        assert_eq!(run.code, Some(2), "{run:?}");
        assert_eq!(run.stderr.matches("error:").count(), 1, "{run:?}");
        assert!(run.complaint().contains(expected), "{run:?}");
    }
    assert!(sandbox.tree() == before, "something was left");
}

#[test]
fn a_rank_starts_no_ranks() {
    let sandbox = Sandbox::with_pages();
    let mut command = sandbox.command();
    let variables = [
        ("RANK", "1"),
        ("WORLD_SIZE", "2"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", "1"),
    ];
    let run = Run::of(command.args(two(&[])).envs(variables));
    assert_eq!(run.code, Some(2), "{run:?}");
    insta::assert_snapshot!(run.complaint(), @r"
    error: `--nproc` cannot start ranks: an unknown launcher started this process as one of 2 ranks
    hint: leave out `--nproc`, or let the launcher start only one process
    ");
}

#[test]
fn what_fails_in_each_rank_ends_all_with_its_exit_code() {
    let sandbox = Sandbox::with_pages();
    let before = sandbox.tree();
    let run = sandbox.train(&two(&["--data", "nowhere"]));
    assert_eq!(run.code, Some(2), "{run:?}");
    assert_eq!(run.stderr.matches("error:").count(), 1, "{run:?}");
    assert!(run.complaint().contains("`nowhere`"), "{run:?}");
    assert!(sandbox.tree() == before, "something was left");
}

#[test]
fn signals_to_the_parent_reach_the_ranks() {
    let sandbox = Sandbox::with_pages();
    let flags = two(&["--epochs", "100000", "--patience", "0"]);
    let mut run = Running::of(sandbox.command().args(flags));
    run.wait_for("epoch      1/");
    // Rank 0 writes it, and all train on.
    assert!(run.signal("-USR1"));
    run.wait_for("as SIGUSR1 asked");
    run.wait_for("epoch");
    assert!(run.signal("-INT"));
    assert_eq!(run.end(), Some(130), "{}", run.text);
    let runs = std::fs::read_dir(sandbox.path("runs")).unwrap();
    let mut runs = runs.map(|it| it.unwrap().path().join("last/snapshot.safetensors"));
    assert!(runs.any(|it| it.exists()), "{}", run.text);
}

#[cfg(target_os = "linux")]
#[test]
fn no_rank_outlives_its_parent() {
    let sandbox = Sandbox::with_pages();
    let flags = two(&["--epochs", "100000", "--patience", "0"]);
    let mut run = Running::of(sandbox.command().args(flags));
    run.wait_for("epoch      1/");
    assert!(run.signal("-KILL"));
    // Its output ends with the last rank, which would train for hours.
    assert_eq!(run.end(), None, "{}", run.text);
}

#[test]
fn one_process_is_a_run_of_its_own() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--nproc", "1", "--dry-run"]);
}
