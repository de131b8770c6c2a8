//! Generates the figures of the README and of the guide from the files in `docs/measurements`, and
//! checks them.

use std::fmt::Write as _;

use figures::Table;
use figures::numbers::short;

use crate::case::Implementation;
use crate::markdown::interval;
use crate::results::{EpochRow, Results};
use crate::statistics::Ratio;

/// The marker before the figures.
pub const BEGIN: &str = "<!-- figures: made by `cargo xtask bench`, from docs/measurements -->";
/// The marker after the figures.
pub const END: &str = "<!-- figures end -->";

/// The newest file of each device, by name. `files` holds names and contents, in any order.
fn newest(files: &[(String, Results)]) -> Vec<&(String, Results)> {
    let mut newest: Vec<&(String, Results)> = Vec::new();
    for file in files {
        let device = |f: &(String, Results)| f.1.device.name.clone();
        match newest
            .iter_mut()
            .find(|other| device(other) == device(file))
        {
            Some(other) if (&other.1.date, &other.0) < (&file.1.date, &file.0) => *other = file,
            Some(_) => {}
            None => newest.push(file),
        }
    }
    newest.sort_by_key(|(name, _)| name.clone());
    newest
}

/// The text between the guide's markers: a table of all rows for each device. `folder` is the path
/// of the measurements relative to the page.
pub fn block(files: &[(String, Results)], folder: &str) -> String {
    let mut out = String::new();
    for (name, results) in newest(files) {
        let stem = name.trim_end_matches(".json");
        let mut table = Table::new(&[
            "compared with",
            "precision",
            "work",
            "Snug's policy",
            "Snug's time",
            "Snug's peak",
        ]);
        for group in &results.groups {
            rows(results, &group.name, &mut table);
        }
        let _ = write!(
            out,
            "On {}, {} ([all results]({folder}/{stem}.md)):\n\n{}",
            results.device.name,
            results.date,
            table.to_markdown()
        );
        out.push_str(&epochs(results));
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

/// The variants that a reader of the README wants to see first: PyTorch with its best settings, with
/// its checkpointing and with its compiler.
const FIRST: [Implementation; 3] = [
    Implementation::PytorchEager,
    Implementation::PytorchCheckpoint,
    Implementation::PytorchCompile,
];

/// The text between the README's markers: for each device, Snug's time and peak as shares of
/// PyTorch's. `folder` is the path of the measurements relative to the page.
pub fn brief(files: &[(String, Results)], folder: &str) -> String {
    let mut out = String::new();
    for (name, results) in newest(files) {
        let stem = name.trim_end_matches(".json");
        let mut table = Table::new(&["compared with", "precision", "time", "peak memory"]);
        let pairs = results.groups.iter().flat_map(|it| results.pairs(&it.name));
        for (row, snug) in pairs.filter(|(row, _)| FIRST.contains(&row.implementation)) {
            let ratio = Ratio::of(&snug.ms_per_image(), &row.ms_per_image());
            let bytes = snug.peak_allocated_bytes.zip(row.peak_allocated_bytes);
            if let (Some(ratio), Some((ours, theirs))) = (ratio, bytes) {
                table.row(vec![
                    format!("`{}`", row.implementation.name()),
                    row.precision.to_string(),
                    format!("{:.2}", ratio.median),
                    format!("{:.2}", ours as f64 / theirs as f64),
                ]);
            }
        }
        let _ = writeln!(
            out,
            "Snug's share of PyTorch's time and memory for a training step (less than 1 is better), on \
             {}, {} ([all results]({folder}/{stem}.md)):\n\n{}",
            results.device.name,
            results.date,
            table.to_markdown()
        );
    }
    out.truncate(out.trim_end().len());
    out
}

/// Adds one line for each of PyTorch's rows.
fn rows(results: &Results, group: &str, table: &mut Table) {
    let dash = || "-".to_owned();
    for (row, snug) in results.pairs(group) {
        let ratio = Ratio::of(&snug.ms_per_image(), &row.ms_per_image());
        let bytes = snug.peak_allocated_bytes.zip(row.peak_allocated_bytes);
        table.row(vec![
            format!("`{}`", row.implementation.name()),
            row.precision.to_string(),
            format!("{} x {}, width {}", row.batch, row.size(), row.width),
            snug.policy.clone(),
            ratio.map_or_else(dash, |r| interval(&r)),
            bytes.map_or_else(dash, |(a, b)| format!("{:.3}", a as f64 / b as f64)),
        ]);
    }
}

/// Sentences about epochs over files.
fn epochs(results: &Results) -> String {
    let mut out = String::new();
    let precision = |row: &EpochRow| row.recipe.split(' ').next().unwrap_or_default().to_owned();
    let mut precisions: Vec<String> = results.epochs.iter().map(precision).collect();
    precisions.dedup();
    for of in precisions {
        let rows = results.epochs.iter().filter(|row| precision(row) == of);
        let said: Vec<String> = rows
            .filter_map(|row| {
                let ratio = row.ratio_to_snug?;
                let who = match (row.implementation, row.keeps_decoded) {
                    (Implementation::Snug, true) => return None,
                    (Implementation::Snug, false) => "Snug without them",
                    (other, _) => other.name(),
                };
                Some(format!("{who} {}", short(ratio.median)))
            })
            .collect();
        if !said.is_empty() {
            let _ = write!(
                out,
                "\nAn epoch over image files in {of}, validation included, decoded images kept in \
                 memory, takes Snug 1, {}.\n",
                said.join(", ")
            );
        }
    }
    out
}

/// Returns `readme` with `block` between the markers, or `None` if it has no markers.
pub fn replace(readme: &str, block: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{block}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    use super::*;

    #[test]
    fn the_newest_file_of_a_device_speaks() {
        let older = fixture::results(16, 1.0);
        let mut newer = fixture::results(64, 1.0);
        "2026-01-03".clone_into(&mut newer.date);
        let mut other = fixture::results(64, 1.0);
        "Another".clone_into(&mut other.device.name);
        let file = |name: &str, results| (name.to_owned(), results);
        let files = [
            file("b.json", newer),
            file("a.json", older),
            file("c.json", other),
        ];
        insta::assert_snapshot!(block(&files, "measurements"));
        insta::assert_snapshot!(brief(&files, "measurements"));
    }

    #[test]
    fn a_block_takes_the_place_of_the_one_before() {
        let readme = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let once = replace(&readme, "new").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replace(&once, "new").unwrap(), once);
        assert_eq!(replace("no marks", "new"), None);
    }
}
