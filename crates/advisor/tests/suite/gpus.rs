//! Tests `advisor gpus`: snapshots for made-up machines, and the binary on this machine.

use std::process::{Command, Output};

use advisor::gpus::{to_json, to_text};
use config::Bytes;
use machine::select::Environment;
use machine::{Facts, Gpu, Instance, Inventory, Process};

fn process(pid: u32, name: Option<&str>, mib: Option<u64>) -> Process {
    Process {
        pid,
        name: name.map(str::to_owned),
        bytes: mib.map(Bytes::from_mib),
    }
}

fn card(index: u32, name: &str, total_mib: u64, free_mib: u64) -> Gpu {
    Gpu {
        index,
        uuid: format!("GPU-{index}c2fa7f1-0000-0000-0000-000000000000"),
        name: name.to_owned(),
        total: Bytes::from_mib(total_mib),
        free: Bytes::from_mib(free_mib),
        ..Gpu::default()
    }
}

fn machine(gpus: Vec<Gpu>) -> Inventory {
    Inventory {
        driver: Some("580.95.05".to_owned()),
        cuda: Some("13.0".to_owned()),
        gpus,
    }
}

/// A desktop with two cards: one known and in use, one unknown.
fn desk() -> Inventory {
    let known = Gpu {
        facts: Facts {
            compute_capability: Some((8, 6)),
            num_cores: Some(3584),
            max_sm_clock_mhz: Some(2100),
            max_memory_clock_mhz: Some(7501),
            bus_width_bits: Some(192),
            temperature_celsius: Some(54),
            ..Facts::default()
        },
        processes: vec![
            process(4242, Some("python3"), Some(3174)),
            process(17, Some("Xorg"), None),
        ],
        ..card(0, "NVIDIA GeForce RTX 3060", 12_288, 8_900)
    };
    let estimated = Gpu {
        facts: Facts {
            compute_capability: Some((8, 9)),
            num_cores: Some(1024),
            max_sm_clock_mhz: Some(2500),
            max_memory_clock_mhz: Some(8001),
            bus_width_bits: Some(64),
            ..Facts::default()
        },
        ..card(1, "NVIDIA GeForce RTX 4030", 4096, 4000)
    };
    let silent = card(2, "NVIDIA GeForce RTX 9090", 49_152, 49_000);
    machine(vec![known, estimated, silent])
}

fn split() -> Inventory {
    let instance = |index: u32, profile: &str, total: u64, free: u64, sms: u32| Instance {
        index,
        uuid: format!("MIG-{index}a9f7f1d-0000-0000-0000-000000000000"),
        name: format!("NVIDIA A100-SXM4-40GB MIG {profile}"),
        total: Bytes::from_mib(total),
        free: Bytes::from_mib(free),
        num_sms: Some(sms),
        ..Instance::default()
    };
    let mut busy = instance(1, "1g.5gb", 4864, 2000, 14);
    busy.processes = vec![process(99, Some("python"), Some(2850))];
    machine(vec![Gpu {
        facts: Facts {
            compute_capability: Some((8, 0)),
            num_sms: Some(108),
            ..Facts::default()
        },
        mig: Some(vec![instance(0, "3g.20gb", 19_968, 19_900, 42), busy]),
        ..card(0, "NVIDIA A100-SXM4-40GB", 40_960, 37_000)
    }])
}

fn visible(list: Option<&str>) -> Environment {
    Environment {
        visible: list.map(str::to_owned),
        pci_order: false,
    }
}

#[test]
fn texts() {
    let none = Err("NVML was not found, so there is no NVIDIA driver here".to_owned());
    insta::assert_snapshot!("gpus_none", to_text(&none, &visible(None)));
    insta::assert_snapshot!("gpus_desk", to_text(&Ok(desk()), &visible(None)));
    insta::assert_snapshot!("gpus_hidden", to_text(&Ok(desk()), &visible(Some("-1"))));
    insta::assert_snapshot!(
        "gpus_mig",
        to_text(&Ok(split()), &visible(Some("MIG-1a9f7f1d")))
    );
}

#[test]
fn json() {
    let text = |machine, list| format!("{:#}", to_json(&machine, &visible(list)));
    let none = Err("the NVIDIA driver is installed but not loaded".to_owned());
    insta::assert_snapshot!("gpus_json_none", text(none, Some("0")));
    insta::assert_snapshot!("gpus_json_desk", text(Ok(desk()), Some("1")));
    insta::assert_snapshot!("gpus_json_mig", text(Ok(split()), None));
}

#[test]
fn a_share_of_a_card_has_a_share_of_its_rates() {
    let machine = split();
    let gpu = &machine.gpus[0];
    let instance = gpu.instance(&gpu.mig.as_ref().unwrap()[0]);
    let (whole, share) = (gpu.peak().unwrap().rates, instance.peak().unwrap().rates);
    let ratio = share.bf16_flops.unwrap() / whole.bf16_flops.unwrap();
    assert!((ratio - 42.0 / 108.0).abs() < 1e-9);
    let ratio = share.memory_bytes_per_second / whole.memory_bytes_per_second;
    assert!((0.4..0.6).contains(&ratio));
}

fn advisor(arguments: &[&str], visible: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_advisor"));
    command.args(arguments).env_remove("CUDA_VISIBLE_DEVICES");
    if let Some(list) = visible {
        command.env("CUDA_VISIBLE_DEVICES", list);
    }
    command.output().unwrap()
}

#[test]
fn this_machine_whatever_it_is() {
    for list in [
        None,
        Some(""),
        Some("0"),
        Some("MIG-x"),
        Some("MIG-GPU-x/1/0"),
    ] {
        let output = advisor(&["gpus", "--json"], list);
        assert_eq!(output.status.code(), Some(0), "{list:?}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["schema_version"], 1);
        assert_ne!(value["first"].is_null(), value["no_gpu_because"].is_null());
        let output = advisor(&["gpus"], list);
        assert_eq!(output.status.code(), Some(0), "{list:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
    assert_eq!(
        advisor(&["gpus", "--vram", "8GiB"], None).status.code(),
        Some(2)
    );
}
