//! Settings on a script's command line: `python train_unet_split.py --root DIR --batch 8`.

use std::path::Path;

use super::counterparts::{self, Counterpart};
use super::{Block, Note, Setting, Value, shortened};

/// A word with the line on which it stands.
type Word = (usize, String);

/// The settings of each command line in a text.
pub(super) fn read(source: &str) -> Vec<Block> {
    let lines = commands(source);
    lines
        .into_iter()
        .filter_map(|words| block(&words))
        .collect()
}

/// Splits a text into commands and these into words, as shells do. A backslash stays what it is unless it
/// ends a line, so that Windows paths survive; `^` and a backtick continue a line as well.
fn commands(source: &str) -> Vec<Vec<Word>> {
    let (mut commands, mut words) = (Vec::new(), Vec::new());
    let mut lines = source.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let continued = line.trim_end().strip_suffix(['\\', '^', '`']);
        words.extend(
            split(continued.unwrap_or(line))
                .into_iter()
                .map(|word| (index + 1, word)),
        );
        if continued.is_none() || lines.peek().is_none() {
            commands.push(std::mem::take(&mut words));
        }
    }
    commands
}

fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            // A comment, or another command.
            None if c == '#' && word.is_none() => break,
            None if matches!(c, ';' | '|' | '&' | '>') => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn block(words: &[Word]) -> Option<Block> {
    let script = words.iter().position(|(_, word)| is_script(word));
    let flags = words.get(script.map_or(0, |index| index + 1)..)?;
    let is_command = script.is_some() || flags.first().is_some_and(|(_, word)| is_flag(word));
    if !is_command {
        return None;
    }
    let mut block = Block {
        line: words.first().map_or(1, |(line, _)| *line),
        is_whole: true,
        ..Block::default()
    };
    let mut rest = flags;
    while let [(line, word), after @ ..] = rest {
        if !is_flag(word) {
            let text = format!(
                "`{}`: a word without a flag, which was not read",
                shortened(word)
            );
            block.notes.push(Note { line: *line, text });
            rest = after;
            continue;
        }
        let num = after.iter().take_while(|(_, word)| !is_flag(word)).count();
        let (values, next) = after.split_at(num);
        block.settings.push(setting(*line, word, values));
        rest = next;
    }
    // Other programs have flags too.
    let is_known = |it: &Setting| counterparts::of(&it.key) != Counterpart::Unknown;
    block.settings.iter().any(is_known).then_some(block)
}

fn is_script(word: &str) -> bool {
    Path::new(word)
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("py"))
}

/// Whether a word is a flag, and not a negative number.
fn is_flag(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    word.starts_with('-') && name.starts_with(char::is_alphabetic)
}

fn setting(line: usize, flag: &str, values: &[Word]) -> Setting {
    let values = values.iter().map(|(_, value)| value.as_str());
    let (flag, values): (&str, Vec<&str>) = match flag.split_once('=') {
        Some((flag, value)) => (flag, std::iter::once(value).chain(values).collect()),
        None => (flag, values.collect()),
    };
    let name = flag.trim_start_matches('-');
    let shown = shortened(&[&[flag], values.as_slice()].concat().join(" "));
    let negated = name.strip_prefix("no-").or(name.strip_prefix("no_"));
    let negated = negated.filter(|it| values.is_empty() && is_key(it));
    let key = negated.unwrap_or(name);
    let typed = |word: &str| {
        if is_key(key) {
            typed(word)
        } else {
            Value::Str(word.to_owned())
        }
    };
    let value = match values.as_slice() {
        [] => Value::Bool(negated.is_none()),
        [word] => typed(word),
        words => Value::List(words.iter().map(|word| typed(word)).collect()),
    };
    Setting {
        key: key.to_owned(),
        shown,
        value: Some(value),
        line,
    }
}

fn is_key(name: &str) -> bool {
    matches!(counterparts::of(name), Counterpart::Key(_))
}

fn typed(word: &str) -> Value {
    let real = || {
        let is_number = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        word.parse().ok().filter(|_| is_number).map(Value::Float)
    };
    match word.to_lowercase().as_str() {
        "true" | "on" | "yes" => Value::Bool(true),
        "false" | "off" | "no" => Value::Bool(false),
        _ => {
            let whole = word.parse().ok().map(Value::Int);
            whole
                .or_else(real)
                .unwrap_or_else(|| Value::Str(word.to_owned()))
        }
    }
}
