//! The build script of each package that links libtorch: its programs and tests find libtorch without
//! `LD_LIBRARY_PATH`. Link arguments do not propagate from dependencies.

#![expect(clippy::print_stdout, reason = "Cargo reads it")]

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=../rpath.rs");
    println!("cargo:rerun-if-env-changed=SNUG_RPATH");
    // `cargo xtask dist` sets `none`, because its programs run on other machines.
    if env::var_os("SNUG_RPATH").is_some_and(|it| it == "none") {
        return;
    }
    match env::var_os("DEP_TCH_LIBTORCH_LIB") {
        Some(lib) => println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display()),
        // Cargo passes it on to direct dependents only.
        None => println!("cargo:error=`torch-sys` must be among this package's own dependencies"),
    }
}
