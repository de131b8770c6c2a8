//! Settings of Python scripts as TOML for `--config`, with a note on everything that has no counterpart.

mod assemble;
mod command;
mod counterparts;
mod literal;
mod python;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::error::{Error, Result};
use literal::Value;

/// The settings of one block, ready to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The line on which the block begins, counted from 1.
    pub line: usize,
    /// The name of the file that `command` expects `toml` in, such as `train.toml`.
    pub file: String,
    /// A file for `--config`, which holds only the keys that the block sets.
    pub toml: String,
    /// The words of the command that trains with it; `DIR` stands for a folder that the block does not name.
    pub command: Vec<String>,
    /// What was not converted, or means something else in Snug, in the order of the lines.
    pub notes: Vec<Note>,
}

/// A remark on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line, counted from 1.
    pub line: usize,
    /// The setting as it is written there, and what became of it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// A setting as it was read.
#[derive(Clone, Debug)]
struct Setting {
    /// Its name in the script.
    key: String,
    /// The whole setting as it is written there, for messages.
    shown: String,
    /// Its value; `None` if the script computes it.
    value: Option<Value>,
    line: usize,
}

/// The settings that were read from one block.
#[derive(Clone, Debug, Default)]
struct Block {
    line: usize,
    /// Whether it is all that the script sets, and not a few lines of it.
    is_whole: bool,
    settings: Vec<Setting>,
    notes: Vec<Note>,
}

/// Converts the settings in `text`: a Python script with `CFG = {...}`, such a block or the lines in it, command
/// lines of a script, or a Markdown page with any of these in fences. `name` is the text's file name, for
/// messages; its extension tells Markdown and Python apart.
///
/// # Errors
/// [`Error::NoSettings`], [`Error::Syntax`] in the block itself, and [`Error::Refused`]. Among other blocks, one
/// with such an error is left out with a note; so is a single setting that Snug does not accept.
pub fn settings(text: &str, name: &str) -> Result<Vec<Converted>> {
    let (mut blocks, mut errors) = (Vec::new(), Vec::new());
    for (offset, part) in parts(text, name) {
        match blocks_of(part) {
            Ok(found) => blocks.extend(found.into_iter().map(|block| block.moved_by(offset))),
            Err((line, found)) => errors.push(Error::Syntax {
                name: name.to_owned(),
                line: line + offset,
                found,
            }),
        }
    }
    let num = blocks.len();
    let mut converted = Vec::new();
    for (index, block) in blocks.into_iter().enumerate() {
        let number = (num > 1).then_some(index + 1);
        match assemble::assemble(block, name, number) {
            Ok(it) => converted.push(it),
            Err(error) => errors.push(error),
        }
    }
    if converted.is_empty() {
        let name = name.to_owned();
        let none = Error::NoSettings { name };
        return Err(errors.into_iter().next().unwrap_or(none));
    }
    for error in &errors {
        note(error, &mut converted);
    }
    Ok(converted)
}

/// Notes an error of another block with the block before it, or with the first one.
fn note(error: &Error, converted: &mut [Converted]) {
    let (line, what) = match error {
        Error::Syntax { line, found, .. } => (*line, format!("not valid Python near `{found}`")),
        Error::Refused { line, source, .. } => {
            (*line, format!("Snug refuses these settings: {source}"))
        }
        _ => return,
    };
    let before = converted.iter().rposition(|it| it.line < line);
    if let Some(block) = converted.get_mut(before.unwrap_or(0)) {
        let text = format!("{what}; this block was left out");
        block.notes.push(Note { line, text });
        block.notes.sort_by_key(|note| note.line);
    }
}

fn blocks_of(part: &str) -> std::result::Result<Vec<Block>, python::SyntaxError> {
    let script = python::read(part)?;
    Ok(script.map_or_else(|| command::read(part), |block| vec![block]))
}

impl Block {
    fn moved_by(mut self, lines: usize) -> Self {
        self.line += lines;
        let settings = self.settings.iter_mut().map(|it| &mut it.line);
        let notes = self.notes.iter_mut().map(|it| &mut it.line);
        settings.chain(notes).for_each(|line| *line += lines);
        self
    }
}

/// The fenced blocks of a Markdown page, or the whole text, each with the number of lines before it.
fn parts<'a>(text: &'a str, name: &str) -> Vec<(usize, &'a str)> {
    let extension = name.rsplit('.').next().unwrap_or_default().to_lowercase();
    let has_fences = text.lines().any(|line| fence(line).is_some());
    let is_page =
        matches!(extension.as_str(), "md" | "markdown") || (extension != "py" && has_fences);
    if !is_page {
        return vec![(0, text)];
    }
    let mut parts = Vec::new();
    let (mut open, mut at) = (None, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let after = at + line.len();
        match (open, fence(line)) {
            (None, Some(fence)) => open = Some((fence, index + 1, after)),
            (Some((opened, first, start)), Some(closing)) if closing.starts_with(opened) => {
                parts.push((first, &text[start..at]));
                open = None;
            }
            _ => {}
        }
        at = after;
    }
    // An unclosed fence reaches to the end.
    parts.extend(open.map(|(_, first, start)| (first, &text[start..])));
    parts
}

/// The fence that a line opens or closes.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line
        .chars()
        .next()
        .filter(|mark| matches!(mark, '`' | '~'))?;
    let end = line.find(|c| c != mark).unwrap_or(line.len());
    (end >= 3).then(|| &line[..end])
}

/// Text of a script as one line of moderate length.
fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    // No more than is shown, with room for indentation.
    let start: String = text.chars().take(4 * MAX_CHARS).collect();
    config::one_line(&start, MAX_CHARS)
}
