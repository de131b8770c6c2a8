//! Tests `advisor explain`: its text, its figures, and what it refuses.

use std::fs;
use std::process::{Command, Output};

const STEP: &[&str] = &[
    "explain",
    "--width",
    "16",
    "--img-size",
    "128x192",
    "--batch",
    "2",
    "--amp",
    "off",
    "--threads",
    "2",
];

fn explain(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_advisor"))
        .args(arguments)
        // The same on every machine that has AVX2.
        .env("ATEN_CPU_CAPABILITY", "avx2")
        .env("SNUG_LEDGER", "off")
        .output()
        .unwrap()
}

#[test]
fn in_words() {
    let output = explain(&[STEP, &["--grad-checkpoint", "selective"]].concat());
    assert!(output.status.success() && output.stderr.is_empty());
    insta::assert_snapshot!("explain", String::from_utf8(output.stdout).unwrap());
}

#[test]
fn of_a_gpu() {
    let output = explain(&["explain", "--gpu", "RTX 3060", "--preset", "max-memory"]);
    assert!(output.status.success() && output.stderr.is_empty());
    insta::assert_snapshot!("explain_gpu", String::from_utf8(output.stdout).unwrap());
    let output = explain(&["explain", "--gpu", "RTX 3060", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = |pointer| {
        value
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap()
    };
    let reserved = bytes("/predicted/reserved_bytes");
    assert!(reserved >= bytes("/predicted/allocated_bytes"));
    let total = reserved + bytes("/breakdown/context_bytes");
    assert_eq!(bytes("/predicted/total_bytes"), total);
}

#[test]
fn figures_agree_with_each_other() {
    let output = explain(&[STEP, &["--json"]].concat());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let peak = value["predicted"]["allocated_bytes"].as_u64().unwrap();
    let parts = value["breakdown"].as_object().unwrap().values();
    assert_eq!(
        parts.filter_map(serde_json::Value::as_u64).sum::<u64>(),
        peak
    );
    let moments = value["timeline"].as_array().unwrap();
    let most = moments.iter().max_by_key(|m| m["allocated_bytes"].as_u64());
    assert_eq!(most.unwrap()["allocated_bytes"].as_u64(), Some(peak));
    for unknown in ["reserved_bytes", "total_bytes", "images_per_second"] {
        assert!(value["predicted"][unknown].is_null());
    }
}

#[test]
fn in_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("step.svg");
    // With two micro-batches, forward, loss and backward come twice.
    let more = ["--accumulation", "2", "--json", "--svg"];
    let output = explain(&[STEP, &more, &[file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let picture = fs::read_to_string(&file).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    let japanese = [&more[..], &[file.to_str().unwrap(), "--lang", "ja"]].concat();
    assert!(explain(&[STEP, &japanese].concat()).status.success());
    let japanese = fs::read_to_string(file).unwrap();
    for said in [
        ">メモリ（MiB）<",
        "<title>順伝播: ステージ1の1番目の畳み込み\n",
    ] {
        assert!(japanese.contains(said), "{said}\n{japanese}");
    }
    let count = |what: &str| picture.matches(what).count();
    for element in ["text", "style", "title"] {
        let [opened, closed] = [format!("<{element}"), format!("</{element}>")];
        assert_eq!(count(&opened), count(&closed), "{element}");
    }
    // A hint for each operation, seven phases and five categories, and the picture's own title.
    let num_operations = value["timeline"].as_array().unwrap().len();
    assert_eq!(count("<title>"), num_operations + 7 + 5 + 1);
    // The name of a phase is in its tooltip, and once more on the page if there is room.
    for (phase, times) in [("forward", 2), ("loss", 2), ("backward", 2), ("update", 1)] {
        assert_eq!(count(&format!("<title>{phase}</title>")), times, "{phase}");
    }
    let operation = value["peak_at"]["operation"].as_str().unwrap();
    let peak = format!("during backward: {operation}</text>");
    assert!(picture.contains(&peak), "{peak}");
    let title = "U-Net of width 16, 2 images of 128x192, fp32; ";
    assert!(picture.contains(title) && picture.contains("accumulation 2, 2 threads"));
    assert!(!picture.contains("NaN") && !picture.contains("inf"));
    // Nothing is drawn outside the page.
    for number in picture.split(" x=\"").skip(1) {
        let x: f64 = number.split('"').next().unwrap().parse().unwrap();
        assert!((0.0..1240.0).contains(&x), "{x}");
    }
}

/// What the README shows, and the command that draws it.
const README: &[&str] = &[
    "explain",
    "--policies",
    "--gpu",
    "RTX 3060",
    "--width",
    "64",
    "--img-size",
    "512x512",
    "--batch",
    "8",
    "--amp",
    "bf16",
    "--channels-last",
    "on",
    "--svg",
];

#[test]
fn the_picture_of_the_readme_is_what_is_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policies.svg");
    let output = explain(&[README, &[file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    let picture = fs::read_to_string(file).unwrap();
    for policy in ["off", "selective", "block", "stage", "mixed"] {
        assert!(picture.contains(&format!(">{policy}</text>")), "{policy}");
    }
    let kept = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/images/memory-by-policy.svg"
    );
    let quoted = |it: &&str| {
        if it.contains(' ') {
            format!("'{it}'")
        } else {
            (*it).to_owned()
        }
    };
    let command: Vec<String> = README.iter().map(quoted).collect();
    let command = command.join(" ");
    assert!(
        fs::read_to_string(kept).is_ok_and(|it| it == picture),
        "predictions or the way they are drawn have changed; look at the new picture and keep it: \
         cargo run -p advisor -- {command} docs/images/memory-by-policy.svg"
    );
}

#[test]
fn a_picture_that_cannot_be_written() {
    let output = explain(&[STEP, &["--svg", "no/such/folder/step.svg"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "nothing is half said");
    insta::assert_snapshot!(
        "explain_svg_refused",
        String::from_utf8(output.stderr).unwrap()
    );
}

#[test]
fn what_is_not_predicted_is_refused() {
    let mut text = String::new();
    for arguments in [
        &["--amp", "fp16"][..],
        &["--amp", "off", "--grad-checkpoint", "auto"],
        &["--img-size", "8x8"],
        &["--batch", "1099511627776"],
        &["--threads", "4294967295"],
        &["--device", "cuda"],
        &["--config", "nowhere.toml"],
    ] {
        // The test does not depend on the GPU of this machine.
        let device: &[&str] = if arguments[0] == "--device" {
            &[]
        } else {
            &["--device", "cpu"]
        };
        let output = explain(&[&["explain"], device, arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        text.push_str(message.lines().next().unwrap_or_default());
        text.push('\n');
    }
    insta::assert_snapshot!("explain_refusals", text);
}
