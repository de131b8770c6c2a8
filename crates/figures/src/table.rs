//! Formats tables for a terminal and for Markdown.

use std::fmt::Write as _;

/// Cells in rows under a heading. Every row has as many cells as the heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading and no rows.
    pub fn new<S: AsRef<str>>(heading: &[S]) -> Self {
        let heading = heading.iter().map(|cell| cell.as_ref().to_owned());
        Self {
            rows: vec![heading.collect()],
        }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(cells.len(), self.heading().len());
        self.rows.push(cells);
    }

    fn heading(&self) -> &[String] {
        self.rows.first().map_or(&[], Vec::as_slice)
    }

    /// Pads the columns with spaces and indents each line by two. The first `num_left` columns and
    /// the last one hold words and are left-aligned; the others hold numbers and are right-aligned. A
    /// heading of empty cells is left out.
    pub fn to_text(&self, num_left: usize) -> String {
        let widths = Self::widths(&self.rows);
        let has_heading = self.heading().iter().any(|cell| !cell.is_empty());
        let mut text = String::new();
        for row in self.rows.iter().skip(usize::from(!has_heading)) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let is_left = column < num_left || column + 1 == widths.len();
                // Writing to a `String` cannot fail.
                let _ = if is_left {
                    write!(line, "  {cell:<width$}")
                } else {
                    write!(line, "  {cell:>width$}")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// A Markdown table with aligned columns. A column whose cells are all `-` is left out.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        let body = self.rows.get(1..).unwrap_or_default();
        let kept: Vec<usize> = (0..self.heading().len())
            .filter(|&column| body.iter().any(|row| row[column] != "-"))
            .collect();
        // A vertical bar would end the cell.
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| kept.iter().map(|&it| row[it].replace('|', "/")).collect())
            .collect();
        let widths = Self::widths(&rows);
        let line = |text: &mut String, row: &[String]| {
            let cells = row.iter().zip(&widths);
            let cells: Vec<String> = cells.map(|(it, width)| format!("{it:<width$}")).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        for (index, row) in rows.iter().enumerate() {
            line(&mut text, row);
            if index == 0 {
                let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                line(&mut text, &rule);
            }
        }
        text
    }

    fn widths(rows: &[Vec<String>]) -> Vec<usize> {
        let num_columns = rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..num_columns).map(width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_left_and_numbers_right() {
        let mut table = Table::new(&["", "", ""]);
        table.row(["parameters", "12.5", "#"]);
        table.row(["peak", "112.5", ""]);
        assert_eq!(
            table.to_text(1),
            "  parameters   12.5  #\n  peak        112.5\n"
        );
    }

    #[test]
    fn a_column_without_a_figure_is_left_out_of_markdown() {
        let mut table = Table::new(&["a", "b", "c"]);
        table.row(["1|2", "-", "3"]);
        table.row(["-", "-", "345"]);
        assert_eq!(
            table.to_markdown(),
            "| a   | c   |\n| --- | --- |\n| 1/2 | 3   |\n| -   | 345 |\n"
        );
    }
}
