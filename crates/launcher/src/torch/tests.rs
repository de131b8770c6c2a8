//! Uses folders with a fake torch of a few bytes.

use tempfile::TempDir;

use super::*;

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Writes the torch of a wheel that can run programs but not build them.
fn torch() -> TempDir {
    let dir = TempDir::new().unwrap();
    write(
        dir.path(),
        "version.py",
        "__version__ = '2.11.0+cu130'\ncuda = '13.0'\n",
    );
    for name in ["torch_cpu", "c10"] {
        fs::create_dir_all(dir.path().join("lib")).unwrap();
        fs::write(library(dir.path(), name), name).unwrap();
    }
    dir
}

#[test]
fn a_complete_torch_is_accepted() {
    let dir = torch();
    let found = inspect(dir.path(), Use::Run).unwrap();
    assert_eq!(found.version, "2.11.0+cu130");
    assert_eq!(found.dir, dir.path().canonicalize().unwrap());
}

#[test]
fn only_building_needs_headers() {
    let dir = torch();
    let header = "include/torch/csrc/api/include/torch/torch.h";
    match inspect(dir.path(), Use::Build).unwrap_err() {
        Flaw::Missing(path) => assert!(path.ends_with(header), "{}", path.display()),
        other => panic!("{other}"),
    }
    write(dir.path(), header, "//");
    inspect(dir.path(), Use::Build).unwrap();
}

#[test]
fn the_cpp_archive_is_accepted() {
    let dir = torch();
    fs::remove_file(dir.path().join("version.py")).unwrap();
    assert!(matches!(
        inspect(dir.path(), Use::Run),
        Err(Flaw::NoVersion)
    ));
    write(dir.path(), "build-version", "2.11.0+cpu\n");
    assert_eq!(inspect(dir.path(), Use::Run).unwrap().version, "2.11.0+cpu");
}

#[test]
fn another_version_is_named() {
    let dir = torch();
    write(dir.path(), "version.py", "__version__ = '2.9.1+cu128'\n");
    let flaw = inspect(dir.path(), Use::Run).unwrap_err();
    assert_eq!(flaw.to_string(), "its version is 2.9.1+cu128, not 2.11.0");
}

#[test]
fn an_empty_or_missing_library_is_named() {
    for name in ["torch_cpu", "c10"] {
        let dir = torch();
        let path = library(&dir.path().canonicalize().unwrap(), name);
        fs::write(&path, "").unwrap();
        match inspect(dir.path(), Use::Run).unwrap_err() {
            Flaw::Truncated { path: found, .. } => assert_eq!(found, path),
            other => panic!("{other}"),
        }
        fs::remove_file(&path).unwrap();
        match inspect(dir.path(), Use::Run).unwrap_err() {
            Flaw::Missing(found) => assert_eq!(found, path),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_missing_folder_is_named() {
    assert!(matches!(
        inspect(Path::new("/nonexistent/torch"), Use::Run),
        Err(Flaw::Missing(_))
    ));
}

#[test]
fn version_py() {
    let text = "from typing import Optional\n\n__all__ = ['__version__']\n\
                __version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n";
    assert_eq!(parse_version_py(text).as_deref(), Some("2.11.0+cu130"));
    assert_eq!(
        parse_version_py("__version__ = \"2.11.0\"").as_deref(),
        Some("2.11.0")
    );
    assert_eq!(parse_version_py("__version__ = '"), None);
    assert_eq!(parse_version_py("__version__ = ''"), None);
    assert_eq!(parse_version_py("debug = False"), None);
}

#[test]
fn which_versions_are_accepted() {
    for version in ["2.11.0", "2.11.0+cpu", "2.11.0+cu130", "2.11.0.post2"] {
        assert!(is_wanted(version), "{version}");
    }
    for version in [
        "2.11.1",
        "2.11.01",
        "2.11.0a0+git",
        "2.11.0rc1",
        "2.1.0",
        "12.11.0",
        "",
    ] {
        assert!(!is_wanted(version), "{version}");
    }
}
