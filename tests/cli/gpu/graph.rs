//! Steps as CUDA graphs: what is recorded, when, and what happens if it cannot be.

use std::fs;

use standin::StandIn;

use super::super::{Run, Sandbox};
use super::{GIB, fit, with_memory};

/// A run with `--cuda-graph on` and more flags, and its journal; `None` where there is no stand-in.
fn recorded(machine: StandIn, sandbox: &Sandbox, more: &[&str]) -> Option<(Run, Vec<String>)> {
    drop(fs::remove_dir_all(sandbox.path("run")));
    with_graphs("on", machine, sandbox, more)
}

fn with_graphs(
    choice: &str,
    machine: StandIn,
    sandbox: &Sandbox,
    more: &[&str],
) -> Option<(Run, Vec<String>)> {
    let journal = sandbox.path("journal");
    drop(fs::remove_file(&journal));
    let flags = [&["--cuda-graph", choice][..], more].concat();
    let run = fit(&machine.journal(&journal), sandbox, &flags)?;
    let journal = fs::read_to_string(journal).unwrap();
    Some((run, journal.lines().map(str::to_owned).collect()))
}

fn count(journal: &[String], start: &str) -> usize {
    journal.iter().filter(|it| it.starts_with(start)).count()
}

/// The launches of each graph, in their order. While there is one there is no other one.
fn lives(journal: &[String]) -> Vec<usize> {
    let mut lives = Vec::new();
    let mut alive = None;
    for line in journal {
        let mut words = line.split([',', ' ']);
        let what = words.next();
        match (what, words.next(), alive) {
            (Some("graph"), Some("of"), None) => alive = Some(0),
            (Some("graph"), Some("launched"), Some(launches)) => alive = Some(launches + 1),
            (Some("graph"), Some("dropped"), Some(launches)) => {
                lives.push(launches);
                alive = None;
            }
            (Some("graph"), ..) => panic!("{line}: {lives:?} {alive:?}"),
            _ => (),
        }
    }
    assert_eq!(alive, None, "{lives:?}");
    lives
}

/// The kernels of each graph, in their order.
fn sizes(journal: &[String]) -> Vec<u32> {
    let sizes = journal.iter().filter_map(|it| it.strip_prefix("graph of "));
    sizes.map(|it| it.parse().unwrap()).collect()
}

/// All but the first three steps are launches of a graph, in which the host waits for nothing. Each
/// epoch has its own, as its learning rate is another one.
#[test]
fn steps_are_one_launch() {
    let sandbox = Sandbox::with_pages();
    for policy in ["off", "selective", "block", "stage", "mixed"] {
        for more in [
            ["--amp", "fp16"],
            ["--amp", "bf16"],
            ["--channels-last", "off"],
        ] {
            let flags = [&["--grad-checkpoint", policy, "--epochs", "4"][..], &more].concat();
            let Some((run, journal)) = recorded(with_memory(12), &sandbox, &flags) else {
                return;
            };
            let said = run.ok().stderr;
            assert!(said.contains("CUDA graph: on"), "{said}");
            let steps = sandbox.json("run/summary.json")["steps"].as_u64().unwrap();
            assert_eq!(
                count(&journal, "graph launched") as u64,
                steps - 3,
                "{policy} {more:?}"
            );
            // The third step is the first one of the second epoch.
            assert_eq!(count(&journal, "graph of"), 3, "{policy} {more:?}");
            assert_eq!(count(&journal, "graph dropped"), 3, "{policy} {more:?}");
            assert_eq!(count(&journal, "graph spoilt"), 0, "{policy} {more:?}");
            let sizes = journal.iter().filter(|it| it.starts_with("graph of"));
            let sizes: std::collections::BTreeSet<_> = sizes.collect();
            assert_eq!(sizes.len(), 1, "{sizes:?}");
        }
    }
}

/// A smaller batch at the end of an epoch has kernels of its own, and the memory of the graph before. If more of it is
/// refused, the batch is tried again, and three whole ones come before the next graph.
#[test]
fn a_smaller_batch_is_launched_kernel_by_kernel() {
    let sandbox = Sandbox::with_pages();
    let flags = ["--batch", "3", "--epochs", "4"];
    let Some((run, journal)) = recorded(with_memory(12), &sandbox, &flags) else {
        return;
    };
    run.ok();
    assert_eq!(sandbox.json("run/summary.json")["steps"], 12);
    // Of the first epoch none, of the second one the second step, of the others two.
    assert_eq!(lives(&journal), [1, 2, 2]);
    let dropped = journal.iter().position(|it| it == "graph dropped").unwrap();
    assert!(journal[dropped + 1].starts_with("free"), "{journal:?}");

    // The allocator tries once more without its cache.
    let next = count(&journal[..dropped], "allocate") as u64 + 1;
    let machine = with_memory(12).refuse_allocations(next, 2);
    let (run, journal) = recorded(machine, &sandbox, &flags).unwrap();
    run.ok();
    let summary = sandbox.json("run/summary.json");
    assert_eq!(summary["steps"], 12);
    let rungs = summary["fallbacks"].as_array().unwrap();
    assert_eq!(rungs.len(), 1, "{rungs:?}");
    assert_eq!(
        [&rungs[0]["failure"], &rungs[0]["to"]],
        ["out of memory", "step retried"]
    );
    // Step 5, and after 7, 8 and 10 step 11.
    assert_eq!(lives(&journal), [1, 1]);
}

/// `auto` records if the host is what a step takes, and says so once.
#[test]
fn a_device_that_waits_for_the_host_gets_graphs() {
    let sandbox = Sandbox::with_pages();
    for (machine, is_on, said) in [
        (with_memory(12), true, "CUDA graph: on: launches take "),
        (
            with_memory(12).slow(200),
            false,
            "CUDA graph: off: launches take ",
        ),
    ] {
        drop(fs::remove_dir_all(sandbox.path("run")));
        let flags = ["--epochs", "4"];
        let Some((run, journal)) = with_graphs("auto", machine, &sandbox, &flags) else {
            return;
        };
        let text = run.ok().stderr;
        assert_eq!(text.matches(said).count(), 1, "{text}");
        assert_eq!(count(&journal, "graph launched") > 0, is_on);
        // The choice stays the user's, for a run that is continued elsewhere.
        let config = fs::read_to_string(sandbox.path("run/config.toml")).unwrap();
        assert!(config.contains("cuda_graph = \"auto\""), "{config}");
    }
}

/// Several batches in a step, a run that goes on in the middle of an epoch, and memory as without graphs.
#[test]
fn graphs_change_nothing_else() {
    let sandbox = Sandbox::with_pages();
    let flags = [
        "--batch",
        "1",
        "--accumulation",
        "2",
        "--epochs",
        "3",
        "--width",
        "32",
        "--img-size",
        "128x128",
    ];
    let peak = |choice: &str, more: &[&str]| {
        let flags = [&flags[..], more].concat();
        let (run, journal) = with_graphs(choice, with_memory(12), &sandbox, &flags)?;
        run.ok();
        let summary = sandbox.json("run/summary.json");
        let bytes = summary["memory"]["peak_reserved_bytes"].as_u64().unwrap();
        Some((bytes as f64, summary["steps"].clone(), lives(&journal)))
    };
    let Some((eager, ..)) = peak("off", &[]) else {
        return;
    };
    drop(fs::remove_dir_all(sandbox.path("run")));
    // Four steps an epoch, of which the first three are eager.
    let (recorded, steps, launched) = peak("on", &[]).unwrap();
    assert_eq!((steps, launched), (12.into(), vec![1, 4, 4]));
    // The pool of a graph has segments of its own, of 2 and of 20 MiB.
    assert!(
        recorded <= eager + f64::from(22 << 20),
        "{recorded} {eager}"
    );
    drop(fs::remove_dir_all(sandbox.path("run")));
    let (_, steps, launched) = peak("on", &["--max-steps", "6"]).unwrap();
    assert_eq!((steps, launched), (6.into(), vec![1, 2]));
    // Steps 7 to 9 are eager.
    let (_, steps, launched) = peak("on", &["--resume", "auto", "--max-steps", "12"]).unwrap();
    assert_eq!((steps, launched), (12.into(), vec![3]));
}

/// Nothing is recorded that was not asked for.
#[test]
fn by_default_kernels_are_launched_one_by_one() {
    let sandbox = Sandbox::with_pages();
    let journal = sandbox.path("journal");
    let machine = with_memory(12).journal(&journal);
    let Some(run) = fit(&machine, &sandbox, &["--max-steps", "6"]) else {
        return;
    };
    let said = run.ok().stderr;
    assert!(!said.contains("CUDA graph"), "{said}");
    let text = fs::read_to_string(&journal).unwrap();
    assert!(!text.contains("graph"), "{text}");
}

/// A device that records nothing, and memory that runs out meanwhile: the step is undone and launched.
#[test]
fn a_graph_that_fails_is_left() {
    let sandbox = Sandbox::with_pages();
    let more = ["--max-steps", "8"];
    let Some((run, journal)) = recorded(with_memory(12), &sandbox, &more) else {
        return;
    };
    run.ok();
    let graph = journal.iter().position(|it| it.starts_with("graph of"));
    // The last allocation before is one of those within.
    let within = count(&journal[..graph.unwrap()], "allocate") as u64;
    for (machine, failure) in [
        (
            with_memory(12).without_graphs(),
            "a step cannot be recorded as a CUDA graph",
        ),
        (
            with_memory(12).refuse_allocations(within, 1),
            "out of memory",
        ),
    ] {
        let (run, journal) = recorded(machine, &sandbox, &more).unwrap();
        run.ok();
        let fallbacks = &sandbox.json("run/summary.json")["fallbacks"];
        assert_eq!(fallbacks.as_array().unwrap().len(), 1, "{fallbacks}");
        assert_eq!(fallbacks[0]["failure"], failure);
        assert_eq!(fallbacks[0]["to"], "CUDA graph off");
        assert_eq!(count(&journal, "graph launched"), 0);
        assert_eq!(sandbox.json("run/summary.json")["steps"], 8);
    }
}

/// Four steps an epoch, four epochs. Replays are steps 4, 5 to 8, 9 to 12 and 13 to 16.
const SIXTEEN_STEPS: [&str; 4] = ["--batch", "2", "--epochs", "4"];

/// Other programs take memory after a recorded step: the first time the next step is retried, the second time its recipe
/// changes. Either drops the graph, and the next one is what a run with the new recipe records.
#[test]
fn a_graph_goes_with_its_recipe() {
    let sandbox = Sandbox::with_pages();
    let large = [
        "--img-size",
        "256x256",
        "--epochs",
        "4",
        "--grad-checkpoint",
    ];
    let least = [
        &large[..],
        &["stage", "--amp", "bf16", "--split-concat", "on"],
    ]
    .concat();
    // The guard leaves room for this many MiB: more than the weights take, and fewer than a step does.
    for (room, flags, to, anew) in [
        (
            43,
            [&large[..], &["off", "--batch", "2"]].concat(),
            "checkpointing selective",
            [&large[..], &["selective", "--batch", "2"]].concat(),
        ),
        (
            3,
            [&least[..], &["--batch", "2"]].concat(),
            "images at a time 1",
            [&least[..], &["--batch", "1", "--accumulation", "2"]].concat(),
        ),
    ] {
        let flags = [&flags[..], &["--guard-every", "1"]].concat();
        let crowd = 12 * GIB / 100 * 95 - ((300 + room) << 20);
        let machine = with_memory(12).after_replays(2, 2).crowd(crowd);
        let Some((run, journal)) = recorded(machine, &sandbox, &flags) else {
            return;
        };
        run.ok();
        let summary = sandbox.json("run/summary.json");
        assert_eq!(summary["steps"], 16);
        let rungs = summary["fallbacks"].as_array().unwrap();
        let steps: Vec<_> = rungs
            .iter()
            .map(|it| it["step"].as_u64().unwrap())
            .collect();
        assert_eq!(steps, [5, 9], "{rungs:?}");
        assert_eq!(rungs[0]["to"], "step retried");
        assert_eq!(rungs[1]["to"], to, "{rungs:?}");
        // Steps 4, 5, 9 and 13 to 16: three eager ones come after each rung.
        assert_eq!(lives(&journal), [1, 1, 1, 4]);
        let [first, second, third, last] = sizes(&journal)[..] else {
            panic!("{journal:?}");
        };
        assert_eq!([first, second], [third; 2]);
        assert!(last > third, "{to}: {third} {last}");
        let (_, journal) = recorded(with_memory(12), &sandbox, &anew).unwrap();
        // Two batches keep their losses apart, in one kernel more than two parts of a batch.
        assert!(last.abs_diff(sizes(&journal)[0]) <= 1, "{to}: {last}");
    }
}

/// What the host reads after a recorded step: numbers of step 11.
#[test]
fn a_recorded_step_is_undone_by_what_is_read_after_it() {
    let sandbox = Sandbox::with_pages();
    for (amp, number, pair, failure) in [
        ("fp16", f32::NAN, 1, "the loss is not finite"),
        ("fp16", 5.0, 0, "gradients overflow step after step"),
        ("bf16", 5.0, 0, "gradients are not finite, step after step"),
    ] {
        let flags = [&SIXTEEN_STEPS[..], &["--amp", amp]].concat();
        let machine = with_memory(12).after_replays(8, 1).reads(number, pair);
        let Some((run, journal)) = recorded(machine, &sandbox, &flags) else {
            return;
        };
        run.ok();
        let summary = sandbox.json("run/summary.json");
        let rungs = summary["fallbacks"].as_array().unwrap();
        assert_eq!(rungs.len(), 1, "{rungs:?}");
        assert_eq!(rungs[0]["step"], 10);
        let said = rungs[0]["failure"].as_str().unwrap();
        assert!(said.starts_with(failure), "{said}");
        assert_eq!(summary["steps"], 16);
        // Step 11 is taken again, and is the first of three eager ones.
        assert_eq!(lives(&journal), [1, 4, 3, 3], "{amp} {said}");
        let sizes = sizes(&journal);
        assert_eq!(sizes[0], sizes[2]);
        assert_ne!(sizes[2], sizes[3]);
    }
}

/// Without a rung for it the run ends, with a state from before the step if the device has skipped the update.
#[test]
fn an_update_that_the_device_has_not_skipped_cannot_be_undone() {
    let sandbox = Sandbox::with_pages();
    for (skipped, kept) in [(1, 10), (0, 8)] {
        let machine = with_memory(12).after_replays(8, 1).reads(f32::NAN, skipped);
        let Some((run, journal)) = recorded(machine, &sandbox, &SIXTEEN_STEPS) else {
            return;
        };
        assert_eq!(run.code, Some(1), "{run:?}");
        let words = "error: the loss is not finite after step 10";
        assert!(run.complaint().starts_with(words), "{run:?}");
        let summary = sandbox.json("run/summary.json");
        assert_eq!(summary["fallbacks"], serde_json::json!([]));
        assert_eq!(lives(&journal), [1, 4, 3]);
        let snapshot = sandbox.read("run/last/snapshot.safetensors");
        let steps = format!(r"\nsteps = {kept}\n");
        assert!(
            String::from_utf8_lossy(&snapshot).contains(&steps),
            "{skipped}"
        );
    }
}

/// Pixels of two of eight images are ignored. Their steps are launched kernel by kernel, in the memory of the graph, and
/// those after them as a graph again.
#[test]
fn ignored_pixels_are_launched_kernel_by_kernel() {
    let sandbox = Sandbox::with_pages();
    for nth in 0..2 {
        let path = sandbox.path(&format!("data/train/masks/page-0000{nth}_mask.png"));
        let mut mask = image::open(&path).unwrap().into_luma8();
        for pixel in mask.pixels_mut().step_by(2) {
            *pixel = image::Luma([9]);
        }
        mask.save(path).unwrap();
    }
    let flags = ["--ignore", "9", "--batch", "1", "--epochs", "4"];
    let Some((run, journal)) = recorded(with_memory(12), &sandbox, &flags) else {
        return;
    };
    run.ok();
    assert_eq!(sandbox.json("run/summary.json")["steps"], 32);
    let lives = lives(&journal);
    // Six steps an epoch have none, of which three are eager.
    assert_eq!(lives.iter().sum::<usize>(), 4 * 6 - 3);
    assert!(lives.len() > 4, "in mid-epoch: {lives:?}");
    let sizes: std::collections::BTreeSet<_> = sizes(&journal).into_iter().collect();
    assert_eq!(sizes.len(), 1, "{sizes:?}");
}
