//! Whole runs on libtorch's CUDA half, on a stand-in for a GPU (crate `standin`): real are bytes and
//! control flow, not values or times. Where no stand-in can be built the tests are skipped.

mod faults;
mod graph;
mod kernels;
mod memory;
mod ranks;

use std::fs;
use std::process::Command;

use machine::{STAND_IN, is_stand_in};
use standin::{PretendedCard, StandIn};

use super::running::Running;
use super::{Run, Sandbox, small};

const GIB: u64 = 1 << 30;

fn card(name: &str, capability: (u32, u32), gib: u64) -> PretendedCard {
    PretendedCard {
        name: name.to_owned(),
        capability,
        memory_bytes: gib * GIB,
    }
}

/// A machine with the guide's card, and this much memory on it.
fn with_memory(gib: u64) -> StandIn {
    StandIn::with(card("NVIDIA GeForce RTX 3060", (8, 6), gib)).context(300 << 20)
}

/// `train` on a machine; `None` where there is no stand-in.
fn train(machine: &StandIn, sandbox: &Sandbox, arguments: &[&str]) -> Option<Run> {
    let mut command = sandbox.command();
    on(machine, command.args(arguments)).then(|| Run::of(&mut command))
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn on(machine: &StandIn, command: &mut Command) -> bool {
    match machine.run(command) {
        Ok(()) => true,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            false
        }
    }
}

/// The flags of a short run on `data/` in `run/`, with more.
fn run_flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let flags = ["--data", "data", "--device", "cuda", "--run-dir", "run"];
    small(&[&flags[..], more].concat())
}

/// `train fit` with [`run_flags`].
fn fit(machine: &StandIn, sandbox: &Sandbox, more: &[&str]) -> Option<Run> {
    train(machine, sandbox, &run_flags(more))
}

#[test]
fn the_mark_of_a_stand_in_is_known() {
    assert_eq!(standin::MARK, STAND_IN);
    assert!(is_stand_in("NVIDIA GeForce RTX 3060 (stand-in)"));
}

#[test]
fn a_run_is_predicted_and_ends() {
    let sandbox = Sandbox::with_pages();
    let Some(run) = fit(&with_memory(12), &sandbox, &["--epochs", "1"]) else {
        return;
    };
    run.ok();
    let summary = sandbox.json("run/summary.json");
    assert_eq!(summary["device"]["kind"], "cuda");
    assert_eq!(
        summary["device"]["name"],
        "NVIDIA GeForce RTX 3060 (stand-in)"
    );
    assert!(summary["memory"]["predicted_peak_bytes"].as_u64() > Some(0));
    assert!(summary["memory"]["peak_reserved_bytes"].as_u64() > Some(0));
    assert_eq!(summary["fallbacks"], serde_json::json!([]));
}

/// The loss of several classes makes its targets on the device, and ignored pixels have tensors of their own.
#[test]
fn several_classes_train_with_ignored_pixels() {
    let sandbox = Sandbox::empty();
    for nth in 0..6 {
        for (folder, values) in [("images", [9, 90, 180, 250]), ("masks", [0, 1, 2, 255])] {
            let picture = image::GrayImage::from_fn(64, 64, |x, y| {
                image::Luma([values[((x + y + nth) / 16 % 4) as usize]])
            });
            let path = sandbox.path(&format!("data/{folder}/{nth}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            picture.save(path).unwrap();
        }
    }
    for amp in ["off", "fp16"] {
        let flags = ["--amp", amp, "--epochs", "1"];
        let Some(run) = fit(&with_memory(12), &sandbox, &flags) else {
            return;
        };
        assert!(run.ok().stderr.contains("3 classes"));
        fs::remove_dir_all(sandbox.path("run")).unwrap();
    }
}

#[test]
fn every_policy_trains_in_every_precision() {
    let sandbox = Sandbox::with_pages();
    for policy in ["off", "selective", "block", "stage", "mixed"] {
        for amp in ["off", "fp16", "bf16"] {
            let flags = [
                "--grad-checkpoint",
                policy,
                "--amp",
                amp,
                "--max-steps",
                "2",
            ];
            let Some(run) = fit(&with_memory(12), &sandbox, &flags) else {
                return;
            };
            run.ok();
            assert_eq!(
                sandbox.json("run/summary.json")["fallbacks"],
                serde_json::json!([])
            );
            fs::remove_dir_all(sandbox.path("run")).unwrap();
        }
    }
}

#[test]
fn doctor_finds_nothing_wrong() {
    let sandbox = Sandbox::empty();
    let arguments = ["doctor", "--device", "cuda", "--json"];
    let Some(run) = train(&with_memory(12), &sandbox, &arguments) else {
        return;
    };
    let run = run.ok();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let count = |status| {
        checks
            .iter()
            .filter(|check| check["status"] == status)
            .count()
    };
    assert_eq!(count("fail"), 0, "{}", run.stdout);
    assert!(count("ok") > 25, "{}", run.stdout);
}

/// Everything around a run works on a GPU: interrupt, resume, scores, masks and a benchmark.
#[test]
fn a_run_is_interrupted_resumed_scored_and_used() {
    let sandbox = Sandbox::with_pages();
    let machine = with_memory(12);
    let mut command = sandbox.command();
    // Not fp16: no kernel runs here, so a scale would stay 0 and could not be resumed from.
    let endless = ["--amp", "bf16", "--epochs", "100000", "--patience", "0"];
    command.args(run_flags(&endless));
    if !on(&machine, &mut command) {
        return;
    }
    let mut run = Running::of(&mut command);
    run.wait_for("epoch      1/");
    assert!(run.signal("-TERM"));
    assert_eq!(run.end(), Some(130), "{}", run.text);
    let steps = sandbox.json("run/summary.json")["steps"].as_u64().unwrap();

    let more = (steps + 3).to_string();
    let resume = [
        "fit",
        "--resume",
        "run",
        "--max-steps",
        &more,
        "--device",
        "cuda",
    ];
    train(&machine, &sandbox, &resume).unwrap().ok();
    assert_eq!(sandbox.json("run/summary.json")["steps"], steps + 3);

    let weights = ["--weights", "run/best.safetensors", "--device", "cuda"];
    let evaluate = [&["evaluate", "--data", "data", "--json"], &weights[..]].concat();
    let scored = train(&machine, &sandbox, &evaluate).unwrap().ok();
    let scores: serde_json::Value = serde_json::from_str(&scored.stdout).unwrap();
    assert_eq!(scores["num_images"], 4, "{scores}");
    let images = ["predict", "--input", "data/val/images", "--out", "masks"];
    train(&machine, &sandbox, &[&images, &weights[..]].concat())
        .unwrap()
        .ok();
    assert!(sandbox.path("masks").read_dir().unwrap().count() > 0);

    let bench = [
        "bench", "--device", "cuda", "--rounds", "0", "--group", "policies", "--out", "bench",
    ];
    let work = ["--width", "8", "--img-size", "64x96", "--batch", "2"];
    train(&machine, &sandbox, &[&bench[..], &work].concat())
        .unwrap()
        .ok();
    let results = sandbox.json("bench/results.json");
    let name = results["device"]["name"].as_str().unwrap();
    assert!(is_stand_in(name), "{name}");
    for row in results["rows"].as_array().unwrap() {
        assert_eq!(row["status"], "ok", "{row}");
        assert!(row["peak_reserved_bytes"].as_u64() > Some(0), "{row}");
    }
}

/// The card that `CUDA_VISIBLE_DEVICES` shows is the one whose name, memory and bytes count.
#[test]
fn of_two_cards_the_visible_one_counts() {
    let sandbox = Sandbox::with_pages();
    let machine = with_memory(12).and(card("NVIDIA GeForce RTX 4090", (8, 9), 24));
    for (visible, flag, name) in [
        (None, "cuda:1", "RTX 4090"),
        (Some("1"), "cuda:0", "RTX 4090"),
        (Some("1,0"), "cuda:1", "RTX 3060"),
    ] {
        let mut command = sandbox.command();
        command.args(run_flags(&["--max-steps", "1"]));
        command.args(["--device", flag]);
        if !on(&machine, &mut command) {
            return;
        }
        if let Some(visible) = visible {
            command.env("CUDA_VISIBLE_DEVICES", visible);
        }
        Run::of(&mut command).ok();
        let device = &sandbox.json("run/summary.json")["device"];
        let said = device["name"].as_str().unwrap();
        assert!(said.contains(name), "{visible:?} {flag}: {device}");
        let gib = if name == "RTX 4090" { 24 } else { 12 };
        assert_eq!(device["total_bytes"], gib * GIB, "{visible:?} {flag}");
        fs::remove_dir_all(sandbox.path("run")).unwrap();
    }
    let mut command = sandbox.command();
    command.args(run_flags(&["--max-steps", "1"]));
    command.args(["--device", "cuda:1"]);
    machine.run(&mut command).unwrap();
    command.env("CUDA_VISIBLE_DEVICES", "0");
    let refused = Run::of(&mut command);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.complaint().contains("no `cuda:1`"), "{refused:?}");
}

/// Everything that only a GPU can tell, rehearsed: the parts run in order and are kept.
#[test]
fn a_session_on_a_gpu_keeps_what_its_parts_leave() {
    let sandbox = Sandbox::empty();
    let session = ["gpu", "--out", "session"];
    let parts = [
        "--part", "refused", "--part", "limited", "--part", "search-1",
    ];
    let machine = with_memory(12);
    let Some(run) = train(&machine, &sandbox, &[&session[..], &parts].concat()) else {
        return;
    };
    let run = run.ok();
    let archive = sandbox.json("session/gpu.json");
    let parts = archive["parts"].as_array().unwrap();
    let names: Vec<_> = parts
        .iter()
        .map(|part| part["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["pages", "refused", "limited", "search-1"],
        "{run:?}"
    );
    assert_eq!(parts[1]["ending"]["exit"], 3);
    assert!(parts[3]["summary"]["memory"]["peak_reserved_bytes"].as_u64() > Some(0));
    assert!(parts[3]["ledger"]["predicted"]["reserved_bytes"].as_u64() > Some(0));
    let page = String::from_utf8(sandbox.read("session/gpu.md")).unwrap();
    assert!(
        page.starts_with("# NVIDIA GeForce RTX 3060 (stand-in)"),
        "{page}"
    );
    let again = train(&machine, &sandbox, &session).unwrap();
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.complaint().contains("is not empty"), "{again:?}");
}
