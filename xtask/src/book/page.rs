//! What a page of Markdown links to, and what others can link to in it.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A page, as far as links are concerned.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Targets of links and pictures as written, each with its line.
    pub(super) links: Vec<(usize, String)>,
    /// The ids of its headings.
    pub(super) anchors: BTreeSet<String>,
}

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut ids = BTreeMap::new();
        let mut heading: Option<String> = None;
        let parser = Parser::new_ext(text, Options::ENABLE_TABLES);
        for (event, range) in parser.into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = text[..range.start].matches('\n').count() + 1;
                    page.links.push((line, dest_url.into_string()));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let words = heading.take().unwrap_or_default();
                    page.anchors.insert(unique(id(&words), &mut ids));
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                _ => {}
            }
        }
        page
    }
}

/// The id of a heading, as GitHub and mdBook make it.
fn id(heading: &str) -> String {
    let mut id = String::new();
    for it in heading.trim().chars() {
        if it.is_alphanumeric() || it == '-' || it == '_' {
            id.extend(it.to_lowercase());
        } else if it.is_whitespace() {
            id.push('-');
        }
    }
    id
}

/// A second heading of the same words gets `-1`, a third `-2`.
fn unique(id: String, taken: &mut BTreeMap<String, usize>) -> String {
    let count = taken.entry(id.clone()).or_default();
    *count += 1;
    match *count {
        1 => id,
        nth => format!("{id}-{}", nth - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_text_tables_and_pictures_have_lines() {
        let page = Page::parse(
            "[a](a.md#b)\n\n| x |\n|---|\n| [c][d] |\n\n![e](e.svg) `[f](f.md)`\n\n```\n[g](g.md)\n```\n\n[d]: d.md\n",
        );
        let links = [(1, "a.md#b"), (5, "d.md"), (7, "e.svg")];
        assert_eq!(page.links, links.map(|(line, it)| (line, it.to_owned())));
    }

    #[test]
    fn headings_have_the_ids_of_github_and_mdbook() {
        let page = Page::parse(
            "# What `--auto` does, in 2 steps\n## Q & A\n## Masks\n## Masks\n## しきい値（threshold）\n",
        );
        let ids = [
            "masks",
            "masks-1",
            "q--a",
            "what---auto-does-in-2-steps",
            "しきい値threshold",
        ];
        assert_eq!(page.anchors, ids.map(str::to_owned).into());
    }
}
