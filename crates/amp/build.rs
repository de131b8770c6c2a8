//! Lets this package's tests find libtorch without `LD_LIBRARY_PATH`: link arguments do
//! not propagate from dependencies.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
