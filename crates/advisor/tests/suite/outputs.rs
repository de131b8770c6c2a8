//! Tests the advice for made-up devices by snapshots.

use advisor::{Request, Target, advise, to_json, to_text};
use config::Bytes;
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
