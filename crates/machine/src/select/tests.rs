use config::Bytes;

use super::*;
use crate::device::{Device, select};
use crate::gpu::Process;

fn gpu(index: u32, uuid: &str, name: &str) -> Gpu {
    Gpu {
        index,
        uuid: uuid.to_owned(),
        name: name.to_owned(),
        total: Bytes(12 * Bytes::GIB),
        free: Bytes(11 * Bytes::GIB),
        ..Gpu::default()
    }
}

fn machine() -> Vec<Gpu> {
    vec![
        gpu(0, "GPU-aaaa-1", "NVIDIA A"),
        gpu(1, "GPU-aabb-2", "NVIDIA B"),
        gpu(2, "GPU-cccc-3", "NVIDIA A"),
    ]
}

fn instance(index: u32, uuid: &str, ids: Option<(u32, u32)>) -> Instance {
    Instance {
        index,
        uuid: uuid.to_owned(),
        name: format!("NVIDIA M MIG {}g", index + 1),
        total: Bytes(5 * Bytes::GIB),
        free: Bytes(4 * Bytes::GIB),
        num_sms: Some(14),
        ids,
        ..Instance::default()
    }
}

/// A whole GPU, a GPU with two instances, and a GPU with MIG but no instance.
fn machine_with_mig() -> Vec<Gpu> {
    let mut all = machine();
    all[1].mig = Some(vec![
        instance(0, "MIG-1111-x", None),
        instance(1, "MIG-1122-y", Some((7, 0))),
    ]);
    all[2].mig = Some(Vec::new());
    all
}

fn visible(list: Option<&str>) -> Environment {
    Environment {
        visible: list.map(str::to_owned),
        pci_order: false,
    }
}

fn chosen(gpus: &[Gpu], list: Option<&str>) -> Result<String, String> {
    choose(gpus, &visible(list)).map(|choice| choice.device().uuid)
}

fn notes(gpus: &[Gpu], list: Option<&str>, pci_order: bool) -> Vec<String> {
    let environment = Environment {
        pci_order,
        ..visible(list)
    };
    choose(gpus, &environment).map_or(Vec::new(), |choice| choice.notes)
}

#[test]
fn visible_devices() {
    for (list, expected) in [
        (None, "GPU-aaaa-1"),
        (Some("1"), "GPU-aabb-2"),
        (Some(" 2 ,0"), "GPU-cccc-3"),
        (Some("GPU-cccc"), "GPU-cccc-3"),
        (Some("GPU-aabb-2,GPU-cccc"), "GPU-aabb-2"),
    ] {
        assert_eq!(chosen(&machine(), list).as_deref(), Ok(expected));
    }
    for hidden in [
        "",
        "-1",
        "7",
        "7,0",
        "GPU-",
        "GPU-aa",
        "GPU-zzzz",
        "cccc",
        "MIG-1",
        "none",
        "4294967296",
    ] {
        assert!(chosen(&machine(), Some(hidden)).is_err(), "{hidden}");
    }
}

#[test]
fn mig_instances() {
    let machine = machine_with_mig();
    for (list, expected) in [
        (None, "MIG-1111-x"),
        (Some("0"), "GPU-aaaa-1"),
        (Some("1"), "MIG-1111-x"),
        (Some("GPU-aabb"), "MIG-1111-x"),
        (Some("MIG-1122-y"), "MIG-1122-y"),
        (Some("MIG-1122"), "MIG-1122-y"),
        (Some("MIG-GPU-aabb-2/7/0"), "MIG-1122-y"),
        (Some("MIG-GPU-aabb-2/7/0,0"), "MIG-1122-y"),
    ] {
        assert_eq!(chosen(&machine, list).as_deref(), Ok(expected), "{list:?}");
    }
    for hidden in [
        "2", // MIG without an instance
        "MIG-",
        "MIG-11",
        "MIG-3",
        "MIG-GPU-aabb-2/1/0",
        "MIG-GPU-aaaa-1/7/0",
        "MIG-GPU-aabb-2/7",
        "MIG-GPU-aabb-2/7/0/0",
        "MIG-GPU-aabb-2/x/0",
        "MIG-GPU-",
    ] {
        assert!(chosen(&machine, Some(hidden)).is_err(), "{hidden}");
    }
    let mut no_instance = vec![gpu(0, "GPU-1", "A")];
    no_instance[0].mig = Some(Vec::new());
    assert!(chosen(&no_instance, None).is_err());
}

#[test]
fn an_instance_is_a_device_of_its_own() {
    let machine = machine_with_mig();
    let Device::Found { gpu, notes } = select(&machine, &visible(Some("MIG-1122"))) else {
        panic!("not found");
    };
    assert_eq!(gpu.free, Bytes(4 * Bytes::GIB));
    assert_eq!((gpu.index, gpu.mig), (1, None));
    assert_eq!(gpu.instance_of.as_deref(), Some("NVIDIA B"));
    assert_eq!(notes, ["a MIG instance of GPU 1 (NVIDIA B)"]);
}

#[test]
fn an_empty_machine() {
    for list in [None, Some("0")] {
        let device = select(&[], &visible(list));
        assert!(matches!(device, Device::Cpu { .. }));
    }
}

#[test]
fn the_order_is_said_where_it_matters() {
    let order = |notes: Vec<String>| notes.iter().any(|note| note.contains("PCI_BUS_ID"));
    assert!(order(notes(&machine(), Some("1"), false)));
    assert!(order(notes(&machine(), None, false)));
    assert!(!order(notes(&machine(), Some("1"), true)));
    assert!(!order(notes(&machine(), Some("GPU-aabb"), false)));
    let alike = [gpu(0, "GPU-1", "A"), gpu(1, "GPU-2", "A")];
    assert!(!order(notes(&alike, Some("1"), false)));
}

#[test]
fn others_are_named() {
    let mut one = gpu(0, "GPU-1", "A");
    let process = |pid, name: Option<&str>, mib: Option<u64>| Process {
        pid,
        name: name.map(str::to_owned),
        bytes: mib.map(Bytes::from_mib),
    };
    one.processes = vec![
        process(17, Some("Xorg"), Some(200)),
        process(9, None, None),
        process(4242, Some("python3"), Some(3174)),
        process(10, None, Some(100)),
        process(11, None, None),
    ];
    let Device::Found { notes, .. } = select(&[one], &visible(None)) else {
        panic!("not found");
    };
    assert_eq!(
        notes,
        [
            "process 4242 (python3) holds 3.1 GiB of it",
            "process 17 (Xorg) holds 200.0 MiB of it",
            "process 10 holds 100.0 MiB of it",
            "2 more processes hold some",
        ]
    );
}
