//! The line that a run adds to the ledger, and runs that add none.

use advisor::ledger::{Contents, LedgerPlace};
use serde_json::Value;

use super::{LEDGER, Run, Sandbox, small};

const ONE_STEP: &[&str] = &["--data", "data", "--max-steps", "1"];

fn contents(sandbox: &Sandbox) -> Contents {
    LedgerPlace::File(sandbox.path(LEDGER)).read().unwrap()
}

#[test]
fn a_run_leaves_its_figures() {
    let sandbox = Sandbox::with_pages();
    let flags = ["--epochs", "3", "--batch", "6", "--run-dir", "run"];
    let run = sandbox.fit(&flags);
    let said = "ledger: predicted and measured memory and speed are kept in `ledger.jsonl`";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let run = sandbox.fit(&["--max-steps", "1"]);
    assert!(
        !run.stderr.contains("ledger: "),
        "said once: {}",
        run.stderr
    );

    let all = contents(&sandbox);
    assert_eq!((all.entries.len(), all.num_skipped()), (2, 0));
    let summary = sandbox.json("run/summary.json");
    let row = &sandbox.rows(LEDGER)[0];
    for (ours, theirs) in [
        ("/schema_version", "/schema_version"),
        ("/device/name", "/device/name"),
        ("/device/total_bytes", "/device/total_bytes"),
        ("/shape/img_size", "/config/img_size"),
        ("/shape/width", "/config/width"),
        ("/shape/precision", "/precision"),
        ("/predicted/allocated_bytes", "/memory/predicted_peak_bytes"),
        ("/measured/allocated_bytes", "/memory/peak_allocated_bytes"),
        ("/measured/reserved_bytes", "/memory/peak_reserved_bytes"),
        (
            "/measured/images_per_second",
            "/throughput/images_per_second",
        ),
        ("/steps", "/steps"),
        ("/status", "/status"),
    ] {
        assert_eq!(row.pointer(ours), summary.pointer(theirs), "{ours}");
    }
    // On a CPU only tensor bytes are predicted, and with AVX512 kernels the speed as well.
    let is_avx512 = row["device"]["instruction_set"] == "AVX512";
    let predicted = &row["predicted"];
    assert_eq!(predicted["images_per_second"].is_f64(), is_avx512);
    assert!(predicted["reserved_bytes"].is_null() && predicted["total_bytes"].is_null());
    assert_eq!(row["device"]["threads"], 1);
    assert_eq!(row["shape"]["policy"], "off");
    // 8 pages for training and 4 for validation, in batches of 6.
    let largest = &row["shape"]["largest_batch"];
    assert_eq!(
        (&largest["train"], &largest["validation"]),
        (&6.into(), &4.into())
    );
    let date = row["date"].as_str().unwrap();
    assert!(date.len() == 20 && date.ends_with('Z'), "{date}");
}

#[test]
fn some_runs_add_no_line() {
    let sandbox = Sandbox::with_pages();
    let off = Run::of(
        sandbox
            .command()
            .env("SNUG_LEDGER", "off")
            .args(small(ONE_STEP)),
    )
    .ok();
    assert!(!off.stderr.contains("ledger"), "{}", off.stderr);
    let failed = sandbox.train(&small(&["--data", "data", "--lr", "1e30", "--epochs", "9"]));
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(!sandbox.path(LEDGER).exists() && !sandbox.path("off").exists());
}

#[test]
fn an_unwritable_ledger_does_not_end_a_run() {
    let sandbox = Sandbox::with_pages();
    sandbox.write("file", "");
    for place in ["/dev/full", "file/ledger.jsonl", "."] {
        let run = Run::of(
            sandbox
                .command()
                .env("SNUG_LEDGER", place)
                .args(small(ONE_STEP)),
        )
        .ok();
        let warning = format!("warning: no ledger of this run: cannot append to `{place}`: ");
        let lines = run.stderr.lines().filter(|line| line.contains("ledger"));
        let lines: Vec<_> = lines.collect();
        assert!(
            lines.len() == 1 && lines[0].starts_with(&warning),
            "{lines:?}"
        );
    }
    let last = sandbox.json("runs/data-003/summary.json");
    assert_eq!(last["status"], "completed");
}

#[test]
fn the_default_ledger_is_in_the_home_folder() {
    let sandbox = Sandbox::with_pages();
    let home = sandbox.path("home");
    let mut command = sandbox.command();
    command
        .env_remove("SNUG_LEDGER")
        .env_remove("XDG_DATA_HOME")
        .env("HOME", &home)
        .args(small(ONE_STEP));
    Run::of(&mut command).ok();
    let rows: Vec<Value> = sandbox.rows("home/.local/share/snug/ledger.jsonl");
    assert_eq!(rows.len(), 1);
}
