//! Tests the advice for made-up devices by snapshots.

use advisor::{Goal, Request, Target, advise, to_json, to_text};
use config::{Bytes, ImageSize};
use machine::{Cpu, Device, Gpu};

fn text(device: &Device) -> String {
    let target = Target::of(device);
    let advice = advise(device, &target, &Request::default()).unwrap();
    to_text(device, &target, &advice)
}

fn card(gib: u64) -> Device {
    Device::Given {
        memory: Bytes(gib * Bytes::GIB),
        card: None,
    }
}

fn found() -> Device {
    Device::Found {
        gpu: Gpu {
            index: 1,
            uuid: "GPU-5c2fa7f1-0000-0000-0000-000000000000".to_owned(),
            name: "NVIDIA GeForce RTX 3060".to_owned(),
            total: Bytes(12 * Bytes::GIB),
            free: Bytes(11 * Bytes::GIB + Bytes::GIB / 2),
            ..Gpu::default()
        },
        notes: vec!["2 GPUs found; using the first".to_owned()],
    }
}

/// A CPU that is the same on every machine.
fn cpu() -> Device {
    Device::Cpu {
        reason: "NVML was not found, so there is no NVIDIA driver here".to_owned(),
        cpu: Cpu::avx512(2),
        available: Some(Bytes(20 * Bytes::GIB)),
    }
}

#[test]
fn texts() {
    insta::assert_snapshot!("cpu", text(&cpu()));
    insta::assert_snapshot!("found", text(&found()));
    insta::assert_snapshot!("card_12_gib", text(&card(12)));
    insta::assert_snapshot!("card_24_gib", text(&card(24)));
    insta::assert_snapshot!("card_8_gib", text(&card(8)));
    insta::assert_snapshot!("card_4_gib", text(&card(4)));
}

#[test]
fn json() {
    for (name, device) in [
        ("json_cpu", cpu()),
        ("json_found", found()),
        ("json_8_gib", card(8)),
    ] {
        let target = Target::of(&device);
        let advice = advise(&device, &target, &Request::default()).unwrap();
        let value = to_json(&device, &target, &advice);
        insta::assert_snapshot!(name, format!("{value:#}"));
    }
}

/// No line is wider than a terminal, least of all a command to copy.
#[test]
fn every_line_has_at_most_120_columns() {
    let requests = [Goal::Balance, Goal::Memory, Goal::Speed].map(|goal| Request {
        goal,
        ..Request::default()
    });
    let large = Request {
        img_size: Some(ImageSize::new(1024, 1536)),
        width: Some(128),
        classes: Some(12),
        target_batch: Some(256),
        ..Request::default()
    };
    let most = Request {
        max_batch: true,
        ..Request::default()
    };
    let devices = [4, 8, 12, 24, 80].map(card);
    let mut num_commands = 0;
    for device in devices.into_iter().chain([found(), cpu()]) {
        let target = Target::of(&device);
        for request in requests.iter().chain([&large, &most]) {
            let Ok(advice) = advise(&device, &target, request) else {
                continue;
            };
            let text = to_text(&device, &target, &advice);
            num_commands += text.matches("cargo xtask train").count();
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(120), "{widest:?}: {text}");
        }
    }
    assert!(num_commands > 80, "{num_commands}");
}
