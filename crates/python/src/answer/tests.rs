//! Answers are the program's own objects, and refusals its own words.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use config::keys::{Command, KEYS};
use config::{Bytes, RunConfig};
use machine::Hardware;
use proptest::prelude::*;

use super::*;

fn parsed(answer: &str) -> Value {
    serde_json::from_str(answer).unwrap()
}

/// What `snug suggest --vram MIB --json` prints.
fn printed(memory: Bytes, card: Option<&'static machine::Card>, request: &Request) -> Value {
    let device = Device::Given { memory, card };
    let (target, _) = place::tuned(&device);
    let advice = advise(&device, &target, request).unwrap();
    parsed(&as_snug(&to_json(&device, &target, &advice).to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn a_suggestion_is_the_programs(
        mib in 1_024_u64..49_152,
        goal in 0..3_usize,
        width in proptest::option::of(8_u32..129),
        height in proptest::option::of(4_u32..65),
        classes in 1_u32..9,
        batch in proptest::option::of(1_u32..65),
        is_named: bool,
    ) {
        let (goal, word) = [
            (advisor::Goal::Balance, "balance"),
            (advisor::Goal::Memory, "memory"),
            (advisor::Goal::Speed, "speed"),
        ][goal];
        let height = height.map(|sixteenths| sixteenths * 16);
        let asked = json!({
            "vram": format!("{mib}MiB"),
            "gpu": is_named.then_some("RTX 3060"),
            "goal": word,
            "target_batch": batch,
            "img_size": height.map(|height| [height, 256]),
            "width": width,
            "classes": classes,
        });
        let memory = Bytes(mib * Bytes::MIB);
        let card = if is_named { Hardware::lookup_with_memory("RTX 3060", memory) } else { None };
        let request = Request {
            goal,
            target_batch: batch,
            img_size: height.map(|height| config::ImageSize::new(height, 256)),
            width,
            classes: Some(classes),
            ..Request::default()
        };
        let answer = parsed(&suggest(&asked.to_string()));
        prop_assert_eq!(&answer["answer"], &printed(memory, card, &request), "{}", asked);
    }
}

#[test]
fn a_prediction_is_the_programs() {
    let keys = json!({ "batch": 3, "img_size": [128, 192], "width": 16, "use_amp": false });
    let asked = json!({ "vram": "8GiB", "preset": "speed", "keys": keys });
    let answer = parsed(&predict_memory(&asked.to_string()));
    let device = Device::Given {
        memory: Bytes(8 * Bytes::GIB),
        card: None,
    };
    let flags = config::Overrides {
        batch: Some(3),
        img_size: Some(config::ImageSize::new(128, 192)),
        width: Some(16),
        use_amp: Some(false),
        ..config::Overrides::default()
    };
    let config = config::resolve(Some("speed"), None, flags).unwrap().config;
    let (target, _) = place::tuned(&device);
    let (on, memory) = explain::On::predict(&config, &device, &target).unwrap();
    let expected = parsed(&as_snug(
        &explain::to_json(&config, &on, &memory).to_string(),
    ));
    assert_eq!(answer["answer"], expected);
    assert!(expected["timeline"].as_array().unwrap().len() > 50);
}

/// The keys that Python names in `MemoryKeys` are those of `snug explain`.
#[test]
fn python_names_every_key_that_decides_the_memory() {
    let types = include_str!("../../python/snug/_types.py");
    let (_, class) = types.split_once("class MemoryKeys(").unwrap();
    let (class, _) = class.split_once("\n\n\n").unwrap();
    let named = class
        .lines()
        .filter_map(|line| Some(line.strip_prefix("    ")?.split_once(": ")?.0));
    // The preset is an argument of its own.
    let offered = KEYS
        .iter()
        .filter(|key| key.is_offered_by(Command::Explain) && key.name != "preset");
    let offered: BTreeSet<&str> = offered.map(|key| key.name).collect();
    assert_eq!(named.collect::<BTreeSet<_>>(), offered);
}

/// A plan is for libtorch's own operators, as its figures show, and for whole concatenations.
#[test]
fn a_plan_has_a_stage_for_each_letter() {
    let asked = json!({ "vram": "6GiB", "target_batch": 16 }).to_string();
    let answer = parsed(&plan(&asked));
    let of = |answer: &Value| answer["recommendation"]["predicted"]["allocated_bytes"].clone();
    let planned = &answer["answer"];
    assert_eq!(
        planned["stages"].as_array().unwrap().len(),
        RunConfig::default().network().num_stages()
    );
    assert_eq!(planned["precision"], "fp16");
    let recipes = planned["suggestion"]["alternatives"].as_array().unwrap();
    for recipe in recipes
        .iter()
        .chain([&planned["suggestion"]["recommendation"]])
    {
        assert_eq!(recipe["split_concat"], false);
    }
    let suggested = parsed(&suggest(&asked));
    assert_ne!(of(&planned["suggestion"]), of(&suggested["answer"]));
}

#[test]
fn refusals() {
    let mut text = String::new();
    let mut refuse = |answer: String| {
        let error = parsed(&answer)["error"].clone();
        let line = |name: &str| error[name].as_str().unwrap_or("(none)").to_owned();
        let _ = writeln!(text, "error: {}\nhint: {}", line("message"), line("hint"));
    };
    refuse(suggest("{"));
    for asked in [
        json!({ "vram": "abc" }),
        json!({ "vram": "-1B" }),
        json!({ "vram": 8.5 }),
        json!({ "gpu": "RTX 30" }),
        json!({ "vram": "8GiB", "goal": "fast" }),
        json!({ "vram": "8GiB", "device": "tpu" }),
        json!({ "vram": "8GiB", "device": "cpu" }),
        json!({ "vram": "8GiB", "width": -1 }),
        json!({ "vram": "8GiB", "img_size": [64, null] }),
        json!({ "vram": "8GiB", "width": 18_446_744_073_709_551_615_u64 }),
        json!({ "vram": "8GiB", "img_size": [100, 100] }),
        json!({ "vram": "8GiB", "target_batch": 0 }),
        json!({ "vram": "8GiB", "target_batch": 8, "max_batch": true }),
        json!({ "vram": "8GiB", "depth": 5 }),
    ] {
        refuse(suggest(&asked.to_string()));
    }
    for asked in [
        json!({ "vram": "8GiB", "preset": "sped" }),
        json!({ "vram": "8GiB", "keys": { "batch_size": 4 } }),
        json!({ "vram": "8GiB", "keys": { "batch": "4" } }),
        json!({ "vram": "8GiB", "keys": { "grad_checkpoint_policy": "auto" } }),
        json!({ "threads": 0 }),
        json!({ "threads": 1.5 }),
        json!({ "threads": 2, "gpu": "RTX 3060" }),
        json!({ "vram": "8GiB", "keys": { "use_grad_checkpoint": true, "grad_checkpoint_policy": "auto" } }),
    ] {
        refuse(predict_memory(&asked.to_string()));
    }
    for asked in [
        json!({ "memory": "600MiB" }),
        json!({ "memory": "8" }),
        json!({ "memory": "8GiB", "device": "cpu" }),
    ] {
        refuse(plan(&asked.to_string()));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn notes_travel_with_the_answer() {
    let answer = parsed(&suggest(r#"{"vram": "8GB"}"#));
    let note = answer["notes"][0].as_str().unwrap();
    assert!(
        note.starts_with("note: `8GB` is 8000000000 bytes"),
        "{note}"
    );
}
