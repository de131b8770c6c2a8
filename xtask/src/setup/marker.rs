//! The marker `installed.toml`: it says which half of libtorch is in `.libtorch`, and
//! where it came from.

use super::LibtorchHalf;
use super::store::{Installed, Origin};

pub(super) fn text(installed: &Installed) -> String {
    let half = match installed.half {
        LibtorchHalf::Cpu => "cpu",
        LibtorchHalf::Cuda => "cuda",
    };
    let source = match &installed.source {
        Origin::Pip => "pip".to_owned(),
        Origin::Python(python) => format!("python {python}"),
        Origin::Flag => "--libtorch".to_owned(),
    };
    format!(
        "# Written last by `cargo xtask setup`, which removes it first.\n\
         version = '{}'\nhalf = '{half}'\nsource = '{source}'\n",
        installed.torch.version
    )
}

pub(super) fn parse(text: &str) -> (Option<LibtorchHalf>, Option<Origin>) {
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = '"))?;
        line.strip_suffix('\'')
    };
    let half = match value("half") {
        Some("cpu") => Some(LibtorchHalf::Cpu),
        Some("cuda") => Some(LibtorchHalf::Cuda),
        _ => None,
    };
    let source = match value("source") {
        Some("pip") => Some(Origin::Pip),
        Some("--libtorch") => Some(Origin::Flag),
        Some(other) => other
            .strip_prefix("python ")
            .map(|it| Origin::Python(it.to_owned())),
        None => None,
    };
    (half, source)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use launcher::Torch;

    #[test]
    fn a_marker_is_read_back() {
        for source in [
            Origin::Pip,
            Origin::Flag,
            Origin::Python("/a b/it's/python".to_owned()),
        ] {
            for half in [LibtorchHalf::Cpu, LibtorchHalf::Cuda] {
                let torch = Torch {
                    dir: PathBuf::new(),
                    version: "2.11.0+cu130".to_owned(),
                };
                let text = text(&Installed {
                    torch,
                    half,
                    source: source.clone(),
                });
                assert_eq!(parse(&text), (Some(half), Some(source.clone())), "{text}");
            }
        }
    }

    #[test]
    fn a_truncated_marker_is_ignored() {
        assert_eq!(parse(""), (None, None));
        assert_eq!(parse("half = 'cu"), (None, None));
    }
}
