//! Help in another language than `clap`'s: its own words, and lines that no space breaks.

use locale::{Language, translated};
use terminal_size::terminal_size;
use unicode_linebreak::linebreaks;
use unicode_width::UnicodeWidthStr as _;

/// What `clap` writes after a text of ours.
const NOTES: [&str; 5] = [
    "[default:",
    "[possible values:",
    "[aliases:",
    "[alias:",
    "[env:",
];
/// Columns where there is no terminal, and the most that lines take: `clap`'s figure.
const COLUMNS: usize = 100;

/// `help` as `clap` wrote it for an unlimited width, in the program's language and as wide as the terminal.
pub(super) fn in_language(help: &str) -> String {
    let columns = terminal_size().map_or(COLUMNS, |(width, _)| usize::from(width.0).min(COLUMNS));
    let mut lines = Vec::new();
    for line in help.lines() {
        // Our own texts are translated already, but for those of values, and names of commands stay.
        let is_claps = !line.starts_with(' ') || line.contains("  Print ") || line.ends_with(':');
        let is_of_value = line.trim_start().starts_with("- ");
        let start = match (is_claps, is_of_value) {
            (_, true) => line.find(": ").map_or(line.len(), |at| at + 2),
            (true, _) => line.rfind("  ").map_or(0, |at| at + 2),
            (false, false) => line.len(),
        };
        let (start, text) = line.split_at(start);
        let line = with_notes(&format!("{start}{}", translated(text)));
        wrap(&line, columns, &mut lines);
    }
    lines.join("\n") + "\n"
}

/// What `clap` writes after a text of ours, in the program's language.
pub(super) fn with_notes(text: &str) -> String {
    NOTES.iter().fold(text.to_owned(), |text, note| {
        text.replace(note, Language::spoken().word("", note))
    })
}

/// Breaks a line where its script allows, with the rest below the last of its columns.
fn wrap(line: &str, columns: usize, lines: &mut Vec<String>) {
    let text = line.rfind("  ").map_or(line, |at| &line[at + 2..]);
    let hang = line[..line.len() - text.len()].width();
    let mut rest = line;
    let mut indent = String::new();
    while indent.width() + rest.width() > columns {
        let fits = linebreaks(rest)
            .map(|(at, _)| at)
            .take_while(|at| indent.width() + rest[..*at].trim_end().width() <= columns)
            // A flag stays whole.
            .filter(|at| !rest[..*at].trim().is_empty() && !rest[..*at].ends_with('-'))
            .last();
        // A word that is wider than the terminal stays whole.
        let Some(at) = fits.filter(|at| *at < rest.len()) else {
            break;
        };
        lines.push(format!("{indent}{}", rest[..at].trim_end()));
        rest = &rest[at..];
        indent = " ".repeat(hang.min(columns / 2));
    }
    lines.push(format!("{indent}{rest}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_where_japanese_does() {
        let line = "  -h, --help  この説明を表示します。「はい」と、`snug train` も";
        let mut lines = Vec::new();
        wrap(line, 30, &mut lines);
        assert_eq!(
            lines,
            [
                "  -h, --help  この説明を表示し",
                "              ます。「はい」",
                "              と、`snug train`",
                "              も",
            ]
        );
    }

    #[test]
    fn a_word_that_is_too_wide_stays_whole() {
        let mut lines = Vec::new();
        wrap("--a-very-long-flag=with-a-value", 10, &mut lines);
        assert_eq!(lines.concat(), "--a-very-long-flag=with-a-value");
    }
}
