//! `train doctor`: every check passes, and every check under "works" can fail.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Run, Sandbox};

const DOCTOR: &[&str] = &["doctor", "--device", "cpu"];

/// A line of the text: status, name and detail.
type Line = (String, String, String);

fn lines(text: &str) -> Vec<Line> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("  "));
    let rows = rows.filter(|row| !row.trim_start().starts_with("hint:"));
    rows.map(|row| {
        let (status, rest) = row.split_once("  ").unwrap();
        let (name, detail) = rest.trim_start().split_once("  ").unwrap();
        [status, name, detail.trim_start()]
            .map(str::to_owned)
            .into()
    })
    .collect()
}

/// The text without everything that depends on the machine: its parts, figures, and hardware
/// features.
fn filtered(text: &str) -> String {
    let (found, works) = text.split_once("\nworks\n").unwrap();
    let (works, verdict) = works.split_once("\n\n").unwrap();
    let name_only = |(_, name, _): Line| format!("  {name}");
    let line = |(status, name, detail): Line| {
        if name.ends_with("bf16") || name == "memory-prediction" {
            format!("  {name}")
        } else if detail == "the device is the CPU" {
            format!("  {status} {name}: no GPU")
        } else {
            format!("  {status} {name}: {}", without_figures(&detail))
        }
    };
    let found = lines(found).into_iter().map(name_only);
    let works = lines(works).into_iter().map(line);
    let all = ["found".to_owned()].into_iter().chain(found);
    let all = all.chain(["works".to_owned()]).chain(works);
    let all = all.chain([without_figures(verdict)]);
    all.collect::<Vec<_>>().join("\n")
}

fn without_figures(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let figure = word.trim_end_matches([',', ';']);
        if figure.starts_with(|c: char| c.is_ascii_digit()) {
            word.replace(figure, "N")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn everything_that_can_be_checked_here_passes() {
    let sandbox = Sandbox::empty();
    let run = sandbox.train(DOCTOR).ok();
    // On a slow machine it reports its progress now and then.
    let mut progress = run.stderr.lines();
    assert!(
        progress.all(|line| line.starts_with("checking ")),
        "{run:?}"
    );
    let has_gpu = {
        torch_ext::init().unwrap();
        torch_ext::cuda::is_available()
    };
    let all = lines(&run.stdout);
    assert!(all.iter().all(|(status, ..)| status != "fail"));
    for name in ["gpu", "driver", "cudnn", "cuda-memory", "policy-block-fp16"] {
        let (status, _, detail) = all.iter().find(|line| line.1 == name).unwrap();
        assert!(
            has_gpu || (status == "skipped" && detail == "no GPU"),
            "{name}: {status} {detail}"
        );
    }
    assert!(sandbox.tree().is_empty(), "it left something");
    // The machine may have little free memory or disk, and other programs may use its cores.
    let text = (1..4).fold(run.stdout, |text, num| {
        text.replace(&format!(" ({num} with a warning)"), "")
    });
    insta::assert_snapshot!(filtered(&text));
}

fn report(sandbox: &Sandbox, broken: &[String]) -> (Run, Value) {
    let flags = broken.iter().flat_map(|name| ["--sabotage", name]);
    let args: Vec<&str> = DOCTOR
        .iter()
        .copied()
        .chain(["--json"])
        .chain(flags)
        .collect();
    let run = sandbox.train(&args);
    let report = serde_json::from_str(&run.stdout).unwrap();
    (run, report)
}

/// A check that cannot fail would prove nothing.
#[test]
fn only_checks_that_are_broken_on_purpose_fail() {
    let sandbox = Sandbox::empty();
    let names = names(&sandbox);
    assert!(names.len() > 40, "{names:?}");
    let mut seen = BTreeMap::new();
    for half in 0..2 {
        // Neighbours are in different halves, so that a check that breaks another is found. Failing
        // each allocation of a step takes long, so these checks are broken in both halves: the
        // first failure then ends them.
        let broken: Vec<String> = names
            .iter()
            .enumerate()
            .filter(|(i, name)| i % 2 == half || name.starts_with("out-of-memory"))
            .map(|(_, name)| name.clone())
            .collect();
        let (run, report) = report(&sandbox, &broken);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert_eq!(report["schema_version"], 1);
        assert_eq!(report["device"]["kind"], "cpu");
        assert_eq!(report["libtorch"]["version"], "2.11.0");
        for check in report["checks"].as_array().unwrap() {
            let [name, status, detail] =
                ["name", "status", "detail"].map(|key| check[key].as_str().unwrap());
            let expected = broken.iter().any(|b| b == name) && status != "skipped";
            assert_eq!(status == "fail", expected, "{name}: {status}, {detail}");
            assert!(!detail.is_empty());
            assert!(status != "fail" || check["hint"].is_string(), "{name}");
            if expected {
                seen.insert(name.to_owned(), detail.to_owned());
            }
        }
    }
    for (name, detail) in &seen {
        println!("{name}: {detail}");
    }
    let hardware = |name: &str| name.ends_with("16") || name == "memory-prediction";
    let built = |name: &&String| !hardware(name);
    let built = names
        .iter()
        .filter(built)
        .filter(|n| !n.starts_with("cuda-"));
    for name in built {
        assert!(seen.contains_key(name), "`{name}` was not seen to fail");
    }
}

/// The names that can be broken, from the error about an unknown one.
fn names(sandbox: &Sandbox) -> Vec<String> {
    let refused = |name| {
        let run = sandbox.train(&[DOCTOR, &["--sabotage", name]].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
        run.complaint().to_owned()
    };
    let complaint = refused("policy-nothing");
    let list = complaint
        .strip_prefix("error: there is no check `policy-nothing` to break\nhint: one of ")
        .unwrap();
    list.split(", ").map(str::to_owned).collect()
}
