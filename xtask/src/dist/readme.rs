//! The README of a distribution.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::files::{unreadable, unwritable};
use crate::workspace::Checkout;

use super::contents::{self, DistPart};
use super::elf::Needs;

const TEMPLATE: &str = include_str!("readme.md");
/// The page of the guide with the table of exit codes.
const EXIT_CODES: &str = "docs/guide/runs.md";

/// Writes the README into `folder`.
pub(crate) fn write(
    folder: &Path,
    workspace: &Checkout,
    parts: &[DistPart],
    needs: &Needs,
) -> Result<(), Error> {
    let of_checkout = workspace.root().join(EXIT_CODES);
    let text = fs::read_to_string(&of_checkout).map_err(|it| unreadable(&of_checkout, it))?;
    let path = folder.join("README.md");
    let text = fill(&exit_codes(&text), &contents::table(parts), needs);
    fs::write(&path, text).map_err(|it| unwritable(&path, it))
}

fn fill(exit_codes: &str, contents: &str, needs: &Needs) -> String {
    TEMPLATE
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{torch}", launcher::VERSION)
        .replace("{needs}", &needs.to_string())
        .replace("{exit_codes}", exit_codes)
        .replace("{contents}", contents)
}

/// The table of exit codes, taken from the README of the checkout so that it exists only once.
fn exit_codes(readme: &str) -> String {
    let lines = readme
        .lines()
        .skip_while(|it| !it.starts_with("| exit code"));
    let table: Vec<&str> = lines.take_while(|it| it.starts_with('|')).collect();
    table.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_has_a_table_of_exit_codes() {
        let table = exit_codes(include_str!("../../../docs/guide/runs.md"));
        assert!(table.lines().count() > 4, "{table}");
        assert!(table.contains("\n| 130 |"), "{table}");
    }

    #[test]
    fn no_placeholder_is_left() {
        let text = fill("| 0 | done |", "train  1.0 KiB", &Needs::default());
        assert!(!text.contains(['{', '}']), "{text}");
    }
}
