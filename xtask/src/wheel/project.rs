//! The Python project that maturin packs: the files of `crates/python`, with the programs inside the
//! package. A copy, so that the checkout stays clean.

use std::fs;
use std::path::Path;

use crate::dist::build::Program;
use crate::dist::contents::{self, DistPart};
use crate::error::Error;
use crate::files::{copy, unreadable, unwritable};
use crate::workspace::Checkout;

/// The crate of the module, in the checkout.
pub(super) const CRATE: &str = "crates/python";

/// The line of `pyproject.toml` that names the crate.
const MANIFEST: &str = "manifest-path = \"Cargo.toml\"";

/// Fills `stage`.
pub(super) fn lay_out(
    stage: &Path,
    workspace: &Checkout,
    programs: &[Program],
) -> Result<Vec<DistPart>, Error> {
    let of_crate = workspace.root().join(CRATE);
    let package = stage.join("python").join("snug");
    contents::copy_folder(&of_crate.join("python"), &stage.join("python"))?;
    let mut parts = contents::programs(&package, programs)?;
    parts.extend(contents::licences(stage, workspace)?);
    copy(&of_crate.join("README.md"), &stage.join("README.md"))?;
    let from = of_crate.join("pyproject.toml");
    let text = fs::read_to_string(&from).map_err(|it| unreadable(&from, it))?;
    let to = stage.join("pyproject.toml");
    let text = with_manifest(&text, &of_crate.join("Cargo.toml"));
    fs::write(&to, text).map_err(|it| unwritable(&to, it))?;
    Ok(parts)
}

/// The project with the path of the crate, which is elsewhere now.
fn with_manifest(project: &str, path: &Path) -> String {
    let path = path.display().to_string();
    let path = path.replace('\\', "\\\\").replace('"', "\\\"");
    project.replace(MANIFEST, &format!("manifest-path = \"{path}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::build;
    use crate::wheel::tools;

    const PROJECT: &str = include_str!("../../../crates/python/pyproject.toml");

    #[test]
    fn versions_are_said_alike() {
        let torch = launcher::VERSION;
        assert!(PROJECT.contains(&format!("dependencies = [\"torch=={torch}\"]")));
        assert!(PROJECT.contains(&format!("requires = [\"{}\"]", tools::MATURIN)));
    }

    #[cfg(unix)]
    #[test]
    fn the_programs_lie_in_the_package() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let [built, stage] = ["built", "stage"].map(|it| dir.path().join(it));
        for folder in [&built, &stage] {
            fs::create_dir(folder).unwrap();
        }
        for name in ["snug", "snug-launcher"] {
            fs::write(built.join(name), name).unwrap();
        }
        let names = [("snug", "snug-launcher"), ("libexec/snug", "snug")];
        let programs = build::in_folder(&built, &names);
        let parts = lay_out(&stage, &Checkout::find(), &programs).unwrap();
        let names: Vec<&str> = parts.iter().map(|it| it.name).collect();
        assert_eq!(
            names,
            ["snug", "libexec/snug", "LICENSE-APACHE", "LICENSE-MIT"]
        );
        let program = stage.join("python/snug/libexec/snug");
        assert_eq!(fs::read_to_string(&program).unwrap(), "snug");
        let mode = fs::metadata(&program).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        for file in ["__init__.py", "py.typed"] {
            assert!(stage.join("python/snug").join(file).is_file(), "{file}");
        }
        let project = fs::read_to_string(stage.join("pyproject.toml")).unwrap();
        assert!(!project.contains(MANIFEST) && project.contains("crates/python/Cargo.toml\""));
    }
}
