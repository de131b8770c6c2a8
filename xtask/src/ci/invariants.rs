//! Architecture invariants about dependencies, as `cargo tree` sees them.
//! `docs/architecture.md` states them; `sources` checks invariants about files.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::run;
use crate::workspace::Checkout;

/// A rule: the dependency tree of a package must not contain the named packages.
struct Rule {
    package: &'static str,
    features: &'static str,
    never: &'static [&'static str],
}

const fn rule(package: &'static str, never: &'static [&'static str]) -> Rule {
    Rule {
        package,
        features: "",
        never,
    }
}

const LIBTORCH: &[&str] = &["tch", "torch-sys", "torch-ext"];

const RULES: &[Rule] = &[
    // The techniques do not depend on each other, nor on the crate that composes them.
    rule(
        "amp",
        &["checkpoint", "layout", "executor", "engine", "train"],
    ),
    rule("checkpoint", &["amp", "layout", "engine", "train"]),
    rule(
        "layout",
        &["amp", "checkpoint", "executor", "engine", "train"],
    ),
    rule(
        "executor",
        &["amp", "checkpoint", "layout", "engine", "train"],
    ),
    rule(
        "torch-ext",
        &["amp", "checkpoint", "layout", "executor", "engine", "train"],
    ),
    // Planning and set-up work on a machine without libtorch.
    rule("config", LIBTORCH),
    rule("convert", LIBTORCH),
    rule("data", LIBTORCH),
    rule("machine", LIBTORCH),
    rule("schedule", LIBTORCH),
    rule("estimator", LIBTORCH),
    rule("figures", LIBTORCH),
    rule("locale", LIBTORCH),
    rule("kernels", LIBTORCH),
    rule("ranks", LIBTORCH),
    rule("report", LIBTORCH),
    rule("advisor", LIBTORCH),
    Rule {
        package: "snug-python",
        features: "module",
        never: LIBTORCH,
    },
    // The workspace builds and passes its tests without Python.
    rule("snug-python", &["pyo3", "engine", "train"]),
    rule("dashboard", LIBTORCH),
    // Facts come first, then what a run costs, then what to run: nobody needs a recommendation to
    // know a machine.
    rule("config", &["machine", "estimator", "advisor", "bench"]),
    rule(
        "convert",
        &["machine", "estimator", "advisor", "engine", "train"],
    ),
    rule(
        "machine",
        &["estimator", "advisor", "bench", "engine", "train"],
    ),
    rule("schedule", &["machine", "estimator", "advisor"]),
    rule("estimator", &["advisor", "bench", "engine", "train"]),
    rule("advisor", &["engine", "train"]),
    rule("bench", &["advisor", "engine", "train"]),
    // The dashboard shows what it is told, and asks nobody.
    rule(
        "dashboard",
        &["data", "machine", "estimator", "advisor", "bench"],
    ),
    // The advisor reads what a benchmark measured, and not the other way round.
    rule("bench", &["advisor", "train"]),
    // A page shows what a run wrote, and predicts and measures nothing.
    rule(
        "report",
        &[
            "machine",
            "estimator",
            "advisor",
            "bench",
            "engine",
            "train",
        ],
    ),
    // The launcher finds libtorch before any program links it.
    rule("launcher", LIBTORCH),
    rule("bench", LIBTORCH),
    rule("xtask", LIBTORCH),
    // The stand-in GPU is for tests of the programs.
    rule("engine", &["standin"]),
    rule("advisor", &["standin"]),
    rule("launcher", &["standin"]),
    rule("xtask", &["standin"]),
    // The engine knows nothing of the program around it.
    rule("engine", &["train", "amp", "checkpoint", "layout"]),
    // A technique that is off is not compiled.
    rule("train", &["amp", "checkpoint", "layout"]),
    Rule {
        package: "train",
        features: "amp,layout",
        never: &["checkpoint"],
    },
    Rule {
        package: "train",
        features: "amp,checkpoint",
        never: &["layout"],
    },
    Rule {
        package: "train",
        features: "checkpoint,layout",
        never: &["amp"],
    },
];

/// Rules for what is in a program, without its tests.
const PROGRAM_RULES: &[Rule] = &[rule("train", &["standin"])];

/// All violations, one line each.
pub(super) fn check(workspace: &Checkout) -> Result<Vec<String>, Error> {
    let mut violations = Vec::new();
    // Including tests and build scripts, which link as well.
    let all = RULES.iter().map(|rule| (rule, "all"));
    let programs = PROGRAM_RULES.iter().map(|rule| (rule, "normal,build"));
    for (rule, edges) in all.chain(programs) {
        let tree = tree(workspace, rule, edges)?;
        violations.extend(broken(rule, &parse_tree(&tree)));
    }
    Ok(violations)
}

fn tree(workspace: &Checkout, rule: &Rule, edges: &str) -> Result<String, Error> {
    let mut cargo = run::cargo(workspace);
    cargo
        .current_dir(workspace.root())
        .args(["tree", "--package", rule.package]);
    cargo.args(["--features", rule.features]);
    // On every platform.
    cargo.args(["--target", "all", "--edges", edges]);
    cargo.args(["--prefix", "none", "--format", "{p}"]);
    run::stdout_of(&mut cargo)
}

fn broken(rule: &Rule, tree: &BTreeSet<&str>) -> Vec<String> {
    let Rule {
        package,
        features,
        never,
    } = rule;
    let with = if features.is_empty() {
        String::new()
    } else {
        format!(" with `{features}`")
    };
    // A tree without its own root was not parsed correctly.
    if !tree.contains(package) {
        return vec![format!("cargo tree does not list `{package}`")];
    }
    let found = never.iter().filter(|it| tree.contains(*it));
    found
        .map(|it| format!("`{package}`{with} depends on `{it}`"))
        .collect()
}

/// Names of the packages in the output of `cargo tree --prefix none --format {p}`:
/// lines such as `amp v0.1.0 (/path/to/amp) (*)`.
fn parse_tree(said: &str) -> BTreeSet<&str> {
    said.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let version = words.next()?;
            version.starts_with('v').then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "amp v0.1.0 (/snug/crates/amp)\nserde v1.0.228\n\
                        serde_derive v1.0.228 (proc-macro)\ntch v0.24.0\ntorch-ext v0.1.0 (/x) (*)\n\
                        [dev-dependencies]\nlayout v0.1.0 (/snug/crates/layout)\n\n";

    #[test]
    fn names_of_a_tree() {
        let names: Vec<&str> = parse_tree(TREE).into_iter().collect();
        assert_eq!(
            names,
            ["amp", "layout", "serde", "serde_derive", "tch", "torch-ext"]
        );
    }

    #[test]
    fn a_broken_rule_is_named() {
        let tree = parse_tree(TREE);
        assert_eq!(
            broken(&rule("amp", &["checkpoint", "layout", "train"]), &tree),
            ["`amp` depends on `layout`"]
        );
        assert!(broken(&rule("amp", &["checkpoint"]), &tree).is_empty());
        let with = Rule {
            package: "amp",
            features: "x",
            never: &["tch"],
        };
        assert_eq!(broken(&with, &tree), ["`amp` with `x` depends on `tch`"]);
        assert_eq!(broken(&rule("train", &[]), &tree).len(), 1);
    }
}
