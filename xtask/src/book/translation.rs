//! Which English page a Japanese page translates, and whether that page has changed since: its first line says so.

use std::fs;
use std::path::Path;

use bench::readme;
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::files::{sorted, unreadable, unwritable};

use super::check::{GUIDE, SUMMARY, TRANSLATED};

/// Hex digits of a page's checksum.
const NUM_DIGITS: usize = 12;

/// Violations of one pair: the page of the guide called `name`, and its translation. Each is its text, or
/// `None` if there is none.
pub(super) fn violation(
    name: &str,
    page: Option<&str>,
    translated: Option<&str>,
) -> Option<String> {
    match (page, translated) {
        (Some(page), Some(translated)) => {
            let found = translated.lines().next().and_then(|it| stamped(name, it));
            match found {
                None => Some(format!(
                    "{TRANSLATED}{name} does not say in its first line what it translates: \
                     `cargo xtask book --stamp` adds it"
                )),
                Some(found) if found != checksum(page) => Some(format!(
                    "{TRANSLATED}{name} was translated from an older {GUIDE}{name}: update it, and its first line with \
                     `cargo xtask book --stamp`"
                )),
                Some(_) => None,
            }
        }
        (Some(_), None) => Some(format!(
            "{GUIDE}{name} has no translation: write {TRANSLATED}{name}"
        )),
        (None, Some(_)) => Some(format!(
            "{TRANSLATED}{name} translates no page: remove it, or write {GUIDE}{name}"
        )),
        (None, None) => None,
    }
}

/// Writes the checksum of each English page into the first line of its translation. Returns the pages that changed.
pub(super) fn stamp(root: &Path) -> Result<Vec<String>, Error> {
    let mut changed = Vec::new();
    for path in sorted(&root.join(TRANSLATED))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_page = path.extension().is_some_and(|it| it == "md") && name != SUMMARY;
        let original = root.join(GUIDE).join(name.as_ref());
        if !is_page || !original.is_file() {
            continue;
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|it| unreadable(path, it));
        let (page, translated) = (read(&original)?, read(&path)?);
        let text = with_stamp(&name, &page, &translated);
        if text != translated {
            fs::write(&path, text).map_err(|it| unwritable(&path, it))?;
            changed.push(format!("{TRANSLATED}{name}"));
        }
    }
    Ok(changed)
}

fn with_stamp(name: &str, page: &str, translated: &str) -> String {
    let line = format!("{}{} -->", prefix(name), checksum(page));
    let rest = match translated.split_once('\n') {
        Some((first, rest)) if stamped(name, first).is_some() => rest.trim_start_matches('\n'),
        _ => translated,
    };
    format!("{line}\n\n{rest}")
}

fn prefix(name: &str) -> String {
    format!("<!-- {GUIDE}{name} at ")
}

/// The checksum in the first line of a translation of `name`.
fn stamped<'a>(name: &str, line: &'a str) -> Option<&'a str> {
    line.strip_prefix(&prefix(name))?.strip_suffix(" -->")
}

/// The checksum of a page, without figures that a command makes: translations link to them.
fn checksum(page: &str) -> String {
    let without_figures = readme::replace(page, "");
    let digest = Sha256::digest(without_figures.as_deref().unwrap_or(page));
    let mut hex = format!("{digest:x}");
    hex.truncate(NUM_DIGITS);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_follows_the_page() {
        let page = "# Data\n\nOld.\n";
        let first = with_stamp("data.md", page, "# データ\n");
        assert_eq!(
            first,
            format!(
                "<!-- docs/guide/data.md at {} -->\n\n# データ\n",
                checksum(page)
            )
        );
        assert_eq!(violation("data.md", Some(page), Some(&first)), None);
        assert_eq!(with_stamp("data.md", page, &first), first);

        let newer = "# Data\n\nNew.\n";
        let found = violation("data.md", Some(newer), Some(&first)).unwrap();
        assert!(
            found.starts_with(
                "docs/guide/ja/data.md was translated from an older docs/guide/data.md"
            ),
            "{found}"
        );
        let second = with_stamp("data.md", newer, &first);
        assert_eq!(violation("data.md", Some(newer), Some(&second)), None);
    }

    #[test]
    fn figures_that_a_command_makes_do_not_count() {
        let page = |figure: &str| format!("a\n{}\n{figure}\n{}\nb", readme::BEGIN, readme::END);
        assert_eq!(checksum(&page("1")), checksum(&page("2")));
        assert_ne!(checksum(&page("1")), checksum(&page("1").replace('b', "c")));
    }

    #[test]
    fn the_stamp_of_another_page_is_none() {
        let translated = with_stamp("runs.md", "x", "y");
        assert!(violation("data.md", Some("x"), Some(&translated)).is_some());
        assert!(violation("data.md", Some("x"), None).is_some());
        assert!(violation("data.md", None, Some(&translated)).is_some());
    }
}
