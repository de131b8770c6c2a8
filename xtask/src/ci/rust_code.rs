//! Blanks comments and literals in Rust source, so that a word in them does not count
//! as code.

/// `text` with comments and the contents of literals blanked. Line numbers stay the
/// same.
pub(super) fn only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let in_word = before.is_alphanumeric() || before == '_';
        let len = not_code(rest, in_word);
        if len == 0 {
            code.push(next);
            before = next;
            rest = &rest[next.len_utf8()..];
        } else {
            let (skipped, after) = rest.split_at(len);
            code.extend(
                skipped
                    .chars()
                    .map(|it| if it == '\n' { '\n' } else { ' ' }),
            );
            before = ' ';
            rest = after;
        }
    }
    code
}

/// Identifiers and keywords of a line of code.
pub(super) fn words(code: &str) -> Vec<&str> {
    code.split(|it: char| !(it.is_alphanumeric() || it == '_'))
        .filter(|it| !it.is_empty())
        .collect()
}

/// Length of the comment or literal that `text` starts with, 0 if there is none.
fn not_code(text: &str, in_word: bool) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if text.starts_with('\'') {
        return character(text);
    }
    if in_word { 0 } else { raw_string(text) }
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, it) in text.char_indices().skip(1) {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if it == quote => return at + it.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// `'x'` or `'\n'`. A lifetime is code.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => quoted(text, '\''),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// `r"..."` and `r#"..."#`, also with the prefix `b` or `c`.
fn raw_string(text: &str) -> usize {
    let prefix = usize::from(text.starts_with(['b', 'c']));
    let Some(rest) = text[prefix..].strip_prefix('r') else {
        return 0;
    };
    let num_hashes = rest.len() - rest.trim_start_matches('#').len();
    let Some(content) = rest[num_hashes..].strip_prefix('"') else {
        return 0;
    };
    let end = format!("\"{}", "#".repeat(num_hashes));
    let start = text.len() - content.len();
    content
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        let code = only(text);
        assert_eq!(code.lines().count(), text.lines().count());
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_go() {
        assert_eq!(kept("a // b\nc /* d /* e */ f */ g\n/// h\ni"), "a c g i");
    }

    #[test]
    fn literals_go() {
        assert_eq!(
            kept(r#"a("b \" // c", 'd', '"', '\'', e)"#),
            "a( , , , , e)"
        );
        assert_eq!(kept(r##"a = r#"b " c"#; d = br"\"; e"##), "a = ; d = ; e");
    }

    #[test]
    fn lifetimes_and_names_stay() {
        assert_eq!(
            kept("fn f<'a>(x: &'a str) -> bar"),
            "fn f<'a>(x: &'a str) -> bar"
        );
        assert_eq!(kept("r#type + for_r"), "r#type + for_r");
    }

    #[test]
    fn an_unterminated_literal_does_not_panic() {
        for text in ["\"abc", "/* abc", "r#\"abc", "'", "'\\"] {
            only(text);
        }
    }

    #[test]
    fn words_of_a_line() {
        assert_eq!(
            words("#![deny(unsafe_code)] x1"),
            ["deny", "unsafe_code", "x1"]
        );
    }
}
