//! Memory on a GPU: predicted, limited, and as libtorch's own allocator counts it.

use std::fs;
use std::path::Path;

use super::super::{LEDGER, Run, Sandbox};
use super::{fit, on, run_flags, with_memory};

/// Engines and workspaces of convolutions, as cuDNN names them for compute capability 8.6.
const WORKSPACES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/cli/workspaces-8.6.txt"
);

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

/// Segments expand, unless the driver or the environment prevents it, and predictions follow.
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
    // Its peak is that of a convolution.
    let policy = ["--grad-checkpoint", "block"];
    let size = ["--width", "32", "--img-size", "256x256", "--max-steps", "4"];
    let flags = [&policy[..], &size].concat();
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
