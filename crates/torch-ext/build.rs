//! Compiles the shim against the libtorch that `torch-sys` links.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

const EXPECTED: [u32; 3] = [2, 11, 0];

fn main() {
    println!("cargo:rerun-if-changed=shim");
    println!("cargo:rerun-if-changed=build.rs");
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        fail("`torch-sys` did not report where libtorch is; run `cargo xtask setup` first");
    };
    println!("cargo:rerun-if-env-changed=SNUG_RPATH");
    // This rpath is for our own tests; dependents with a final artifact emit their own. `cargo
    // xtask dist` sets `none`, because its programs run on other machines.
    if env::var_os("SNUG_RPATH").is_none_or(|it| it != "none") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
    let include = lib
        .parent()
        .map(|root| root.join("include"))
        .unwrap_or_default();
    check_version(&include);

    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true);
    build
        .opt_level(2)
        .debug(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1");
    build.flag("-fvisibility=hidden");
    build.include("shim/cuda").include("shim/c10d");
    // libtorch's headers are system headers, so that their warnings do not fail this build.
    for dir in [include.clone(), include.join("torch/csrc/api/include")] {
        build.flag("-isystem").flag(&dir);
    }
    for file in sources() {
        build.file(file);
    }
    build.compile("snug_shim");
    println!("cargo:rustc-link-lib=dylib=c10");
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-search=native={}", lib.display());
}

fn sources() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir("shim")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "cpp"))
        .collect();
    files.sort();
    files
}

/// `torch-sys` checks nothing for an unpacked wheel, so this build does.
fn check_version(include: &Path) {
    let header = include.join("torch/headeronly/version.h");
    let Ok(text) = fs::read_to_string(&header) else {
        fail(&format!(
            "libtorch {} is needed, but `{}` cannot be read; run `cargo xtask setup`",
            dotted(EXPECTED),
            header.display()
        ));
    };
    let number = |name: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(&format!("#define TORCH_VERSION_{name} ")))
            .and_then(|v| v.trim().parse().ok())
            .unwrap_or(0)
    };
    let found = [number("MAJOR"), number("MINOR"), number("PATCH")];
    if found != EXPECTED {
        fail(&format!(
            "libtorch {} is needed, but `{}` belongs to {}; run `cargo xtask setup`",
            dotted(EXPECTED),
            include.display(),
            dotted(found)
        ));
    }
}

fn dotted(v: [u32; 3]) -> String {
    format!("{}.{}.{}", v[0], v[1], v[2])
}

#[expect(
    clippy::exit,
    reason = "a build script should print one line, not a backtrace"
)]
fn fail(message: &str) -> ! {
    println!("cargo:error={message}");
    process::exit(1)
}
