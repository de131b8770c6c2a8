//! Reads state dicts that PyTorch saved, and nothing else of such files.

use std::path::Path;
use std::process::Command;

use engine::model::UNet;
use tch::{Device, Kind, Tensor};
use train::run::weights::WeightsFile;

use super::{Run, Sandbox, small};
use crate::techniques::alone;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference");

/// Loads `path` and compares every number with those that `network` in `state_dict.py` makes.
fn assert_read(path: &Path) {
    let _alone = alone();
    let file = WeightsFile::open(path).unwrap();
    let model = UNet::new(file.network().unwrap(), Device::Cpu, 1, false).unwrap();
    file.load_into(&model).unwrap();
    let entries = model.parameters().entries();
    assert_eq!(entries.len(), 136);
    let mut compared = 0;
    for (entry, place) in entries.iter().zip(0_i64..) {
        let num = i64::try_from(entry.tensor.numel()).unwrap();
        let values = (Tensor::arange(num, (Kind::Int64, Device::Cpu)) * 31 + place * 17)
            .fmod(101)
            .view_(entry.tensor.size());
        let values = if entry.tensor.kind() == Kind::Float {
            values.to_kind(Kind::Float) / 64.0 - 0.5
        } else {
            values
        };
        let name = &entry.spec.name;
        assert_eq!(entry.tensor.detach(), values, "{}: {name}", path.display());
        compared += num;
    }
    assert!(compared > 7_000, "only {compared} numbers were compared");
}

#[test]
fn a_checkpoint_of_a_script_is_a_warm_start() {
    let fixture = format!("{REFERENCE}/fixtures/checkpoint.pt");
    assert_read(Path::new(&fixture));
    let sandbox = Sandbox::with_pages();
    let flags = [
        "--resume",
        &fixture,
        "--width",
        "1",
        "--max-steps",
        "1",
        "--run-dir",
        "run",
    ];
    let run = sandbox.fit(&flags);
    assert!(run.stderr.contains("warm start"), "{}", run.stderr);
    // The other commands read it as well.
    let evaluate = [
        "evaluate",
        "--data",
        "data",
        "--img-size",
        "64x64",
        "--weights",
        &fixture,
    ];
    sandbox.train(&evaluate).ok();
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let sandbox = Sandbox::with_pages();
    let fixture = include_bytes!("../reference/fixtures/checkpoint.pt");
    let refused = |bytes: &[u8]| {
        sandbox.write("cut.pt", bytes);
        let flags = ["--data", "data", "--resume", "cut.pt"];
        let run = sandbox.train(&small(&flags));
        assert_eq!(run.code, Some(2), "{run:?}");
        run.complaint().to_owned()
    };
    for part in [4, 100, fixture.len() / 2, fixture.len() - 10] {
        let complaint = refused(&fixture[..part]);
        assert!(complaint.contains("not a whole zip archive"), "{complaint}");
    }
    // A changed name in the pickle would turn a dict into a call.
    let name = b"ccollections\nOrderedDict\n";
    let at = fixture.windows(name.len()).position(|w| w == name).unwrap();
    let mut evil = fixture.to_vec();
    evil[at..at + name.len()].copy_from_slice(b"cposix\nsystem___________\n");
    let complaint = refused(&evil);
    assert!(complaint.starts_with("error: `cut.pt`: "), "{complaint}");
}

#[test]
fn other_forms_of_pytorch_files() {
    let Ok(python) = std::env::var("SNUG_TEST_PYTHON") else {
        println!("skipped: SNUG_TEST_PYTHON names no Python with torch 2.11.0");
        return;
    };
    let sandbox = Sandbox::empty();
    let program = format!("{REFERENCE}/state_dict.py");
    let folder = sandbox.path("");
    Run::of(Command::new(python).arg(program).arg("write").arg(&folder)).ok();
    for file in [
        "plain.pth",
        "parallel.pt",
        "optimizer.pt",
        "views.pt",
        "half.pt",
    ] {
        assert_read(&sandbox.path(file));
    }
    for (file, why) in [
        ("module.pt", "asks for `unet.UNet`"),
        ("namespace.pt", "asks for `argparse.Namespace`"),
        ("old.pt", "as PyTorch saved before 1.6"),
        ("script.pt", "a TorchScript program"),
        ("list.pt", "no dict with tensors"),
    ] {
        let error = WeightsFile::open(&sandbox.path(file)).unwrap_err();
        assert_eq!(error.exit(), config::cli::Exit::Usage);
        assert!(error.to_string().contains(why), "{file}: {error}");
        assert!(error.hint().is_some());
    }
}
