//! Paths in the checkout, and the environment that cargo sets for it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// When cargo runs xtask, it passes the path of xtask's package. If the binary is
    /// started by hand, the path known at compile time is used instead.
    pub(crate) fn find() -> Self {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .parent()
            .map_or_else(|| package.clone(), Path::to_path_buf);
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that `cargo xtask setup` manages.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// The folder of Python packages for `cargo xtask bench --against-pytorch`.
    pub(crate) fn pytorch(&self) -> PathBuf {
        self.root.join(".pytorch")
    }

    /// The value that `.cargo/config.toml` gives `LIBTORCH`.
    pub(crate) fn torch(&self) -> PathBuf {
        self.store().join("torch")
    }

    /// `LIBTORCH` as the user set it. cargo's own value and an empty value do not
    /// count.
    pub(crate) fn user_libtorch(&self) -> Option<PathBuf> {
        self.chosen_by_user(env::var_os("LIBTORCH")?)
    }

    fn chosen_by_user(&self, value: OsString) -> Option<PathBuf> {
        let path = PathBuf::from(value);
        (!path.as_os_str().is_empty() && path != self.torch()).then_some(path)
    }

    /// Variables that cargo set for xtask from `[env]`. They are removed for a cargo that
    /// xtask starts, which sets them again. It thus sees the same environment as a cargo
    /// started by hand, and neither rebuilds what the other has built.
    pub(crate) fn cargo_env(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.user_libtorch().is_none() {
            names.push("LIBTORCH");
        }
        if env::var_os("CPATH").is_some_and(|it| Path::new(&it) == self.before_setup()) {
            names.push("CPATH");
        }
        names
    }

    fn before_setup(&self) -> PathBuf {
        self.root.join("xtask").join("before-setup")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_own_libtorch_does_not_count() {
        let workspace = Checkout {
            root: PathBuf::from("/snug"),
        };
        let chosen = |value: &str| workspace.chosen_by_user(value.into());
        assert_eq!(chosen("/snug/.libtorch/torch"), None);
        assert_eq!(chosen(""), None);
        assert_eq!(
            chosen("/opt/libtorch"),
            Some(PathBuf::from("/opt/libtorch"))
        );
    }
}
