//! `snug`: everything in one program, and runs whose settings follow from data and machine.

use std::process::Command;

use super::{Run, Sandbox};

/// `snug` in this folder.
fn snug(sandbox: &Sandbox, args: &[&str]) -> Run {
    let train = sandbox.command();
    let mut command = Command::new(env!("CARGO_BIN_EXE_snug"));
    command
        .args(args)
        .current_dir(train.get_current_dir().unwrap());
    for (name, value) in train.get_envs() {
        command.env(name, value.unwrap());
    }
    // As a person starts it, and not cargo.
    command.env_remove("CARGO");
    Run::of(&mut command)
}

#[test]
fn a_dry_run_says_what_follows_from_the_data_and_leaves_nothing() {
    let sandbox = Sandbox::with_pages();
    let before = sandbox.tree();
    let run = snug(
        &sandbox,
        &[
            "train",
            "data",
            "--device",
            "cpu",
            "--amp",
            "off",
            "--dry-run",
        ],
    )
    .ok();
    for line in [
        "chosen: img_size = 64x64: about the size of the largest image",
        "chosen: width = 16: a network that a CPU has time for; 64 is the guide's",
        "chosen: batch = 4: few images: more steps per epoch",
        "chosen: epochs = 200: 400 steps in all, 2 steps each; a run ends earlier when validation stops improving",
        "chosen: lr = 0.001: there are few steps",
        "nothing was trained (`--dry-run`)",
    ] {
        assert!(
            run.stderr.lines().any(|it| it == line),
            "{line}\n{}",
            run.stderr
        );
    }
    let next = run.stdout.lines().last().unwrap().trim().to_owned();
    assert!(
        next.ends_with("snug train data --device cpu --amp off"),
        "{next}"
    );
    assert_eq!(sandbox.tree(), before);
}

#[test]
fn what_is_given_is_not_chosen() {
    let sandbox = Sandbox::with_pages();
    let dry = [
        "train",
        "data",
        "--device",
        "cpu",
        "--amp",
        "off",
        "--dry-run",
    ];
    let given = [
        "--img-size",
        "32x48",
        "--width",
        "4",
        "--batch",
        "2",
        "--epochs",
        "1",
        "--lr",
        "0.5",
    ];
    let run = snug(&sandbox, &[&dry[..], &given].concat()).ok();
    assert!(!run.stderr.contains("chosen:"), "{}", run.stderr);
    // A preset settles everything.
    let run = snug(
        &sandbox,
        &[&dry[..], &["--preset", "max-memory", "--width", "4"]].concat(),
    )
    .ok();
    assert!(!run.stderr.contains("chosen:"), "{}", run.stderr);
    assert!(run.stdout.contains("384x512"), "{}", run.stdout);
    let both = snug(&sandbox, &["train", "data", "--data", "data"]);
    assert_eq!(both.code, Some(2));
}

/// The commands at the end of a run are complete: each does what it says.
#[test]
fn the_next_commands_work_as_printed() {
    let sandbox = Sandbox::with_pages();
    let flags = [
        "--device", "cpu", "--amp", "off", "--width", "4", "--epochs", "1",
    ];
    let run = snug(
        &sandbox,
        &[&["train", "data", "--run-dir", "run"], &flags[..]].concat(),
    )
    .ok();
    let lines: Vec<&str> = run
        .stdout
        .lines()
        .skip_while(|it| *it != "next:")
        .skip(1)
        .collect();
    let commands: Vec<&str> = lines.iter().step_by(2).map(|it| it.trim()).collect();
    assert_eq!(commands.len(), 2, "{}", run.stdout);
    for command in commands {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let run = snug(&sandbox, &words).ok();
        assert!(
            run.stderr.is_empty() || !run.stderr.contains("error"),
            "{}",
            run.stderr
        );
    }
    assert!(
        sandbox.path("run/masks/page-00000.png").exists() || sandbox.path("run/masks").is_dir()
    );
    // The advisor's words are the program's own.
    let advice = snug(&sandbox, &["suggest", "--vram", "8GiB"]).ok();
    assert!(
        advice.stdout.contains("  snug train --preset "),
        "{}",
        advice.stdout
    );
    let help = snug(&sandbox, &["explain", "--help"]).ok();
    assert!(!help.stdout.contains("`train "), "{}", help.stdout);
}
