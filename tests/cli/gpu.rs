//! Whole runs on libtorch's CUDA half, on a stand-in for a GPU (crate `standin`): real are bytes and
//! control flow, not values or times. Where no stand-in can be built the tests are skipped.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use machine::{STAND_IN, is_stand_in};
use standin::{PretendedCard, StandIn};

use super::running::Running;
use super::{LEDGER, Run, Sandbox, small};

const GIB: u64 = 1 << 30;

/// Engines and workspaces of convolutions, as cuDNN names them for compute capability 8.6.
const WORKSPACES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/cli/workspaces-8.6.txt"
);

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

/// A prediction exists before the first tensor is made, so that runs are limited, refused and adapted.
#[test]
fn memory_is_predicted_before_the_first_tensor() {
    let sandbox = Sandbox::with_pages();
    let large = ["--width", "256", "--batch", "96", "--img-size", "512x512"];
    let Some(run) = fit(
        &with_memory(12),
        &sandbox,
        &[&large[..], &["--strict"]].concat(),
    ) else {
        return;
    };
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(
        run.complaint().contains("predicted to take"),
        "{}",
        run.stderr
    );

    let limited = ["--memory-limit", "8GiB", "--max-steps", "2"];
    fit(&with_memory(12), &sandbox, &limited).unwrap().ok();
}

/// The ledger's last row: allocated and reserved bytes as predicted compared with measured, in percent.
fn errors(sandbox: &Sandbox) -> [f64; 2] {
    let rows = sandbox.rows(LEDGER);
    let row = rows.last().unwrap();
    ["allocated_bytes", "reserved_bytes"].map(|figure| {
        let of = |side: &str| row[side][figure].as_f64().unwrap();
        100.0 * (of("predicted") / of("measured") - 1.0)
    })
}

/// Segments expand, unless the driver or the environment stands against it; predictions know.
#[test]
fn segments_expand_where_they_can() {
    let sandbox = Sandbox::with_pages();
    let work = ["--width", "32", "--img-size", "256x256", "--deterministic"];
    let flags = [&work[..], &["--max-steps", "2"]].concat();
    let expandable = with_memory(12).workspaces(Path::new(WORKSPACES));
    let fixed = expandable.clone().without_virtual_memory();
    let mut reserved = Vec::new();
    for (machine, settings) in [
        (&expandable, ""),
        (&fixed, ""),
        (&expandable, "expandable_segments:False"),
    ] {
        let mut command = sandbox.command();
        command
            .args(run_flags(&flags))
            .env("PYTORCH_ALLOC_CONF", settings);
        if !on(machine, &mut command) {
            return;
        }
        Run::of(&mut command).ok();
        let summary = sandbox.json("run/summary.json");
        reserved.push(summary["memory"]["peak_reserved_bytes"].as_u64().unwrap());
        assert!(
            errors(&sandbox)[1].abs() < 8.0,
            "{settings}: {:?}",
            errors(&sandbox)
        );
        fs::remove_dir_all(sandbox.path("run")).unwrap();
    }
    assert!(reserved[0] < reserved[1], "{reserved:?}");
    assert_eq!(reserved[1], reserved[2]);
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

#[test]
fn a_broken_device_is_said_in_one_sentence() {
    let sandbox = Sandbox::with_pages();
    let machine = with_memory(12).break_at_launch(2_000);
    let Some(run) = fit(&machine, &sandbox, &[]) else {
        return;
    };
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let last = run.stderr.lines().rfind(|line| line.starts_with("error: "));
    let words = "error: CUDA error: an illegal memory access was encountered";
    assert_eq!(last, Some(words), "{}", run.stderr);
    assert!(!run.stderr.contains("frame #"), "{}", run.stderr);
}

/// Predictions, against libtorch's own caching allocator with the workspaces that cuDNN itself names
/// for these convolutions (`workspaces-8.6.txt`, made by `crates/standin/tools/workspaces.py`).
#[test]
fn predictions_hold_on_libtorchs_allocator() {
    let sandbox = Sandbox::with_pages();
    for amp in ["off", "fp16", "bf16"] {
        for policy in ["off", "selective", "block", "mixed"] {
            let recipe = ["--amp", amp, "--grad-checkpoint", policy, "--width", "32"];
            let size = [
                "--img-size",
                "256x256",
                "--deterministic",
                "--max-steps",
                "2",
            ];
            let machine = with_memory(12).workspaces(Path::new(WORKSPACES));
            let Some(run) = fit(&machine, &sandbox, &[&recipe[..], &size].concat()) else {
                return;
            };
            run.ok();
            let [allocated, reserved] = errors(&sandbox);
            let all =
                format!("{amp} {policy}: {allocated:+.2} % allocated, {reserved:+.2} % reserved");
            assert!((-0.5..=0.5).contains(&allocated), "{all}");
            assert!((-1.0..=6.0).contains(&reserved), "{all}");
            fs::remove_dir_all(sandbox.path("run")).unwrap();
        }
    }
}

/// Batches go to the GPU from pinned memory, so that the host does not wait for them.
#[test]
fn batches_are_uploaded_from_pinned_memory() {
    let sandbox = Sandbox::with_pages();
    let journal = sandbox.path("journal");
    let machine = with_memory(12).journal(&journal);
    let Some(run) = fit(&machine, &sandbox, &["--max-steps", "2", "--amp", "fp16"]) else {
        return;
    };
    run.ok();
    let journal = fs::read_to_string(journal).unwrap();
    // Four images of 64x64 and their masks.
    let uploads = |bytes: &str| {
        let of = |line: &&str| line.starts_with(&format!("upload {bytes} "));
        journal
            .lines()
            .filter(of)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for bytes in ["49152", "16384"] {
        let uploads = uploads(bytes);
        assert!(uploads.len() >= 2, "{journal}");
        assert!(
            uploads.iter().all(|line| line.ends_with(" pinned")),
            "{uploads:?}"
        );
    }
}

/// The workspaces that cuDNN tries in the first step are no part of a run's peak.
#[test]
fn the_search_for_algorithms_is_told_apart() {
    let sandbox = Sandbox::with_pages();
    let machine = with_memory(12).workspaces(Path::new(WORKSPACES));
    let flags = ["--width", "32", "--img-size", "256x256", "--max-steps", "4"];
    let Some(run) = fit(&machine, &sandbox, &flags) else {
        return;
    };
    run.ok();
    let events = sandbox.rows("run/events.jsonl");
    let search = events
        .iter()
        .find(|row| row["event"] == "algorithm-search")
        .unwrap();
    let summary = sandbox.json("run/summary.json");
    let peak = summary["memory"]["peak_allocated_bytes"].as_u64();
    assert!(
        search["peak_allocated_bytes"].as_u64() > peak,
        "{search} {peak:?}"
    );
}

/// A GPU that cannot be used is named, with what it lacks; nothing uses the CPU without a word.
#[test]
fn a_gpu_that_is_not_used_is_named() {
    let sandbox = Sandbox::with_pages();
    let old_driver = with_memory(12).driver(12_080);
    let old_card = StandIn::with(card("Tesla P100-PCIE-16GB", (6, 0), 16));
    for (machine, reason) in [
        (
            old_driver,
            "supports CUDA up to 12.8, and libtorch needs CUDA 13.0",
        ),
        (
            old_card,
            "compute capability is 6.0, and libtorch needs 7.5",
        ),
    ] {
        let Some(refused) = fit(&machine, &sandbox, &["--max-steps", "1"]) else {
            return;
        };
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.complaint().contains(reason), "{}", refused.stderr);

        let auto = [
            "--data",
            "data",
            "--device",
            "auto",
            "--max-steps",
            "1",
            "--run-dir",
            "run",
        ];
        let run = train(&machine, &sandbox, &small(&auto)).unwrap().ok();
        assert!(
            run.stderr.contains("is not used: its") && run.stderr.contains(reason),
            "{}",
            run.stderr
        );
        assert_eq!(sandbox.json("run/summary.json")["device"]["kind"], "cpu");
        fs::remove_dir_all(sandbox.path("run")).unwrap();
    }
}

/// A precision that the card has no arithmetic for is refused; cuDNN would have no kernel for it.
#[test]
fn a_card_without_bf16_says_so() {
    let sandbox = Sandbox::with_pages();
    let machine = StandIn::with(card("Tesla T4", (7, 5), 16));
    let Some(refused) = fit(&machine, &sandbox, &["--amp", "bf16", "--max-steps", "1"]) else {
        return;
    };
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let words = "computes no bf16";
    assert!(refused.complaint().contains(words), "{refused:?}");
    fit(&machine, &sandbox, &["--amp", "fp16", "--max-steps", "1"])
        .unwrap()
        .ok();
}

/// Another program takes nearly all memory in mid-run: a rung, an emergency stop or a failure, but soon.
#[test]
fn a_neighbour_that_grows_ends_in_a_few_rungs() {
    let sandbox = Sandbox::with_pages();
    let others = sandbox.write("others", "0");
    let machine = with_memory(12).others(&others);
    let mut command = sandbox.command();
    command.args(run_flags(&["--width", "32", "--epochs", "100000"]));
    if !on(&machine, &mut command) {
        return;
    }
    let mut child = command
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = sandbox.path("run/metrics.jsonl");
    wait_until("an epoch is done", || metrics.exists());
    fs::write(&others, (11 * GIB + GIB / 2).to_string()).unwrap();
    let mut status = None;
    wait_until("the run ends", || {
        status = child.try_wait().unwrap();
        status.is_some() || sandbox.rows("run/events.jsonl").len() > 100
    });
    drop(child.kill());
    let code = status.expect("it ends by itself").code();
    assert!(matches!(code, Some(1 | 4)), "{code:?}");
    let rungs = sandbox.rows("run/events.jsonl");
    let rungs: Vec<_> = rungs
        .iter()
        .filter(|row| row["event"] == "fallback")
        .collect();
    for pair in rungs.windows(2) {
        assert_ne!(pair[0]["fallback"]["to"], pair[1]["fallback"]["to"]);
    }
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

/// Device allocations of a run are refused, one in each run: without the cache, each tensor is one. By
/// default a sample; with `SNUG_TEST_EVERY_ALLOCATION` each of the first 2,000.
#[test]
fn a_refused_allocation_is_a_rung_or_a_clear_failure() {
    const FIRST: u64 = 2_000;
    let sandbox = Sandbox::with_pages();
    let step = if std::env::var_os("SNUG_TEST_EVERY_ALLOCATION").is_some() {
        1
    } else {
        111
    };
    let mut num_recovered = 0;
    for number in (1..=FIRST).step_by(step) {
        let machine = with_memory(12).refuse_allocations(number, 1);
        let mut command = sandbox.command();
        command.env("PYTORCH_NO_CUDA_MEMORY_CACHING", "1");
        command.args(run_flags(&["--amp", "fp16", "--max-steps", "3"]));
        if !on(&machine, &mut command) {
            return;
        }
        let run = Run::of(&mut command);
        match run.code {
            Some(0) => num_recovered += 1,
            Some(1) => assert!(
                run.stderr.contains("out of memory"),
                "{number}: {}",
                run.stderr
            ),
            other => panic!("{number}: {other:?} {}", run.stderr),
        }
        assert!(!run.stderr.contains("Warning"), "{number}: {}", run.stderr);
        drop(fs::remove_dir_all(sandbox.path("run")));
    }
    // What is refused before the first step has no step to go back to.
    assert!(num_recovered > 10, "{num_recovered}");
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(20));
    }
}
