//! What the real program receives, and what it returns.

use crate::dist::{Dist, printed};

#[test]
fn arguments_arrive_untouched_and_the_exit_code_comes_back() {
    let dist = Dist::new();
    dist.torch("snug/libtorch", "2.11.0");
    let args = ["fit", "--help", "-h", "a b", "", "--", "--version", "ü*$x"];
    let output = dist.train().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(printed(&output, "arg"), args);
    let program = dist.path("snug/libexec/train");
    assert_eq!(printed(&output, "program"), [program.display().to_string()]);
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_environment_is_added_to() {
    let dist = Dist::new();
    let torch = dist.torch("snug/libtorch", "2.11.0");
    let lib = torch.join("lib").display().to_string();
    let output = dist.train().output().unwrap();
    assert_eq!(printed(&output, "libraries"), [lib.as_str()]);
    assert_eq!(printed(&output, "order"), ["PCI_BUS_ID"]);

    let mut train = dist.train();
    train
        .env("LD_LIBRARY_PATH", "/opt/x:/opt/y")
        .env("CUDA_DEVICE_ORDER", "FASTEST_FIRST");
    let output = train.output().unwrap();
    let expected = format!("{lib}:/opt/x:/opt/y");
    assert_eq!(printed(&output, "libraries"), [expected.as_str()]);
    assert_eq!(printed(&output, "order"), ["FASTEST_FIRST"]);
}

#[test]
fn a_link_to_the_launcher_works() {
    let dist = Dist::new();
    dist.torch("snug/libtorch", "2.11.0");
    let link = dist.path("bin/my-train");
    std::os::unix::fs::symlink("../snug/train", &link).unwrap();
    let output = dist.start(&link).output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{output:?}");
}
