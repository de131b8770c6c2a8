//! The pages of `docs`, checked without mdBook: each is listed, each link leads somewhere, and each translation is of
//! the current page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::files::unreadable;

use super::page::Page;
use super::translation;

/// Folders end with a slash, so that a page's path is the folder and its name.
const DOCS: &str = "docs/";
pub(super) const GUIDE: &str = "docs/guide/";
pub(super) const TRANSLATED: &str = "docs/guide/ja/";
pub(super) const SUMMARY: &str = "SUMMARY.md";

/// All violations, one line each. `files` are the files of the checkout, relative to `root`.
pub(crate) fn check(root: &Path, files: &[String]) -> Result<Vec<String>, Error> {
    let book = Book::read(root, files)?;
    let mut violations = book.unlisted();
    violations.extend(book.dead_links());
    violations.extend(book.translations());
    Ok(violations)
}

/// The pages of `docs` and of the root: the text of each, and what it links to.
struct Book<'a> {
    files: BTreeSet<&'a str>,
    pages: BTreeMap<&'a str, (String, Page)>,
}

impl<'a> Book<'a> {
    fn read(root: &Path, files: &'a [String]) -> Result<Self, Error> {
        let mut pages = BTreeMap::new();
        // git also lists files that were removed and not committed yet.
        let files = files.iter().map(String::as_str);
        let files: BTreeSet<&str> = files.filter(|it| root.join(it).is_file()).collect();
        for file in &files {
            let is_here = file.starts_with(DOCS) || !file.contains('/');
            if !is_here || Path::new(file).extension().is_none_or(|it| it != "md") {
                continue;
            }
            let path = root.join(file);
            let text = fs::read_to_string(&path).map_err(|it| unreadable(&path, it))?;
            let page = Page::parse(&text);
            pages.insert(*file, (text, page));
        }
        Ok(Self { files, pages })
    }

    /// Pages that their book does not show.
    fn unlisted(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for page in self.pages.keys().filter(|it| it.starts_with(DOCS)) {
            let folder = if page.starts_with(TRANSLATED) {
                TRANSLATED
            } else {
                DOCS
            };
            let summary = format!("{folder}{SUMMARY}");
            let listed = self.pages.get(summary.as_str());
            let is_listed = listed.is_some_and(|(_, it)| {
                let mut links = it.links.iter();
                links.any(|(_, link)| page.strip_prefix(folder) == Some(link))
            });
            if !is_listed && *page != summary {
                violations.push(format!("{page} is not in {summary}: add it"));
            }
        }
        violations
    }

    fn dead_links(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (page, (_, parsed)) in &self.pages {
            for (line, link) in &parsed.links {
                if let Some(problem) = self.problem(page, link) {
                    violations.push(format!("{page}:{line}: {problem}"));
                }
            }
        }
        violations
    }

    /// What is wrong with a link of `page`.
    fn problem(&self, page: &str, link: &str) -> Option<String> {
        let has_scheme = link.split_once(':').is_some_and(|(scheme, _)| {
            scheme
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || it == '+')
        });
        if has_scheme {
            return None;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let Some(target) = resolve(page, path) else {
            return Some(format!("`{link}` leads out of the checkout"));
        };
        if page.starts_with(DOCS) && !target.starts_with(DOCS) {
            return Some(format!(
                "`{link}` leads out of `docs`, where the book ends: name the file instead"
            ));
        }
        if !self.files.contains(target.as_str()) {
            return Some(format!("`{link}` leads to no file"));
        }
        let anchors = self.pages.get(target.as_str()).map(|(_, it)| &it.anchors);
        let is_found = anchor.is_empty() || anchors.is_some_and(|it| it.contains(anchor));
        (!is_found).then(|| format!("`{link}`: {target} has no heading `#{anchor}`"))
    }

    fn translations(&self) -> Vec<String> {
        let names = self.pages.keys().filter_map(|page| {
            let name = page
                .strip_prefix(TRANSLATED)
                .or_else(|| page.strip_prefix(GUIDE))?;
            (name != SUMMARY && !name.contains('/')).then_some(name)
        });
        let names: BTreeSet<&str> = names.collect();
        let text = |folder: &str, name: &str| {
            let page = self.pages.get(format!("{folder}{name}").as_str());
            page.map(|(text, _)| text.as_str())
        };
        names
            .into_iter()
            .filter_map(|name| {
                translation::violation(name, text(GUIDE, name), text(TRANSLATED, name))
            })
            .collect()
    }
}

/// The file that `path` on `page` leads to, or `None` if it leaves the checkout. An empty path is the page itself.
fn resolve(page: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A checkout with two pages in two languages. Each sabotage changes or removes one file.
    struct Sample {
        dir: TempDir,
        files: BTreeMap<&'static str, &'static str>,
    }

    impl Sample {
        fn new() -> Self {
            let files = [
                ("README.md", "[guide](docs/guide/a.md#the-end) [x](x.rs)"),
                ("x.rs", ""),
                ("docs/SUMMARY.md", "- [A](guide/a.md)\n- [B](guide/b.md)\n"),
                ("docs/images/c.svg", "<svg/>"),
                (
                    "docs/guide/a.md",
                    "# A\n## The end\n[b](b.md) ![c](../images/c.svg) [d](https://d.e)",
                ),
                ("docs/guide/b.md", "# B\n[here](#b)"),
                ("docs/guide/ja/SUMMARY.md", "- [A](a.md)\n- [B](b.md)\n"),
                ("docs/guide/ja/a.md", "# あ\n[b](b.md) [c](../b.md#b)"),
                ("docs/guide/ja/b.md", "# い\n"),
            ];
            let sample = Self {
                dir: tempfile::tempdir().unwrap(),
                files: files.into(),
            };
            sample.write();
            translation::stamp(sample.dir.path()).unwrap();
            sample
        }

        fn write(&self) {
            for (file, text) in &self.files {
                let path = self.dir.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }

        fn violations(&self) -> Vec<String> {
            let files: Vec<String> = self.files.keys().map(|it| (*it).to_owned()).collect();
            check(self.dir.path(), &files).unwrap()
        }

        /// The violations after `file` was replaced; with `None`, removed.
        fn sabotaged(mut self, file: &'static str, text: Option<&str>) -> Vec<String> {
            match text {
                Some(text) => {
                    self.files.entry(file).or_default();
                    fs::write(self.dir.path().join(file), text).unwrap();
                }
                None => fs::remove_file(self.dir.path().join(file)).unwrap(),
            }
            self.violations()
        }
    }

    #[test]
    fn a_sound_book_has_no_violations() {
        assert_eq!(Sample::new().violations(), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_violation_is_found() {
        let cases = [
            (
                "docs/SUMMARY.md",
                Some("- [A](guide/a.md)\n"),
                "docs/guide/b.md is not in docs/SUMMARY.md: add it",
            ),
            (
                "docs/guide/ja/SUMMARY.md",
                Some("- [B](b.md)\n"),
                "docs/guide/ja/a.md is not in docs/guide/ja/SUMMARY.md: add it",
            ),
            (
                "docs/images/c.svg",
                None,
                "docs/guide/a.md:3: `../images/c.svg` leads to no file",
            ),
            (
                "README.md",
                Some("\n[guide](docs/guide/a.md#end)"),
                "README.md:2: `docs/guide/a.md#end`: docs/guide/a.md has no heading `#end`",
            ),
            (
                "README.md",
                Some("[guide](../a.md)"),
                "README.md:1: `../a.md` leads out of the checkout",
            ),
            (
                "docs/guide/ja/b.md",
                None,
                "docs/guide/b.md has no translation: write docs/guide/ja/b.md",
            ),
            (
                "docs/guide/b.md",
                Some("# B\n[here](#b) New."),
                "docs/guide/ja/b.md was translated from an older docs/guide/b.md: update it, and its first line with \
                 `cargo xtask book --stamp`",
            ),
            (
                "docs/guide/ja/b.md",
                Some("# い\n"),
                "docs/guide/ja/b.md does not say in its first line what it translates: `cargo xtask book --stamp` adds it",
            ),
            (
                "docs/guide/ja/c.md",
                Some("# う\n"),
                "docs/guide/ja/c.md translates no page: remove it, or write docs/guide/c.md",
            ),
        ];
        for (file, text, wanted) in cases {
            let found = Sample::new().sabotaged(file, text);
            assert!(found.iter().any(|it| it == wanted), "{wanted}\n{found:#?}");
        }
    }

    #[test]
    fn a_link_out_of_the_book_is_found() {
        let found = Sample::new().sabotaged("docs/guide/b.md", Some("# B\n[r](../../README.md)"));
        let wanted = "docs/guide/b.md:2: `../../README.md` leads out of `docs`";
        assert!(found.iter().any(|it| it.starts_with(wanted)), "{found:#?}");
    }
}
