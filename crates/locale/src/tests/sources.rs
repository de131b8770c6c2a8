//! The texts of the sources: literals, the help of commands, the templates of pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Folders and files without texts that the programs show: tables, what answers another program, what writes pages of
/// measurements or reads such, and the tools of developers.
const NOT_SHOWN: [&str; 21] = [
    "crates/bench/src/claims.rs",
    "crates/bench/src/fixture.rs",
    "crates/bench/src/gpu/",
    "crates/bench/src/host.rs",
    "crates/bench/src/markdown.rs",
    "crates/bench/src/readme.rs",
    "crates/bench/src/scatter.rs",
    "crates/kernels/",
    "crates/locale/",
    "crates/machine/src/cards/",
    "crates/python/",
    "crates/standin/",
    "crates/train/src/lab/bench_worker/",
    "xtask/src/bench/",
    "xtask/src/book/",
    "xtask/src/ci/",
    "xtask/src/dist/",
    "xtask/src/flags.rs",
    "xtask/src/gpu.rs",
    "xtask/src/release.rs",
    "xtask/src/wheel/",
];
/// Macros whose texts are for developers.
const FOR_DEVELOPERS: [&str; 9] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "panic",
    "unreachable",
    "expect",
];
/// Attributes with texts for people.
const FOR_PEOPLE: [&str; 5] = ["error", "arg", "command", "value", "clap"];
/// Traits whose implementations show the documentation of a type.
const OF_CLAP: [&str; 4] = ["Args", "Parser", "Subcommand", "ValueEnum"];

/// Texts, each with the first file that has it, in the order of the files.
pub(super) fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["crates", "xtask/src"] {
        list(&root.join(folder), &mut files);
    }
    files.sort();
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap().display().to_string();
        if NOT_SHOWN.iter().any(|it| path.starts_with(it)) || path.contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let found = if file.extension().is_some_and(|it| it == "html") {
            of_template(&text)
        } else if path.contains("/src/") {
            of_source(&text)
        } else {
            continue;
        };
        for text in found {
            if seen.insert(text.clone()) {
                all.push((path.clone(), text));
            }
        }
    }
    all
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files);
        } else if path
            .extension()
            .is_some_and(|it| it == "rs" || it == "html")
        {
            files.push(path);
        }
    }
}

/// Texts between the tags of a template. What a template fills in is a place.
fn of_template(template: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = template;
    let mut text = String::new();
    while let Some(next) = rest.chars().next() {
        let ends = [
            ("<style>", "</style>"),
            ("{#", "#}"),
            ("{%", "%}"),
            ("<", ">"),
            ("{{", "}}"),
        ];
        let skipped = ends.iter().find_map(|(open, close)| {
            let end = rest.strip_prefix(open)?.find(close)? + open.len() + close.len();
            Some((*open, end))
        });
        match skipped {
            Some(("{{", end)) => {
                text.push_str("{}");
                rest = &rest[end..];
            }
            Some((_, end)) => {
                texts.push(std::mem::take(&mut text));
                rest = &rest[end..];
            }
            None => {
                text.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    let texts = texts.iter().map(|it| it.trim().to_owned());
    texts.filter(|it| words(it).count() > 0).collect()
}

fn of_source(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    walk(source.parse().unwrap(), false, &mut texts);
    texts
}

/// Collects the texts of `tokens`, in the order of the source. `is_help` tells whether documentation is shown.
fn walk(tokens: TokenStream, is_help: bool, texts: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    // The attributes of the item that follows.
    let mut docs = Vec::new();
    let (mut is_test, mut is_of_clap) = (false, false);
    let mut word = String::new();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(it) if it.as_char() == '#' => {
                // `//!` is about the file.
                if tokens.next_if(|it| it.to_string() == "!").is_some() {
                    tokens.next();
                }
                let Some(TokenTree::Group(attribute)) = tokens.peek() else {
                    continue;
                };
                let text = attribute.stream().to_string();
                is_test |= text == "cfg (test)" || text == "cfg(test)" || text == "test";
                is_of_clap |=
                    text.starts_with("derive") && OF_CLAP.iter().any(|it| text.contains(it));
                let mut inner = attribute.stream().into_iter();
                let name = inner.next().map_or_else(String::new, |it| it.to_string());
                if name == "doc" {
                    docs.extend(inner.filter_map(|it| value(&it)));
                } else if FOR_PEOPLE.contains(&name.as_str()) {
                    walk(attribute.stream(), false, texts);
                }
                tokens.next();
            }
            TokenTree::Group(group) => {
                let ends_item = group.delimiter() == Delimiter::Brace;
                if !is_test && !FOR_DEVELOPERS.contains(&word.as_str()) {
                    let shows = is_help || (is_of_clap && ends_item);
                    if shows {
                        paragraphs(&docs, texts);
                    }
                    walk(group.stream(), shows, texts);
                }
                word.clear();
                if ends_item {
                    docs.clear();
                    (is_test, is_of_clap) = (false, false);
                }
            }
            TokenTree::Punct(it) if matches!(it.as_char(), ';' | ',') => {
                if is_help {
                    paragraphs(&docs, texts);
                }
                docs.clear();
                if it.as_char() == ';' {
                    (is_test, is_of_clap) = (false, false);
                }
                word.clear();
            }
            TokenTree::Punct(it) if it.as_char() == '!' => {}
            TokenTree::Punct(_) => word.clear(),
            TokenTree::Ident(it) => word = it.to_string(),
            TokenTree::Literal(_) => {
                if let Some(text) = value(&token).filter(|it| is_text(it)) {
                    // Lines are looked up one by one.
                    texts.extend(
                        text.split('\n')
                            .map(|it| it.trim().to_owned())
                            .filter(|it| is_text(it)),
                    );
                }
            }
        }
    }
    if is_help {
        paragraphs(&docs, texts);
    }
}

/// The paragraphs of documentation, as `clap` makes help of them.
fn paragraphs(docs: &[String], texts: &mut Vec<String>) {
    let lines: Vec<_> = docs.iter().map(|it| it.trim()).collect();
    for paragraph in lines.split(|it| it.is_empty()) {
        let text = paragraph.join(" ");
        let text = text.strip_suffix('.').unwrap_or(&text);
        if words(text).count() > 0 {
            texts.push(text.to_owned());
        }
    }
}

/// The value of a string literal.
fn value(token: &TokenTree) -> Option<String> {
    let literal = syn::parse_str::<syn::LitStr>(&token.to_string()).ok()?;
    Some(literal.value())
}

/// Whether people read it: it has words with a space between them, outside of code and places.
fn is_text(text: &str) -> bool {
    let is_code =
        text.starts_with(['<', '.', '#', '/']) || text.contains("=\"") || text.contains("::");
    let num_places = text.matches('{').count();
    let num_words = words(text).count();
    !is_code && text.trim().contains(' ') && (num_words > 1 || (num_words == 1 && num_places > 0))
}

/// Words outside of code and places.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split('`').step_by(2);
    let prose = prose.flat_map(|it| {
        it.split('{').enumerate().map(|(nth, part)| {
            if nth == 0 {
                part
            } else {
                part.split_once('}').map_or("", |it| it.1)
            }
        })
    });
    prose
        .flat_map(|it| it.split(|it: char| !it.is_alphabetic()))
        .filter(|it| it.len() > 1 && it.chars().any(char::is_lowercase) && !is_unit(it))
}

fn is_unit(word: &str) -> bool {
    ["GiB", "MiB", "KiB", "ms", "IoU", "Dice", "img"].contains(&word)
}
