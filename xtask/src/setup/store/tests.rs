//! Uses a store with a fake torch of a few bytes.

use tempfile::TempDir;

use super::*;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Writes what pip leaves in its target folder.
fn fill(target: &Path) {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    let library = |name: &str| format!("torch/lib/{DLL_PREFIX}{name}{DLL_SUFFIX}");
    let files = [
        (
            "torch/version.py".to_owned(),
            "__version__ = '2.11.0+cu130'\n",
        ),
        (library("torch_cpu"), "cpu"),
        (library("c10"), "c10"),
        (
            "torch/include/torch/csrc/api/include/torch/torch.h".to_owned(),
            "//",
        ),
        ("nvidia/cu13/lib/libcupti.so.13".to_owned(), "cupti"),
    ];
    let record = files.map(|(path, text)| {
        write(&target.join(&path), text);
        format!("{path},sha256=x,{}", text.len())
    });
    let dist_info = target.join("torch-2.11.0.dist-info");
    write(&dist_info.join("RECORD"), &record.join("\n"));
}

fn store() -> (TempDir, LibtorchStore) {
    let dir = TempDir::new().unwrap();
    let store = LibtorchStore::new(dir.path().join(".libtorch"));
    (dir, store)
}

fn ready(store: &LibtorchStore) -> Installed {
    match store.state().unwrap() {
        StoreState::Ready(installed) => installed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_store_is_empty() {
    let (_dir, store) = store();
    assert!(matches!(store.state().unwrap(), StoreState::Absent));
}

#[test]
fn a_published_stage_is_complete_and_removed() {
    let (_dir, store) = store();
    write(&store.dir().join("torch/old.txt"), "of another version");
    write(
        &store.dir().join("torch-2.10.0.dist-info/RECORD"),
        "torch/lib/old.so,x,1\n",
    );
    let stage = store.stage().unwrap();
    fill(&stage.target());
    store.publish(&stage, |_| true).unwrap();
    drop(stage);

    let installed = ready(&store);
    assert_eq!(
        (installed.half, &installed.source),
        (LibtorchHalf::Cpu, &Origin::Pip)
    );
    store
        .mark(&Installed {
            half: LibtorchHalf::Cuda,
            ..installed
        })
        .unwrap();
    assert_eq!(ready(&store).half, LibtorchHalf::Cuda);
    assert!(!store.has(PARTIAL) && !store.dir().join("torch/old.txt").exists());
}

#[test]
fn truncated_and_missing_files_are_found() {
    for path in ["torch/version.py", "nvidia/cu13/lib/libcupti.so.13"] {
        let (_dir, store) = store();
        fill(store.dir());
        let path = store.dir().join(path);
        fs::write(&path, "_").unwrap();
        assert!(
            matches!(store.state().unwrap(), StoreState::Broken(_)),
            "{}",
            path.display()
        );
        fs::remove_file(&path).unwrap();
        assert!(
            matches!(store.state().unwrap(), StoreState::Broken(_)),
            "{}",
            path.display()
        );
    }
    let (_dir, store) = store();
    fill(store.dir());
    fs::remove_dir_all(store.dir().join("torch-2.11.0.dist-info")).unwrap();
    assert!(matches!(
        store.state().unwrap(),
        StoreState::Broken(Flaw::Missing(_))
    ));
}

#[test]
fn only_an_interrupted_stage_is_removed() {
    let (_dir, store) = store();
    fill(store.dir());
    write(
        &store.dir().join("partial-1/target/torch/version.py"),
        "half of it",
    );
    store.sweep(&Console::default());
    assert!(!store.has(PARTIAL));
    ready(&store);
}

#[cfg(unix)]
#[test]
fn a_link_replaces_an_installation_and_breaks_with_its_target() {
    let (dir, store) = store();
    fill(store.dir());
    let elsewhere = dir.path().join("elsewhere");
    fill(&elsewhere);
    let torch = verify::inspect(&elsewhere.join("torch")).unwrap();
    assert!(!store.owns(&torch.dir));
    store.link(&torch, LibtorchHalf::Cpu, Origin::Flag).unwrap();
    assert!(!store.dir().join("nvidia").exists());
    assert_eq!(ready(&store).source, Origin::Flag);

    fs::remove_dir_all(&elsewhere).unwrap();
    assert!(matches!(
        store.state().unwrap(),
        StoreState::Broken(Flaw::Missing(_))
    ));
}

#[test]
fn the_store_knows_its_own_torch() {
    let (_dir, store) = store();
    fill(store.dir());
    let torch = verify::inspect(&store.dir().join("torch")).unwrap();
    assert!(store.owns(&torch.dir));
}
