//! Where things stand in the checkout, and which environment cargo sets for it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// cargo says where xtask's package lies when it runs xtask. The path known
    /// at compile time stands in when the binary is started by hand.
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

    /// The folder that `cargo xtask setup` owns.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// The folder of Python's packages for `cargo xtask bench --against-pytorch`.
    pub(crate) fn pytorch(&self) -> PathBuf {
        self.root.join(".pytorch")
    }

    /// The value that `.cargo/config.toml` gives `LIBTORCH`.
    pub(crate) fn torch(&self) -> PathBuf {
        self.store().join("torch")
    }

    /// `LIBTORCH` as the user set it: cargo's own value and an empty one are not
    /// the user's.
    pub(crate) fn user_libtorch(&self) -> Option<PathBuf> {
        self.chosen_by_user(env::var_os("LIBTORCH")?)
    }

    fn chosen_by_user(&self, value: OsString) -> Option<PathBuf> {
        let path = PathBuf::from(value);
        (!path.as_os_str().is_empty() && path != self.torch()).then_some(path)
    }

    /// Variables that cargo put there for xtask from `[env]`. A cargo that xtask
    /// starts sets them again, and without them it sees what a cargo started by
    /// hand sees, so that neither rebuilds what the other built.
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
    fn libtorch_of_cargo_is_not_the_users() {
        let workspace = Workspace {
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
