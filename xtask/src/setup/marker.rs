//! The marker `installed.toml`: it says which half of libtorch is in `.libtorch`, and
//! where it came from.

use super::Half;
use super::store::{Installed, Source};

pub(super) fn text(installed: &Installed) -> String {
    let half = match installed.half {
        Half::Cpu => "cpu",
        Half::Cuda => "cuda",
    };
    let source = match &installed.source {
        Source::Pip => "pip".to_owned(),
        Source::Python(python) => format!("python {python}"),
        Source::Flag => "--libtorch".to_owned(),
    };
    format!(
        "# Written last by `cargo xtask setup`, which removes it first.\n\
         version = '{}'\nhalf = '{half}'\nsource = '{source}'\n",
        installed.torch.version
    )
}

pub(super) fn parse(text: &str) -> (Option<Half>, Option<Source>) {
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = '"))?;
        line.strip_suffix('\'')
    };
    let half = match value("half") {
        Some("cpu") => Some(Half::Cpu),
        Some("cuda") => Some(Half::Cuda),
        _ => None,
    };
    let source = match value("source") {
        Some("pip") => Some(Source::Pip),
        Some("--libtorch") => Some(Source::Flag),
        Some(other) => other
            .strip_prefix("python ")
            .map(|it| Source::Python(it.to_owned())),
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
            Source::Pip,
            Source::Flag,
            Source::Python("/a b/it's/python".to_owned()),
        ] {
            for half in [Half::Cpu, Half::Cuda] {
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
