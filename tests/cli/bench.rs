//! `train bench`: its rows, the comparison, and a fake PyTorch that misbehaves. Times are read but
//! never judged.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use machine::InstructionSet;
use serde_json::Value;

use super::{Run, Sandbox};

/// Flags of a benchmark that takes seconds, on the smallest network.
const TINY: &[&str] = &[
    "bench",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--width",
    "4",
    // Below 48 pixels a side, a CPU with AVX2 copies weights in backward, which is not predicted.
    "--img-size",
    "48x64",
    "--batch",
    "2",
    "--rounds",
    "3",
    "--quick",
    "--out",
    "out",
];

fn bench(sandbox: &Sandbox, more: &[&str]) -> Run {
    sandbox.train(&[TINY, more].concat())
}

/// A Python that speaks the protocol and computes nothing.
fn python(sandbox: &Sandbox, answers: &str) -> String {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = -c ] && {{ echo 2.11.0; exit; }}\nread -r spec\n\
         echo '{{\"is\":\"ready\",\"libtorch\":\"2.11.0\",\"threads\":1,\"cpu_capability\":\"none\"}}'\n\
         while read -r line; do\n{answers}\ndone\n"
    );
    let path = sandbox.write("python", script);
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Number of temporary folders that are left.
fn leftovers(sandbox: &Sandbox) -> usize {
    let entries = std::fs::read_dir(sandbox.path("out")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with(".snug-bench-"))
        .count()
}

fn rows(results: &Value) -> &Vec<Value> {
    results["rows"].as_array().unwrap()
}

#[test]
fn rows_have_the_keys_that_others_rely_on() {
    let sandbox = Sandbox::empty();
    let flags = ["--group", "policies", "--group", "host", "--json", "b.json"];
    let run = bench(&sandbox, &flags).ok();
    let results = sandbox.json("b.json");
    for key in ["schema_version", "device", "libtorch", "date", "command"] {
        assert!(!results[key].is_null(), "{key}");
    }
    assert_eq!(results["rows"], sandbox.json("out/results.json")["rows"]);
    let rows = rows(&results);
    assert!(rows.len() >= 5, "{}", rows.len());
    for row in rows {
        assert_eq!(row["implementation"], "snug");
        assert_eq!(row["img_size"], serde_json::json!([48, 64]));
        assert_eq!((&row["width"], &row["batch"]), (&4.into(), &2.into()));
        assert_eq!(row["memory_format"], "channels-last");
        assert_eq!(row["status"], "ok", "{row}");
        assert!(row["split_concat"].is_boolean() && row["policy"].is_string());
        assert_eq!(row["step_ms"].as_array().unwrap().len(), 3);
        assert!(row["step_ms_median"].as_f64().unwrap() > 0.0);
        assert!(row["images_per_second"].as_f64().unwrap() > 0.0);
        let (held, peak) = (&row["held_bytes"], &row["peak_allocated_bytes"]);
        assert!(peak.as_u64().unwrap() > held.as_u64().unwrap());
        // If the kernels of this CPU are known, the peak is predicted.
        if let Some(predicted) = row["predicted_peak_bytes"].as_u64() {
            let error = predicted as f64 / peak.as_u64().unwrap() as f64 - 1.0;
            // On AVX2 and AMX it is a bound from above, which is rough for so small a step.
            let cpu = machine::Cpu::detect();
            let is_bound = cpu.instruction_set != InstructionSet::Avx512
                || (cpu.amx_bf16 && row["precision"] == "bf16");
            let most = if is_bound { 0.5 } else { 0.03 };
            assert!((-0.005..=most).contains(&error), "{error}: {row}");
        }
        // The CPU's allocator reserves nothing.
        for key in ["peak_reserved_bytes", "device_total_bytes"] {
            assert!(row[key].is_null(), "{key}");
        }
    }
    // The first rows are in fp32: losses are equal, and memory shrinks.
    let peak = |row: &Value| row["peak_allocated_bytes"].as_u64().unwrap();
    assert_eq!(
        (&rows[0]["policy"], &rows[1]["policy"]),
        (&"off".into(), &"selective".into())
    );
    assert_eq!(rows[0]["losses"], rows[1]["losses"]);
    assert!(peak(&rows[1]) < peak(&rows[0]));
    for row in results["host"].as_array().unwrap() {
        let ms = |key: &str| row[key].as_f64().unwrap();
        assert!(
            ms("host_ms") > 0.0 && ms("host_ms") < ms("step_ms"),
            "{row}"
        );
    }
    assert!(run.stdout.contains("| snug ") && run.stdout.contains("## Host work"));
    let page = String::from_utf8(sandbox.read("out/results.md")).unwrap();
    assert!(page.contains("![memory against speed](results.svg)"));
    assert!(sandbox.read("out/results.svg").starts_with(b"<svg "));
    // No temporary folder is left.
    assert!(leftovers(&sandbox) == 0 && !sandbox.path("out/journal.jsonl").exists());
}

/// A fake PyTorch, or one that computes something else, is reported in its row, and the benchmark
/// continues.
#[test]
fn a_comparison_of_different_work_is_refused() {
    let sandbox = Sandbox::empty();
    let answers = "case $line in\n\
         *losses*) echo '{\"is\":\"losses\",\"losses\":[0.1,0.1,0.1]}';;\n\
         *peak*) echo '{\"is\":\"peak\",\"held_bytes\":1,\"allocated_bytes\":2,\"reserved_bytes\":null}';;\n\
         *) echo '{\"is\":\"times\",\"step_ms\":[0.001]}';;\nesac";
    let python = python(&sandbox, answers);
    let flags = [
        "--against-pytorch",
        "--group",
        "pytorch-full",
        "--python",
        &python,
    ];
    let variant = ["--variant", "pytorch-eager"];
    let run = bench(&sandbox, &[&flags[..], &variant].concat()).ok();
    let results = sandbox.json("out/results.json");
    let [snug, _selective, other] = &rows(&results)[..] else {
        panic!("{results}")
    };
    assert_eq!(
        (&snug["status"], &other["status"]),
        (&"ok".into(), &"failed".into())
    );
    let message = other["message"].as_str().unwrap();
    assert!(
        message.starts_with("not the same work: losses 0.1"),
        "{message}"
    );
    assert!(other["ratio_to_baseline"].is_null() && other["step_ms"] == serde_json::json!([]));
    assert!(run.stdout.contains("not the same work") && !run.stdout.contains("Snug takes"));
}

#[test]
fn out_of_memory_and_a_crash_are_results() {
    let sandbox = Sandbox::empty();
    let flags = ["--against-pytorch", "--group", "pytorch-full", "--python"];
    let of = |answers: &str| {
        let python = python(&sandbox, answers);
        let variant = [python.as_str(), "--variant", "pytorch-script"];
        bench(&sandbox, &[&flags[..], &variant].concat()).ok();
        let results = sandbox.json("out/results.json");
        let row = rows(&results)[2].clone();
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (text("status"), text("message"))
    };
    let message = "CUDA out of memory. Tried to allocate 1 GiB";
    let oom = format!("echo '{{\"is\":\"out-of-memory\",\"message\":\"{message}\"}}'");
    assert_eq!(of(&oom), ("oom".to_owned(), message.to_owned()));
    let (status, message) = of("echo some last words >&2; exit 3");
    assert_eq!(status, "failed");
    assert!(message.ends_with("some last words"), "{message}");
    let (status, _) = of("kill -9 $$");
    assert_eq!(status, "oom");
    let (status, message) = of("echo what");
    assert_eq!(status, "failed");
    assert!(message.contains("an invalid answer"), "{message}");
}

#[test]
fn an_interrupted_benchmark_continues() {
    let sandbox = Sandbox::empty();
    let groups = [TINY, &["--group", "formats", "--group", "host"]].concat();
    let mut cut_off = sandbox.command();
    cut_off.args(&groups).stderr(Stdio::piped());
    let mut child = cut_off.spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines();
    // Its second part begins.
    let mut said = said.map_while(Result::ok);
    assert!(said.any(|line| line.starts_with("host:")));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(leftovers(&sandbox) == 1 && !sandbox.path("out/results.json").exists());

    let run = sandbox.train(&groups).ok();
    assert!(run.stderr.starts_with("going on with"), "{}", run.stderr);
    assert!(run.stderr.contains("which has: formats"), "{}", run.stderr);
    assert!(!run.stderr.contains("formats: snug"), "{}", run.stderr);
    let results = sandbox.json("out/results.json");
    assert!(!rows(&results).is_empty() && results["host"][0]["step_ms"].is_number());
    assert_eq!(leftovers(&sandbox), 0);
    // A finished benchmark is not continued; and without time, nothing is measured.
    let late = [&groups[..], &["--budget-minutes", "0.0001"]].concat();
    let run = sandbox.train(&late).ok();
    assert!(!run.stderr.contains("going on"), "{}", run.stderr);
    let results = sandbox.json("out/results.json");
    let left_out = results["left_out"].as_array().unwrap().iter();
    let late = left_out.filter(|line| line.as_str().unwrap().ends_with("no time left"));
    assert_eq!((late.count(), rows(&results).len()), (2, 0));
}

#[test]
fn memory_alone_is_measured_at_several_batches() {
    let sandbox = Sandbox::empty();
    let flags = ["--batch", "2,4", "--rounds", "0", "--group", "policies"];
    let tiny: Vec<&str> = [&TINY[..9], &["--out", "out"], &flags].concat();
    sandbox.train(&tiny).ok();
    let results = sandbox.json("out/results.json");
    let peak = |batch: u32| {
        let of = |row: &&Value| row["batch"] == batch && row["policy"] == "selective";
        let row = rows(&results).iter().find(of).unwrap();
        assert_eq!(
            (&row["status"], &row["step_ms"]),
            (&"ok".into(), &serde_json::json!([]))
        );
        row["peak_allocated_bytes"].as_u64().unwrap()
    };
    assert!(peak(2) < peak(4));
}

#[test]
fn wrong_flags_are_refused_before_anything_runs() {
    let sandbox = Sandbox::with_pages();
    let complaint = |flags: &[&str]| {
        let run = bench(&sandbox, flags);
        assert_eq!(run.code, Some(2), "{run:?}");
        run.complaint().to_owned()
    };
    let said = complaint(&["--group", "nothing"]);
    assert!(said.contains("guide, pytorch-half, policies"), "{said}");
    let said = complaint(&["--variant", "pytorch-eager"]);
    assert!(said.contains("add `--against-pytorch`"), "{said}");
    let said = complaint(&["--data", "nowhere"]);
    assert!(said.contains("`nowhere` has no `train/images`"), "{said}");
    for minutes in ["-1", "0", "abc"] {
        let said = complaint(&["--budget-minutes", minutes]);
        assert!(said.contains("a number from 0.0001 to 1000000"), "{said}");
    }
    let said = complaint(&["--batch", "abc"]);
    assert!(
        said.contains("a whole number that is not negative"),
        "{said}"
    );
    let said = complaint(&["--against-pytorch", "--python", "no-such-python"]);
    assert!(said.contains("cannot start `no-such-python`"), "{said}");
    let said = complaint(&["--against-pytorch", "--python", "false"]);
    assert!(said.contains("`false` does not import torch"), "{said}");
    let said = complaint(&["--json", "nowhere/b.json"]);
    assert!(said.contains("there is no folder `nowhere`"), "{said}");
    sandbox.write("file", "");
    let run = sandbox.train(&["bench", "--device", "cpu", "--out", "file/out"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.complaint().contains("`file/out`"), "{run:?}");
}

/// With a real PyTorch, losses agree and all rows are good.
#[test]
fn pytorch_does_the_same_work() {
    let Ok(python) = std::env::var("SNUG_TEST_PYTHON") else {
        println!("skipped: SNUG_TEST_PYTHON names no Python with torch 2.11.0");
        return;
    };
    let sandbox = Sandbox::with_pages();
    let flags = [
        "--against-pytorch",
        "--python",
        &python,
        "--group",
        "pytorch-full",
    ];
    let epochs = ["--group", "epochs", "--data", "data"];
    bench(&sandbox, &[&flags[..], &epochs].concat()).ok();
    let results = sandbox.json("out/results.json");
    assert_eq!(rows(&results).len(), 6);
    for row in rows(&results) {
        assert_eq!(row["status"], "ok", "{row}");
        println!("{}: losses {}", row["implementation"], row["losses"]);
    }
    for row in results["epochs"].as_array().unwrap() {
        let first = &row["first"];
        assert_eq!(
            (&first["images"], &first["val_images"]),
            (&8.into(), &4.into()),
            "{row}"
        );
    }
}
