//! Weights pass both ways between PyTorch and Snug, and give the same logits.

use std::path::Path;
use std::process::Command;

use engine::model::{ForwardMode, Kernels, UNet};
use serde_json::Value;
use tch::{Device, Tensor};
use train::run::weights::WeightsFile;

use super::{Run, Sandbox};
use crate::techniques::alone;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference");

/// Allowed difference between fp32 convolutions that sum in another order. Logits are about 1.
const TOLERANCE: f64 = 1e-5;

/// The size of the images in `unet.py`.
const SIZE: [i64; 4] = [1, 3, 32, 48];

/// `image` of `unet.py`: the bytes of a hash, divided by 255.
fn image(seed: u64) -> Tensor {
    let pixels: Vec<f32> = (0..SIZE.iter().product::<i64>().cast_unsigned())
        .map(|i| {
            let hashed = (i * 2_654_435_761 + seed * 2_246_822_519) & 0xffff_ffff;
            let hashed = ((hashed ^ (hashed >> 15)) * 2_246_822_519) & 0xffff_ffff;
            (hashed >> 24) as f32 / 255.0
        })
        .collect();
    Tensor::from_slice(&pixels).view(SIZE)
}

fn logits(weights: &Path, image: &Tensor, channels_last: bool) -> Tensor {
    let file = WeightsFile::open(weights).unwrap();
    let model = UNet::new(file.network().unwrap(), Device::Cpu, 0, channels_last).unwrap();
    file.load_into(&model).unwrap();
    let _no_grad = tch::no_grad_guard();
    let mode = ForwardMode::evaluation(Kernels::Fused);
    model.forward(image, &mode).unwrap()
}

/// The largest absolute difference between two tensors, which must not be constant.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    assert!(
        a.std(true).double_value(&[]) > 1e-3,
        "constant logits prove nothing"
    );
    (a - b).abs().max().double_value(&[])
}

#[test]
fn weights_of_pytorch_give_the_same_logits() {
    let _alone = alone();
    let fixtures = Path::new(REFERENCE).join("fixtures");
    let tensors = Tensor::read_safetensors(fixtures.join("logits.safetensors")).unwrap();
    let named = |name: &str| &tensors.iter().find(|(n, _)| n == name).unwrap().1;
    assert!(
        image(1).equal(named("input")),
        "the input is drawn as in `unet.py`"
    );
    let weights = fixtures.join("unet.safetensors");
    for channels_last in [false, true] {
        let here = logits(&weights, &image(1), channels_last);
        let difference = difference(&here, named("logits"));
        println!("channels-last {channels_last}: largest difference {difference:e}");
        assert!(difference < TOLERANCE, "{difference:e}");
        // The comparison can fail: another input gives other logits.
        let other = logits(&weights, &image(2), channels_last);
        assert!(self::difference(&other, named("logits")) > 100.0 * TOLERANCE);
    }
}

#[test]
fn weights_of_pytorch_can_be_evaluated() {
    let sandbox = Sandbox::with_pages();
    let weights = format!("{REFERENCE}/fixtures/unet.safetensors");
    let flags = [
        "--weights",
        &weights,
        "--data",
        "data",
        "--img-size",
        "64x64",
        "--amp",
        "off",
    ];
    let run = sandbox.train(&[&["evaluate"], &flags[..]].concat()).ok();
    assert!(
        run.stdout.starts_with("4 images at 64x64, fp32: IoU "),
        "{}",
        run.stdout
    );
}

#[test]
fn weights_of_a_run_load_strictly_in_pytorch() {
    let Ok(python) = std::env::var("SNUG_TEST_PYTHON") else {
        println!("skipped: SNUG_TEST_PYTHON names no Python with torch 2.11.0");
        return;
    };
    let sandbox = Sandbox::with_pages();
    sandbox.fit(&["--epochs", "2", "--run-dir", "run"]);
    let weights = sandbox.path("run/best.safetensors");
    let program = format!("{REFERENCE}/unet.py");
    let run = Run::of(
        Command::new(python)
            .arg(program)
            .arg("check")
            .arg(&weights)
            .args(["1", "2"]),
    );
    let answer: Value = serde_json::from_str(&run.ok().stdout).unwrap();
    println!(
        "{} tensors in PyTorch {}",
        answer["tensors"], answer["torch"]
    );
    let _alone = alone();
    for (there, seed) in answer["logits"].as_array().unwrap().iter().zip(1..) {
        let there: Vec<f64> = there
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        let here = logits(&weights, &image(seed), true).flatten(0, -1);
        let there = Tensor::from_slice(&there).to_kind(tch::Kind::Float);
        let difference = difference(&here, &there);
        println!("seed {seed}: largest difference {difference:e}");
        assert!(difference < TOLERANCE, "seed {seed}: {difference:e}");
    }
}
