//! Runs that must give the same weights, bit for bit: fp32 on the CPU.

use super::Sandbox;

const WEIGHTS: [&str; 2] = ["best.safetensors", "last/weights.safetensors"];

/// Whether two runs wrote the same bytes.
fn same_weights(sandbox: &Sandbox, a: &str, b: &str) -> bool {
    WEIGHTS.iter().all(|file| {
        let [a, b] = [a, b].map(|run| sandbox.read(&format!("{run}/{file}")));
        assert!(a.len() > 100_000, "only {} bytes were compared", a.len());
        a == b
    })
}

#[test]
fn the_written_configuration_reproduces_the_run() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&[
        "--epochs",
        "2",
        "--seed",
        "7",
        "--workers",
        "1",
        "--run-dir",
        "a",
    ]);
    let again = [
        "--data",
        "data",
        "--device",
        "cpu",
        "--config",
        "a/config.toml",
    ];
    sandbox
        .train(&[&["fit", "--run-dir", "b"], &again[..]].concat())
        .ok();
    assert!(same_weights(&sandbox, "a", "b"));
    assert!(sandbox.read("a/config.toml") == sandbox.read("b/config.toml"));
    // The number of threads that read images does not matter, but the seed does.
    sandbox
        .train(&[&["fit", "--run-dir", "c", "--workers", "3"], &again[..]].concat())
        .ok();
    assert!(same_weights(&sandbox, "a", "c"));
    sandbox
        .train(&[&["fit", "--run-dir", "d", "--seed", "8"], &again[..]].concat())
        .ok();
    assert!(!same_weights(&sandbox, "a", "d"));
}

#[test]
fn checkpointing_gives_the_weights_of_the_plain_run() {
    let sandbox = Sandbox::with_pages();
    let run = |dir: &str, flags: &[&str]| {
        sandbox.fit(&[&["--epochs", "2", "--run-dir", dir], flags].concat());
        let summary = sandbox.json(&format!("{dir}/summary.json"));
        summary["memory"]["peak_allocated_bytes"].as_u64().unwrap()
    };
    let plain = run("plain", &["--grad-checkpoint", "off"]);
    let policies: [&[&str]; 6] = [
        &["block", "--use-reentrant", "on"],
        &["block"],
        &["stage"],
        &["selective"],
        &["mixed"],
        &[
            "mixed",
            "--grad-checkpoint-plan",
            "nothing,convs,last-conv,everything,convs,nothing,nothing,last-conv,convs",
        ],
    ];
    for (i, policy) in policies.iter().enumerate() {
        let dir = format!("policy-{i}");
        let peak = run(&dir, &[&["--grad-checkpoint"], *policy].concat());
        assert!(same_weights(&sandbox, "plain", &dir), "{policy:?}");
        // A lower peak proves that something was recomputed.
        assert!(peak < plain, "{policy:?}: {peak} bytes, plain {plain}");
    }
    // The plan is part of the written configuration, and is read back.
    let again = ["--config", "policy-5/config.toml", "--data", "data"];
    sandbox
        .train(
            &[
                &["fit", "--device", "cpu", "--run-dir", "again"],
                &again[..],
            ]
            .concat(),
        )
        .ok();
    assert!(same_weights(&sandbox, "plain", "again"));
    assert!(sandbox.read("policy-5/config.toml") == sandbox.read("again/config.toml"));
}

#[test]
fn a_warm_start_continues_from_the_weights() {
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--epochs", "2", "--run-dir", "first"]);
    // The steps are too small to change a weight, so the loaded weights are saved again.
    // Only BatchNorm's statistics change.
    let still = ["--epochs", "1", "--lr", "1e-30", "--run-dir", "second"];
    let run = sandbox.fit(&[&still[..], &["--resume", "first/last/weights.safetensors"]].concat());
    assert!(run.stderr.contains("warm start"), "{}", run.stderr);
    let [first, second] = ["first", "second"].map(|d| sandbox.read(&format!("{d}/{}", WEIGHTS[1])));
    let [first, second] =
        [&first, &second].map(|b| safetensors::SafeTensors::deserialize(b).unwrap());
    let mut compared = 0;
    for (name, tensor) in first.iter() {
        let equal = tensor.data() == second.tensor(name).unwrap().data();
        let statistics = name.contains("running_") || name.ends_with("num_batches_tracked");
        assert_eq!(equal, !statistics, "{name}");
        compared += 1;
    }
    assert_eq!(compared, first.len());
    println!("compared {compared} tensors");
}
