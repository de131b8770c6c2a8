//! Our own CUDA kernels through the driver: by emulation, since nothing else computes on a stand-in.

use std::collections::BTreeSet;
use std::fs;

use standin::StandIn;

use super::super::Sandbox;
use super::{card, fit, with_memory};

/// Begins a run that is refused after the trial, since it is too large. Returns what it said, and the kernels of the
/// trial.
fn tried(machine: StandIn) -> Option<(String, Vec<String>)> {
    let sandbox = Sandbox::with_pages();
    let journal = sandbox.path("journal");
    let large = [
        "--width",
        "256",
        "--batch",
        "96",
        "--img-size",
        "512x512",
        "--strict",
    ];
    let run = fit(&machine.journal(&journal), &sandbox, &large)?;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let journal = fs::read_to_string(journal).unwrap();
    let launches = journal.lines().filter_map(|it| it.strip_prefix("launch "));
    let names = launches.filter_map(|it| Some(it.split(' ').next()?.to_owned()));
    Some((run.stderr.clone(), names.collect()))
}

/// On each card the image for its compute capability is loaded, and gives the CPU's results.
#[test]
fn each_card_passes_the_trial() {
    for capability in [
        (7, 5),
        (8, 0),
        (8, 6),
        (8, 9),
        (9, 0),
        (10, 0),
        (12, 0),
        (12, 1),
    ] {
        let machine = StandIn::with(card("NVIDIA", capability, 12));
        let Some((said, launches)) = tried(machine.with_values()) else {
            return;
        };
        assert!(!said.contains("kernels:"), "{capability:?}: {said}");
        let kernels: BTreeSet<_> = launches.into_iter().collect();
        // Six of each type, and two that are of none.
        assert_eq!(kernels.len(), 3 * 6 + 2, "{capability:?}: {kernels:?}");
    }
}

/// A card whose results differ is left to libtorch's operators, and the user is told.
#[test]
fn a_card_that_fails_the_trial_gets_libtorchs_operators() {
    let Some((said, launches)) = tried(with_memory(12).with_wrong_values()) else {
        return;
    };
    let line = "kernels: our own failed their trial on this device (in fp32, batch norm in evaluation differs";
    assert!(said.contains(line), "{said}");
    assert!(said.contains("`--exact-kernels on`"), "{said}");
    assert!(
        launches.iter().all(|it| !it.ends_with("_bf16")),
        "{launches:?}"
    );
}

/// Every launch of a step is on one stream and inside of live memory, and it has no more of them than its passes.
#[test]
fn a_step_launches_a_kernel_for_each_pass() {
    let sandbox = Sandbox::with_pages();
    for amp in ["off", "fp16", "bf16"] {
        let [one, two] = ["1", "2"].map(|steps| {
            let journal = sandbox.path("journal");
            let machine = with_memory(12).journal(&journal);
            let flags = ["--amp", amp, "--width", "8", "--max-steps", steps];
            fit(&machine, &sandbox, &flags)?.ok();
            let text = fs::read_to_string(&journal).unwrap();
            assert!(!text.contains("beyond"), "{text}");
            let launches = || text.lines().filter(|it| it.starts_with("launch "));
            let streams = launches().filter_map(|it| it.rsplit(' ').next());
            assert_eq!(streams.collect::<BTreeSet<_>>().len(), 1, "{amp}");
            fs::remove_file(&journal).unwrap();
            fs::remove_dir_all(sandbox.path("run")).unwrap();
            Some(launches().count())
        });
        let Some((one, two)) = one.zip(two) else {
            return;
        };
        // Forward: two for the statistics of each of 18 batch norms, one for each activation but those of the 4 that are
        // pooled and concatenated, two for those. Backward: three for each batch norm, one for each pooling.
        assert_eq!(two - one, 2 * 18 + 14 + 2 * 4 + 3 * 18 + 4, "{amp}");
    }
}
