//! `train memory`: its picture, table and figures, and the flags that it refuses.

use super::Sandbox;

const TINY: &[&str] = &[
    "memory",
    "--width",
    "4",
    "--img-size",
    "64x64",
    "--batch",
    "2",
    "--amp",
    "off",
];

#[test]
fn a_step_is_drawn_and_compared_with_the_policies() {
    let sandbox = Sandbox::empty();
    let args = [TINY, &["--policy", "selective", "--out", "step.svg"]].concat();
    let run = sandbox.train(&args).ok();
    let picture = String::from_utf8(sandbox.read("step.svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    for said in [
        "policy selective",
        "forward",
        "backward",
        "peak of this step under each policy",
        "held at the peak",
        "parameters",
        "gradients",
        "optimizer",
        "activations",
        "transients",
    ] {
        assert!(picture.contains(said), "`{said}` is not in the picture");
    }
    for policy in [
        "off",
        "block",
        "stage",
        "selective",
        "mixed",
        "mixed + split",
    ] {
        let line = run
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with(policy));
        assert!(line.is_some(), "{policy}: {}", run.stdout);
    }
    assert!(
        run.stdout
            .contains("the peak of `selective` is in backward, at: ")
    );
    let held = picture.matches("held by").count();
    let japanese = [&args[..], &["--only", "--lang", "ja"]].concat();
    sandbox.train(&japanese).ok();
    let picture = String::from_utf8(sandbox.read("step.svg")).unwrap();
    // Sizes come before what made the tensors, not within it.
    assert_eq!(picture.matches("B: ステージ").count(), held, "{picture}");
}

#[test]
fn figures_agree_with_each_other() {
    let sandbox = Sandbox::empty();
    let figures = |policy: &str| {
        let args = [TINY, &["--policy", policy, "--json", "--only"]].concat();
        let run = sandbox.train(&args).ok();
        serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap()
    };
    let peaks = ["off", "selective", "mixed"].map(|policy| {
        let figures = figures(policy);
        assert_eq!(figures["policy"], policy);
        assert_eq!(figures["policies"].as_array().unwrap().len(), 1);
        let peak = figures["peak_bytes"].as_u64().unwrap();
        let parts = figures["breakdown"].as_object().unwrap();
        let sum: u64 = parts.values().map(|v| v.as_u64().unwrap()).sum();
        assert_eq!(sum, peak);
        // Two moments of AdamW and 82 step counts.
        let parameters = parts["parameters_bytes"].as_u64().unwrap();
        let optimizer = parts["optimizer_bytes"].as_u64().unwrap();
        assert!(optimizer > 19 * parameters / 10 && optimizer < 2 * parameters);
        peak
    });
    assert!(peaks[0] > peaks[1] && peaks[1] > peaks[2], "{peaks:?}");
    assert!(sandbox.path("timeline.svg").exists());
}

#[test]
fn wrong_places_and_policies_are_refused_before_anything_is_measured() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    let refused = |flags: &[&str]| {
        let run = sandbox.train(&[TINY, flags].concat());
        assert_eq!(run.code, Some(2), "{flags:?}: {run:?}");
        run.complaint().to_owned()
    };
    insta::assert_snapshot!(refused(&["--out", "nowhere/step.svg"]), @r"
    error: there is no folder `nowhere`
    hint: make it, or choose another place with `--out`
    ");
    insta::assert_snapshot!(refused(&["--out", "folder"]), @r"
    error: `folder` is a folder
    hint: `--out` takes a file, such as `timeline.svg`
    ");
    insta::assert_snapshot!(refused(&["--policy", "selectiv"]), @r"
    error: invalid value 'selectiv' for '--policy <POLICY>': checkpoint policy must be `off`, `selective`, `block`, `stage`, `mixed` or nine letters such as `NNNNNNLNC` (E everything, C convs, L last-conv, N nothing), found `selectiv`
    hint: `--help` lists the flags
    ");
    insta::assert_snapshot!(refused(&["--policy", "auto"]), @r"
    error: the checkpoint policy `auto` is chosen by `train fit`, for the memory that is free
    hint: name one here: `selective` halves the activations for almost no time, `mixed` takes the least memory
    ");
}
