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
        "chosen: width = 16: a network that a CPU trains in reasonable time; 64 is the guide's",
        "chosen: batch = 4: few images: more steps per epoch",
        "chosen: epochs = 200: 400 steps in all, 2 per epoch; the run ends earlier after 50 epochs without a better IoU",
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
    // `inspect` says the same of the images.
    let seen = snug(&sandbox, &["inspect", "data"]).ok();
    for line in [
        "chosen: img_size = 64x64: about the size of the largest image",
        "chosen: batch = 4: few images: more steps per epoch",
        "training: at 64x64 (unchanged), 4 images per step, 2 steps per epoch, learning rate 0.001",
    ] {
        assert!(seen.stdout.lines().any(|it| it == line), "{}", seen.stdout);
    }
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
    let run = snug(&sandbox, &[&dry[..], &given, &["--lang", "ja"]].concat()).ok();
    assert!(
        run.stdout.contains("画像サイズ（高さx幅）:   32x48"),
        "{}",
        run.stdout
    );
    let both = snug(&sandbox, &["train", "data", "--data", "data"]);
    assert_eq!(both.code, Some(2));
    // A flag of another command is no value.
    let unknown = snug(&sandbox, &["train", "data", "--target-batch", "4"]);
    insta::assert_snapshot!(unknown.complaint(), @r"
    error: unexpected argument '--target-batch' found
    hint: `--help` lists the flags
    ");
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
        snug(&sandbox, &words).ok();
    }
    let masks = std::fs::read_dir(sandbox.path("run/masks")).unwrap();
    assert_eq!(masks.count(), 2, "one for each image of the test part");
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

/// A finished run has its page, pages compare runs, and nothing on a page leads outside.
#[test]
fn runs_have_pages() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--run-dir", "one", "--epochs", "1"]);
    sandbox.fit(&["--run-dir", "two", "--epochs", "2", "--lr", "1e-4"]);
    let page = |name: &str| String::from_utf8(sandbox.read(name)).unwrap();
    let one = page("one/report.html");
    for text in ["validation IoU", "Best", "Calibration", "measured"] {
        assert!(one.contains(text), "{text}");
    }
    let mut sources = one.split("src=\"").skip(1);
    assert!(sources.all(|it| it.starts_with("data:image/png")) && !one.contains("<script"));
    let report = sandbox.json("one/report.json");
    let by = |key: &str| {
        let settings = report["settings"].as_array().unwrap();
        let row = settings.iter().find(|row| row["key"] == key).unwrap();
        row["by"].as_str().unwrap().to_owned()
    };
    assert_eq!([by("epochs"), by("patience")], ["you", "default"]);
    assert_eq!(report["images"]["scores"].as_array().unwrap().len(), 4);
    let counts = report["confusion"]["counts"].as_array().unwrap();
    let cells = counts.iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(
        cells.map(|it| it.as_u64().unwrap()).sum::<u64>(),
        4 * 64 * 64
    );
    // The third step is measured.
    let measured = &sandbox.json("two/report.json")["memory"]["measured"];
    let bytes = |list: &str| {
        let list = measured[list].as_array().unwrap().iter();
        list.map(|it| it["bytes"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let highest = bytes("timeline").into_iter().max().unwrap();
    assert_eq!(bytes("kinds").iter().sum::<u64>(), highest);
    let peak = measured["peak_allocated_bytes"].as_u64().unwrap();
    assert!(
        100 * highest.abs_diff(peak) < peak,
        "{highest}, but the peak of the run is {peak}"
    );
    assert!(page("two/report.html").contains("the orange line is a measured step"));

    std::fs::remove_file(sandbox.path("one/report.html")).unwrap();
    let again = snug(&sandbox, &["report", "one"]).ok();
    assert_eq!(again.stdout.trim(), "one/report.html");
    assert_eq!(page("one/report.html"), one);
    let both = snug(&sandbox, &["report", "one", "two", "--out", "both.html"]).ok();
    assert_eq!(both.stdout.trim(), "both.html");
    assert!(page("both.html").contains("0.0001"));
    snug(&sandbox, &["report", "one", "two", "--csv", "both.csv"]).ok();
    let table = page("both.csv");
    let cells: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!((cells.len(), cells[3][0]), (4, "\"two\""));
    let column = cells[0].iter().position(|it| *it == "val_iou").unwrap();
    let written: f64 = cells[3][column].parse().unwrap();
    let rows = sandbox.rows("two/metrics.jsonl");
    assert!((written - rows[1]["val_iou"].as_f64().unwrap()).abs() < 1e-15);
    let none = snug(&sandbox, &["report", "data"]);
    assert_eq!(none.code, Some(2));
    assert!(
        none.complaint()
            .contains("`data` is not the folder of a run"),
        "{none:?}"
    );
}

#[test]
fn settings_of_a_script_train() {
    let sandbox = Sandbox::with_pages();
    let script = "CFG = {\n    'BATCH': 2 * 2,\n    'IMG_SIZE': (64, 64),\n    'ROOT': 'data',\n    'FANCY': 3,\n}\n";
    sandbox.write("train.py", script);
    let run = snug(&sandbox, &["convert", "train.py"]).ok();
    assert!(run.stderr.contains("line 5: `FANCY"), "{}", run.stderr);
    let words: Vec<&str> = run
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .trim()
        .split(' ')
        .skip(1)
        .collect();
    assert_eq!(words, ["train", "data", "--config", "train.toml"]);
    let dry = [
        "--device",
        "cpu",
        "--amp",
        "off",
        "--dry-run",
        "--width",
        "4",
    ];
    let run = snug(&sandbox, &[&words[..], &dry].concat()).ok();
    assert!(
        !run.stderr.contains("chosen:"),
        "a file settles everything: {}",
        run.stderr
    );
    let twice = snug(&sandbox, &["convert", "train.py"]);
    assert_eq!(twice.code, Some(2));
    assert!(
        twice.complaint().contains("`train.toml` already exists"),
        "{twice:?}"
    );
    let empty = snug(&sandbox, &["convert", "--line", "ls -l"]);
    assert_eq!(empty.code, Some(2));
}

/// Weights under milesial's names and back: the same network, up to the folding of biases.
#[test]
fn weights_of_another_unet_are_read_and_written() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--run-dir", "run", "--epochs", "2"]);
    let best = "run/best.safetensors";
    snug(
        &sandbox,
        &[
            "convert",
            best,
            "--to",
            "milesial",
            "--out",
            "theirs.safetensors",
        ],
    )
    .ok();
    let score = |weights: &str| {
        let size = ["--img-size", "64x64", "--amp", "off", "--device", "cpu"];
        let run = ["evaluate", "--weights", weights, "--data", "data", "--json"];
        let run = snug(&sandbox, &[&run[..], &size].concat()).ok();
        let scores: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        scores["iou"].as_f64().unwrap()
    };
    let (ours, theirs) = (score(best), score("theirs.safetensors"));
    assert!((ours - theirs).abs() < 1e-3, "{ours} {theirs}");
    snug(&sandbox, &["convert", "theirs.safetensors"]).ok();
    let copy = snug(&sandbox, &["convert", best]).ok();
    assert!(
        copy.stderr.contains("the weights were Snug's already"),
        "{copy:?}"
    );
    let warm = ["train", "data", "--resume", best, "--dry-run"];
    let warm = snug(&sandbox, &warm).ok();
    assert!(
        warm.stderr
            .contains("weights: warm start from `--resume`\n"),
        "{warm:?}"
    );
    assert!((score("theirs.snug.safetensors") - theirs).abs() < 1e-9);
}

/// Who set what is known after a resume, and after several.
#[test]
fn a_resumed_run_remembers_who_set_what() {
    let sandbox = Sandbox::with_pages();
    let flags = [
        "--device", "cpu", "--amp", "off", "--width", "4", "--epochs", "2",
    ];
    let first = ["train", "data", "--run-dir", "run", "--max-steps", "1"];
    snug(&sandbox, &[&first[..], &flags].concat()).ok();
    for steps in ["2", "3"] {
        let more = [
            "train",
            "--device",
            "cpu",
            "--resume",
            "run",
            "--max-steps",
            steps,
        ];
        snug(&sandbox, &more).ok();
        let report = sandbox.json("run/report.json");
        let row = |key: &str| {
            let rows = report["settings"].as_array().unwrap();
            rows.iter().find(|row| row["key"] == key).unwrap().clone()
        };
        assert_eq!(row("width")["by"], "you", "{report:#}");
        assert_eq!(row("batch")["by"], "data");
        assert_eq!(row("batch")["why"], "few images: more steps per epoch");
        assert_eq!(row("max_steps")["by"], "you");
        assert_eq!(row("patience")["by"], "default");
    }
}

#[test]
fn shells_and_man_know_the_commands() {
    let sandbox = Sandbox::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = snug(&sandbox, &["completions", shell]).ok().stdout;
        assert!(
            script.contains("snug") && script.contains("dry-run"),
            "{shell}"
        );
        assert!(!script.contains("bench-worker"), "{shell}");
    }
    let japanese = snug(&sandbox, &["--lang", "ja", "completions", "zsh"])
        .ok()
        .stdout;
    assert!(japanese.contains("'-h[ヘルプを表示します]'"), "{japanese}");
    assert_eq!(snug(&sandbox, &["completions", "cmd"]).code, Some(2));
    snug(&sandbox, &["man", "--out", "man1"]).ok();
    let page = String::from_utf8(sandbox.read("man1/snug-train.1")).unwrap();
    assert!(
        page.contains("\\-\\-dry\\-run") && !page.contains("`train "),
        "{page}"
    );
    assert!(
        sandbox.path("man1/snug-suggest.1").exists()
            && !sandbox.path("man1/snug-bench-worker.1").exists()
    );
}
