//! Invariants about files: which code belongs in which file, and which text belongs nowhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::run;
use crate::workspace::Checkout;

use super::rust_code;

const UNSAFE_CRATE: &str = "crates/torch-ext/";
/// In no program: it runs our CUDA kernels on a CPU.
const UNSAFE_IN_TESTS: &str = "crates/standin/src/emulated.rs";
const CPP_FOLDERS: [&str; 5] = [
    "crates/torch-ext/shim/",
    "crates/kernels/cuda/",
    "crates/standin/emulated/",
    "crates/standin/runtime/",
    "xtask/before-setup/",
];
const CPP_EXTENSIONS: [&str; 8] = ["c", "cc", "cpp", "cxx", "h", "hpp", "cu", "cuh"];
/// Crates with features, of which one file is about features.
const COMPOSING_CRATES: [&str; 2] = ["crates/engine/", "crates/train/"];

/// Folders of the author's machine. The names are assembled here, because this file is
/// checked like any other.
const MACHINE_PATHS: [&str; 2] = [concat!("/", "work/"), concat!("/", "root/")];

/// Only cargo and pip need to know package registries.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("download.", "pytorch.org"),
    concat!("conda.", "anaconda.org"),
    concat!("pypi.", "nvidia.com"),
];

/// Lock files: cargo writes them and names its registry in them.
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// All violations, one line each.
pub(super) fn check(workspace: &Checkout, files: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut composing = Vec::new();
    for path in files {
        violations.extend(check_place(path));
        let Ok(bytes) = fs::read(workspace.root().join(path)) else {
            continue;
        };
        // A binary file, such as an image or weights.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        violations.extend(check_text(path, &text));
        let composes = COMPOSING_CRATES.iter().any(|it| path.starts_with(it));
        if composes && is_rust(path) && mentions_features(&text) {
            composing.push(path.as_str());
        }
    }
    if composing.len() != 1 {
        let found = if composing.is_empty() {
            "none".to_owned()
        } else {
            composing.join(", ")
        };
        violations.push(format!(
            "`cfg(feature = ...)` belongs in one file of `{}`, but was found in: {found}",
            COMPOSING_CRATES.join("` and `")
        ));
    }
    violations
}

/// Files that git tracks or would track, relative to the root.
pub(super) fn files(workspace: &Checkout) -> Result<Vec<String>, Error> {
    let mut git = Command::new("git");
    git.current_dir(workspace.root());
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    match run::stdout_of(&mut git) {
        Ok(said) if !said.is_empty() => {
            let mut files: Vec<String> = said
                .split('\0')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect();
            files.sort();
            files.dedup();
            Ok(files)
        }
        // Without git, as in an unpacked archive: skip folders that a checkout would not have.
        _ => walk(workspace.root(), ""),
    }
}

fn walk(root: &Path, below: &str) -> Result<Vec<String>, Error> {
    let dir = root.join(below);
    let entries = fs::read_dir(&dir).map_err(|source| Error::Unreadable {
        path: dir.clone(),
        source,
    })?;
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ignored = [
            ".git",
            ".libtorch",
            ".pytorch",
            ".gpu",
            "target",
            "runs",
            "models",
        ];
        if below.is_empty() && ignored.contains(&name.as_str()) {
            continue;
        }
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(root, &path)?),
            Ok(_) => files.push(path),
            Err(_) => {}
        }
    }
    files.sort();
    Ok(files)
}

fn is_rust(path: &str) -> bool {
    extension(path) == Some("rs")
}

fn extension(path: &str) -> Option<&str> {
    Path::new(path).extension()?.to_str()
}

fn check_place(path: &str) -> Option<String> {
    let is_cpp = extension(path).is_some_and(|it| CPP_EXTENSIONS.contains(&it));
    let allowed = CPP_FOLDERS.iter().any(|folder| path.starts_with(folder));
    (is_cpp && !allowed).then(|| format!("`{path}`: C++ belongs in `{}` only", CPP_FOLDERS[0]))
}

fn check_text(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = index + 1;
        for machine in MACHINE_PATHS.into_iter().filter(|it| names_path(line, it)) {
            violations.push(format!("{path}:{at}: `{machine}` is a path of one machine"));
        }
        for host in REGISTRY_HOSTS
            .into_iter()
            .filter(|it| !LOCK_FILES.contains(&path) && line.contains(it))
        {
            violations.push(format!("{path}:{at}: `{host}` is a package registry"));
        }
    }
    let may_be_unsafe = path.starts_with(UNSAFE_CRATE) || path == UNSAFE_IN_TESTS;
    if is_rust(path) && !may_be_unsafe {
        let code = rust_code::only(text);
        for (index, line) in code.lines().enumerate() {
            let words = rust_code::words(line);
            let opts_in = words.contains(&"unsafe_code")
                && ["expect", "allow", "warn"]
                    .iter()
                    .any(|it| words.contains(it));
            if words.contains(&"unsafe") || opts_in {
                let at = index + 1;
                violations.push(format!(
                    "{path}:{at}: unsafe code belongs in `{UNSAFE_CRATE}` only"
                ));
            }
        }
    }
    violations
}

/// Whether `line` names a path that starts with `machine`, not one that contains it further on.
fn names_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|it| !(it.is_alphanumeric() || "_-./}~".contains(it)))
    })
}

fn mentions_features(text: &str) -> bool {
    rust_code::only(text).lines().any(|line| {
        let words = rust_code::words(line);
        ["cfg", "cfg_attr"].iter().any(|it| words.contains(it)) && words.contains(&"feature")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpp_outside_its_folders_is_found() {
        assert!(check_place("crates/torch-ext/shim/autocast.cpp").is_none());
        assert!(check_place("xtask/before-setup/torch/torch.h").is_none());
        assert!(check_place("crates/amp/scaler.cpp").is_some());
        assert!(check_place("crates/amp/src/scaler.rs").is_none());
    }

    #[test]
    fn unsafe_code_is_found_as_code() {
        let check = |text: &str| check_text("crates/amp/src/lib.rs", text).len();
        assert_eq!(check("fn f() { unsafe { g() } }"), 1);
        assert_eq!(check("#![expect(unsafe_code, reason = \"none\")]"), 1);
        assert_eq!(
            check("// unsafe\n/* unsafe */ const S: &str = \"unsafe\";"),
            0
        );
        assert_eq!(check("#![deny(unsafe_code)]\nfn unsafe_looking() {}"), 0);
        assert!(check_text("crates/torch-ext/src/ffi.rs", "unsafe {}").is_empty());
    }

    #[test]
    fn machine_paths_and_registries() {
        let [machine, _] = MACHINE_PATHS;
        assert_eq!(
            check_text("README.md", &format!("see `{machine}main`")).len(),
            1
        );
        assert_eq!(
            check_text("README.md", &format!("see /home/me{machine}main")).len(),
            0
        );
        let host = REGISTRY_HOSTS[0];
        assert_eq!(
            check_text("README.md", &format!("from https://{host}/x")).len(),
            1
        );
        assert_eq!(
            check_text("Cargo.toml", &format!("from https://{host}/x")).len(),
            1
        );
        for file in LOCK_FILES {
            assert!(check_text(file, &format!("from https://{host}/x")).is_empty());
        }
    }

    #[test]
    fn features_are_seen_in_every_spelling() {
        assert!(mentions_features("#[cfg(feature = \"amp\")]"));
        assert!(mentions_features("#[cfg(not(feature = \"amp\"))]"));
        assert!(mentions_features(
            "if cfg!(all(feature = \"amp\", test)) {}"
        ));
        assert!(!mentions_features(
            "#[cfg(test)]\n// cfg(feature = \"amp\")\nlet feature = 1;"
        ));
    }
}
