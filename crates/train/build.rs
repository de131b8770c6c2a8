//! Lets this package's programs and tests find libtorch without `LD_LIBRARY_PATH`: link arguments do
//! not propagate from dependencies.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SNUG_RPATH");
    // `cargo xtask dist` sets `none`, because its programs run on other machines.
    if std::env::var_os("SNUG_RPATH").is_some_and(|it| it == "none") {
        return;
    }
    if let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
