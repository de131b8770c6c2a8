//! What goes wrong on a GPU: refused memory, broken devices, drivers and cards that are too old.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use standin::StandIn;

use super::super::{Run, Sandbox, small};
use super::{GIB, card, fit, on, run_flags, train, with_memory};

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
