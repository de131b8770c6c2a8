//! Settings in Python: `CFG = {...}` and what changes it later, or the inside of such a block. Nothing is run.

use tree_sitter::{Node, Parser, Tree};

use super::counterparts::{self, Counterpart};
use super::literal::{children, text, value};
use super::{Block, Note, Setting, Value, shortened};

/// Names that scripts give to their settings.
const NAMES: [&str; 4] = ["CFG", "CONFIG", "cfg", "config"];
/// Settings that the guide's script passes to a function: the function, and its argument.
const ARGUMENTS: [(&str, &str); 2] = [
    ("GradScaler", "init_scale"),
    ("checkpoint", "use_reentrant"),
];
/// Methods that leave a dictionary unchanged.
const READERS: [&str; 5] = ["get", "items", "keys", "values", "copy"];

/// A line that is not Python, counted from 1, and its text.
pub(super) type SyntaxError = (usize, String);

/// Reads the settings of a script or of a part of one; `None` if it has none.
///
/// # Errors
/// The first line that is not Python, if it is in the settings.
pub(super) fn read(source: &str) -> Result<Option<Block>, SyntaxError> {
    let script = script(source)?;
    if script.is_some() || begins_settings(source) {
        return Ok(script);
    }
    // The guide shows the lines alone: `"BATCH": 12,`.
    let within = format!("{} = {{{source}\n}}", NAMES[0]);
    // Text that is not Python is not settings either.
    let lines = self::script(&within).ok().flatten();
    let lines = lines.filter(|block| !block.settings.is_empty());
    Ok(lines.map(|block| Block {
        is_whole: false,
        ..block
    }))
}

fn script(source: &str) -> Result<Option<Block>, SyntaxError> {
    let Some(tree) = parse(source) else {
        return Ok(None);
    };
    let root = tree.root_node();
    let mut definitions = preorder(root).filter_map(|place| {
        let (name, right) = definition(place.node, source)?;
        Some((name, right, place.grandparent))
    });
    // Other dictionaries may have such a name, too.
    let first = definitions.next();
    let mut all = first.into_iter().chain(definitions);
    let first = all.find(|it| has_settings(it.1, source)).or(first);
    if first.is_none()
        && begins_settings(source)
        && let Some(error) = first_error(root, source)
    {
        return Err(error);
    }
    let mut reader = Reader {
        source,
        name: first.map_or(NAMES[0], |(name, ..)| name),
        home: first.and_then(|(_, _, home)| home),
        block: Block {
            line: first.map_or(1, |(_, right, _)| line(right)),
            is_whole: first.is_some(),
            ..Block::default()
        },
    };
    let mut skipped_to = 0;
    for place in preorder(root) {
        if place.node.start_byte() < skipped_to {
            continue;
        }
        if reader.statement(place)? {
            skipped_to = place.node.end_byte();
        } else {
            reader.part(place);
        }
    }
    let block = reader.block;
    Ok((first.is_some() || !block.settings.is_empty()).then_some(block))
}

fn parse(source: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    let language = tree_sitter_python::LANGUAGE.into();
    parser.set_language(&language).ok()?;
    parser.parse(source, None)
}

/// Whether a line begins a block, so that a block that was not found is broken.
fn begins_settings(source: &str) -> bool {
    source.lines().any(|line| {
        let (name, value) = line.split_once('=').unwrap_or_default();
        let name = name.split(':').next().unwrap_or_default().trim();
        let value = value.trim_start();
        NAMES.contains(&name) && (value.starts_with('{') || value.starts_with("dict("))
    })
}

struct Reader<'a> {
    source: &'a str,
    /// The name of the dictionary.
    name: &'a str,
    /// The statements among which it is defined; elsewhere a condition or a call decides what happens.
    home: Option<Node<'a>>,
    block: Block,
}

impl<'a> Reader<'a> {
    /// Reads a statement that defines or changes the settings; false for any other node.
    fn statement(&mut self, place: Place<'a>) -> Result<bool, SyntaxError> {
        let Place { node, parent, .. } = place;
        let is_at_home = node.kind() == "expression_statement" && parent == self.home;
        let Some(inner) = node.named_child(0).filter(|_| is_at_home) else {
            return Ok(false);
        };
        if let Some((_, right)) = definition(inner, self.source).filter(|it| it.0 == self.name) {
            if let Some(error) = first_error(right, self.source) {
                return Err(error);
            }
            let is_argument = |it: &Setting| ARGUMENTS.iter().any(|(_, name)| *name == it.key);
            self.block.settings.retain(is_argument);
            self.entries(right);
            return Ok(true);
        }
        let field = |name| inner.child_by_field_name(name);
        match inner.kind() {
            "assignment" => {
                let (Some(left), Some(right)) = (field("left"), field("right")) else {
                    return Ok(false);
                };
                let is_known =
                    self.subscript(left).is_some() && value(right, self.source).is_some();
                if let Some(key) = self.subscript(left).filter(|_| is_known) {
                    self.push(key, right, line(inner));
                }
                Ok(is_known)
            }
            "augmented_assignment" => {
                let is_ours = field("left").is_some_and(|left| self.is_ours(left));
                let is_union = field("operator").is_some_and(|it| it.kind() == "|=");
                let right = field("right")
                    .filter(|right| is_ours && is_union && is_dictionary(*right, self.source));
                right.inspect(|right| self.entries(*right));
                Ok(right.is_some())
            }
            "call" => Ok(self.update(inner).is_some()),
            _ => Ok(false),
        }
    }

    /// `CFG.update({...})` or `CFG.update(batch=8)`.
    fn update(&mut self, call: Node<'a>) -> Option<()> {
        let function = call.child_by_field_name("function")?;
        let is_update = text(function, self.source) == format!("{}.update", self.name);
        let arguments = call
            .child_by_field_name("arguments")
            .filter(|_| is_update)?;
        match children(arguments).as_slice() {
            [only] if is_dictionary(*only, self.source) => self.entries(*only),
            all if all.iter().all(|it| it.kind() == "keyword_argument") => self.entries(arguments),
            _ => return None,
        }
        Some(())
    }

    /// The entries of a dictionary, of `dict(...)` or of the arguments of a call.
    fn entries(&mut self, node: Node<'a>) {
        let list = node.child_by_field_name("arguments").unwrap_or(node);
        for entry in children(list) {
            let field = |name| entry.child_by_field_name(name);
            let key = match (entry.kind(), field("key").or(field("name"))) {
                ("pair", Some(key)) => match value(key, self.source) {
                    Some(Value::Str(key)) => Some(key),
                    _ => None,
                },
                ("keyword_argument", Some(key)) => Some(text(key, self.source).to_owned()),
                _ => None,
            };
            if let (Some(key), Some(value)) = (key, field("value")) {
                self.push(key, value, line(entry));
            } else {
                let why = "not written out as a plain value, so it was not read";
                self.note(line(entry), text(entry, self.source), why);
            }
        }
    }

    /// Everything else that may change the settings, and settings that are passed to functions.
    fn part(&mut self, place: Place<'a>) {
        if place.node.kind() == "keyword_argument" {
            self.argument(place);
        } else if self.is_ours(place.node) && !self.is_read(place) {
            let start = place.node.start_byte() - place.node.start_position().column;
            let rest = self.source.get(start..).unwrap_or_default();
            let why = "this may change the settings when the script runs, and was not applied";
            self.note(
                line(place.node),
                rest.lines().next().unwrap_or_default(),
                why,
            );
        }
    }

    fn argument(&mut self, place: Place<'a>) -> Option<()> {
        let node = place.node;
        let name = text(node.child_by_field_name("name")?, self.source);
        let call = place.grandparent.filter(|it| it.kind() == "call")?;
        let function = text(call.child_by_field_name("function")?, self.source);
        let function = function.rsplit('.').next()?;
        let argument = node.child_by_field_name("value")?;
        if ARGUMENTS.contains(&(function, name)) && !text(argument, self.source).contains(self.name)
        {
            self.push(name.to_owned(), argument, line(node));
        }
        Some(())
    }

    /// The key in `CFG["batch"]`.
    fn subscript(&self, node: Node<'a>) -> Option<String> {
        let holder = node.child_by_field_name("value")?;
        let key = node.child_by_field_name("subscript")?;
        match value(key, self.source) {
            Some(Value::Str(key)) if self.is_ours(holder) => Some(key),
            _ => None,
        }
    }

    fn is_ours(&self, node: Node<'a>) -> bool {
        node.kind() == "identifier" && text(node, self.source) == self.name
    }

    /// Whether an occurrence of the name only reads the settings, or is another thing of the same name.
    fn is_read(&self, place: Place<'a>) -> bool {
        let (node, Some(parent)) = (place.node, place.parent) else {
            return false;
        };
        let is = |field| parent.child_by_field_name(field) == Some(node);
        match parent.kind() {
            "subscript" if is("value") => !place.is_target,
            "attribute" if is("object") => {
                let method = parent.child_by_field_name("attribute");
                method.is_some_and(|it| READERS.contains(&text(it, self.source)))
            }
            // `x.CFG`, `def f(CFG)`, `import CFG`, `global CFG`, `f(CFG=...)`.
            "attribute" | "parameters" | "dotted_name" | "global_statement" => true,
            "keyword_argument" | "default_parameter" => is("name"),
            _ => false,
        }
    }

    fn push(&mut self, key: String, value_node: Node<'a>, line: usize) {
        let shown = shortened(&format!("{key} = {}", text(value_node, self.source)));
        let value = value(value_node, self.source);
        self.block.settings.push(Setting {
            key,
            shown,
            value,
            line,
        });
    }

    fn note(&mut self, line: usize, written: &str, why: &str) {
        let text = format!("`{}`: {why}", shortened(written));
        let note = Note { line, text };
        if self.block.notes.last() != Some(&note) {
            self.block.notes.push(note);
        }
    }
}

/// The name and the dictionary of `CFG = {...}` or `CFG: dict = dict(...)`.
fn definition<'a>(node: Node<'a>, source: &'a str) -> Option<(&'a str, Node<'a>)> {
    let node = Some(node).filter(|it| it.kind() == "assignment")?;
    let name = text(node.child_by_field_name("left")?, source);
    let right = node.child_by_field_name("right")?;
    (NAMES.contains(&name) && is_dictionary(right, source)).then_some((name, right))
}

/// Whether Snug has a counterpart for a key of the dictionary.
fn has_settings(dictionary: Node<'_>, source: &str) -> bool {
    let list = dictionary.child_by_field_name("arguments");
    children(list.unwrap_or(dictionary))
        .into_iter()
        .any(|entry| {
            let key = entry.child_by_field_name("key");
            let key = key.or(entry.child_by_field_name("name"));
            let key = key.map_or("", |key| text(key, source).trim_matches(['"', '\'']));
            counterparts::of(key) != Counterpart::Unknown
        })
}

fn is_dictionary(node: Node<'_>, source: &str) -> bool {
    let function = node.child_by_field_name("function");
    node.kind() == "dictionary" || function.is_some_and(|it| text(it, source) == "dict")
}

fn first_error(root: Node<'_>, source: &str) -> Option<SyntaxError> {
    // `...` in a dictionary stands for entries that are not shown.
    let is_ellipsis = |it: &Place<'_>| {
        let written = text(it.node, source);
        it.parent
            .is_some_and(|it| it.kind() == "dictionary" || it.is_error())
            && (written.starts_with("...") || written.starts_with('\u{2026}'))
            && !written.contains('\n')
    };
    let mut errors = preorder(root).filter(|it| it.node.is_error() || it.node.is_missing());
    let line = line(errors.find(|it| !is_ellipsis(it))?.node);
    let found = source.lines().nth(line - 1).unwrap_or_default();
    Some((line, shortened(found)))
}

fn line(node: Node<'_>) -> usize {
    node.start_position().row + 1
}

/// A node with what is around it. (`Node::parent` searches from the root each time.)
#[derive(Clone, Copy)]
struct Place<'a> {
    node: Node<'a>,
    parent: Option<Node<'a>>,
    grandparent: Option<Node<'a>>,
    /// Whether a statement assigns to it or deletes it, or does so to a part of it.
    is_target: bool,
}

/// Whether a node is a target, by its field in its parent and by whether that is one.
fn is_target(field: Option<&str>, parent: Node<'_>, parent_is_target: bool) -> bool {
    match parent.kind() {
        "assignment" | "augmented_assignment" | "for_statement" | "for_in_clause" => {
            field == Some("left")
        }
        "delete_statement" => true,
        "subscript" => parent_is_target && field == Some("value"),
        "attribute" => parent_is_target && field == Some("object"),
        "pattern_list" | "tuple_pattern" | "list_pattern" | "expression_list" => parent_is_target,
        _ => false,
    }
}

/// All nodes, each before its children, without recursion.
fn preorder(root: Node<'_>) -> impl Iterator<Item = Place<'_>> {
    let (mut cursor, mut is_done) = (root.walk(), false);
    let mut around: Vec<(Node<'_>, bool)> = Vec::new();
    std::iter::from_fn(move || {
        if is_done {
            return None;
        }
        let node = cursor.node();
        let mut above = around.iter().rev().copied();
        let parent = above.next();
        let place = Place {
            node,
            parent: parent.map(|it| it.0),
            grandparent: above.next().map(|it| it.0),
            is_target: parent
                .is_some_and(|(parent, is)| is_target(cursor.field_name(), parent, is)),
        };
        if cursor.goto_first_child() {
            around.push((node, place.is_target));
        } else {
            while !is_done && !cursor.goto_next_sibling() {
                is_done = !cursor.goto_parent();
                around.pop();
            }
        }
        Some(place)
    })
}
