//! `cargo xtask book`: the pages of `docs` as two books, English and Japanese, made by mdBook. `ci` checks the pages
//! without it.
//!
//! A book lies where its pages lie: `guide/ja` in the folder of the English one. So a link or a picture that works in
//! the checkout works in the books too.

mod check;
mod page;
mod translation;

pub(crate) use check::check;

use std::io;
use std::path::{self, Path};
use std::process::{Command, ExitCode};

use launcher::program;

use crate::console::Console;
use crate::dist::{publish, stage_in};
use crate::error::Error;
use crate::files::unreadable;
use crate::workspace::Checkout;
use crate::{flags, run};

const MDBOOK: &str = "mdbook";
/// What `mdbook --version` begins with. Another series may take other settings.
const SERIES: &str = "mdbook v0.5.";

/// The English pages, and the Japanese ones below them.
const ENGLISH: &str = "docs";
const JAPANESE: &str = "guide/ja";

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Book,
    console: &Console,
) -> Result<ExitCode, Error> {
    if flags.stamp {
        for page in translation::stamp(workspace.root())? {
            console.say(format_args!("book: stamped `{page}`"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    require_mdbook(Command::new(MDBOOK).arg("--version"))?;
    let default_out = || workspace.root().join("target").join("book");
    let out = flags.out.clone().unwrap_or_else(default_out);
    let out = path::absolute(&out).map_err(|it| unreadable(&out, it))?;
    let stage = stage_in(&out)?;

    // mdBook empties the folder that it writes to, so the outer book comes first.
    let made = stage.path().join(ENGLISH);
    build(&workspace.root().join(ENGLISH), &made)?;
    let pages = workspace.root().join(ENGLISH).join(JAPANESE);
    build(&pages, &made.join(JAPANESE))?;
    let book = out.join(ENGLISH);
    publish(&made, &book)?;
    for folder in [book.clone(), book.join(JAPANESE)] {
        console.result(folder.join("index.html").display());
    }
    Ok(ExitCode::SUCCESS)
}

fn build(pages: &Path, out: &Path) -> Result<(), Error> {
    let mut mdbook = Command::new(MDBOOK);
    mdbook.arg("build").arg(pages).arg("--dest-dir").arg(out);
    // Its notes name a folder that is gone afterwards.
    mdbook.env("MDBOOK_LOG", "warn");
    if run::succeeds(&mut mdbook)? {
        return Ok(());
    }
    Err(Error::Book {
        pages: pages.to_path_buf(),
    })
}

/// Asks mdBook for its version.
fn require_mdbook(ask: &mut Command) -> Result<(), Error> {
    match program::stdout_of(ask) {
        Ok(said) if said.starts_with(SERIES) => Ok(()),
        Ok(said) => Err(Error::NoMdbook {
            found: Some(said.trim().to_owned()),
        }),
        Err(launcher::Error::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoMdbook { found: None })
        }
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The crates' documentation is compiled and run; the page shows parts of it.
    #[test]
    fn code_on_the_page_about_embedding_is_that_of_the_crates() {
        let checkout = Checkout::find();
        let read = |path: &str| fs::read_to_string(checkout.root().join(path)).unwrap();
        let crates = ["amp", "checkpoint", "layout"];
        let documented: String = crates
            .iter()
            .map(|it| read(&format!("crates/{it}/src/lib.rs")))
            .map(|it| it.replace("//! ", "").replace("//!\n", "\n"))
            .collect();
        for page in ["docs/guide/embedding.md", "docs/guide/ja/embedding.md"] {
            let page = read(page);
            let blocks = page.split("```rust\n").skip(1);
            let blocks: Vec<&str> = blocks.filter_map(|it| it.split("```").next()).collect();
            assert_eq!(blocks.len(), crates.len());
            for block in blocks {
                assert!(
                    documented.contains(block),
                    "not in a crate's documentation:\n{block}"
                );
            }
        }
    }

    #[test]
    fn a_missing_or_old_mdbook_is_an_error_with_the_fix() {
        let said = |line: &str| require_mdbook(Command::new("echo").arg(line));
        assert!(said("mdbook v0.5.4").is_ok());
        let old = said("mdbook v0.4.52").unwrap_err();
        assert_eq!(
            old.to_string(),
            "no mdBook 0.5 found (`mdbook` is `mdbook v0.4.52`)"
        );
        let missing = require_mdbook(&mut Command::new("no-such-mdbook")).unwrap_err();
        assert_eq!(missing.to_string(), "no mdBook 0.5 found");
        for error in [old, missing] {
            assert_eq!(error.exit_code(), 2);
            assert!(error.hint().unwrap().contains("cargo install mdbook"));
        }
    }
}
