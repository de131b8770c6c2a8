//! Tables in a finished text: lines whose columns keep their places when their cells change.

use std::ops::Range;

use unicode_width::UnicodeWidthStr as _;

use crate::padded;

/// Lines of one table, with each cell replaced by what `of_cell` makes of it. `None` if no column of spaces goes
/// through all of them.
pub(crate) fn relaid(lines: &[&str], of_cell: &dyn Fn(&str) -> String) -> Option<Vec<String>> {
    let rows: Vec<Vec<char>> = lines.iter().map(|it| it.chars().collect()).collect();
    // A character that is two columns wide would have to count as two.
    if rows.iter().flatten().any(|it| !it.is_ascii()) {
        return None;
    }
    let fields = fields(&rows);
    if fields.len() < 2 {
        return None;
    }
    let mut relaid = vec![String::new(); rows.len()];
    for (nth, field) in fields.iter().enumerate() {
        let cells: Vec<String> = rows
            .iter()
            .map(|row| {
                row[field.start.min(row.len())..field.end.min(row.len())]
                    .iter()
                    .collect()
            })
            .collect();
        let said: Vec<String> = cells.iter().map(|it| of_cell(it.trim())).collect();
        let width = said.iter().map(|it| it.width()).max().unwrap_or_default();
        let width = width.max(field.len());
        // Numbers end together, words begin together.
        let words = cells.iter().filter(|it| !it.trim().is_empty());
        let ends_together = words
            .clone()
            .all(|it| it.len() == field.len() && !it.ends_with(' '));
        let is_right = ends_together && words.clone().any(|it| it.starts_with(' '));
        for (line, said) in relaid.iter_mut().zip(&said) {
            if nth > 0 {
                let gap = field.start - fields[nth - 1].end;
                line.push_str(&" ".repeat(gap));
            } else {
                line.push_str(&" ".repeat(field.start));
            }
            if is_right {
                line.push_str(&" ".repeat(width - said.width()));
                line.push_str(said);
            } else {
                line.push_str(&padded(said, width));
            }
        }
    }
    Some(relaid.iter().map(|it| it.trim_end().to_owned()).collect())
}

/// The columns: what lies between two spaces or more that go through all rows.
fn fields(rows: &[Vec<char>]) -> Vec<Range<usize>> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or_default();
    let is_blank = |at: usize| {
        rows.iter()
            .all(|row| row.get(at).is_none_or(|it| *it == ' '))
    };
    let mut fields: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < longest {
        if is_blank(at) {
            at += 1;
            continue;
        }
        let end = (at..longest).find(|at| is_blank(*at)).unwrap_or(longest);
        match fields.last_mut() {
            // One space is between words of a cell.
            Some(last) if at - last.end < 2 => last.end = end,
            _ => fields.push(at..end),
        }
        at = end;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_grow_with_their_widest_cell() {
        let table = [
            "  name        size  what",
            "  optimizer  1.0 B  a b",
            "  all         12 B",
        ];
        let said = relaid(&table, &|it| match it {
            "optimizer" => "オプティマイザー".to_owned(),
            "size" => "大きさ".to_owned(),
            other => other.to_owned(),
        });
        assert_eq!(
            said.unwrap(),
            [
                "  name              大きさ  what",
                "  オプティマイザー   1.0 B  a b",
                "  all                 12 B",
            ]
        );
        assert_eq!(relaid(&["one text", "another text"], &str::to_owned), None);
    }
}
