//! `snug report`: the page of a run, a page that compares several, or their epochs as a table.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use locale::Language;
use report::Run;
use serde_json::Value;

use super::console;
use crate::error::Result;
use crate::run::weights::write_atomically;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folder of a run; several are compared
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Where the page goes: by default into the folder of the run, and for several to `compared.html`
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Instead of a page, write the epochs of the runs as comma-separated values, a row each
    #[arg(long, value_name = "FILE.csv", conflicts_with = "out")]
    csv: Option<PathBuf>,
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    if let Some(path) = &args.csv {
        write_atomically(path, table(&args.runs)?.as_bytes())?;
        console::print(&path.display().to_string());
        return Ok(());
    }
    let path = match (&args.runs[..], &args.out) {
        ([only], None) => report::write(only)?,
        (runs, out) => {
            let runs: Vec<Run> = runs.iter().map(Run::open).collect::<report::Result<_>>()?;
            let page = match &runs[..] {
                [only] => report::render(only, Language::spoken()),
                several => report::compare(several, Language::spoken()),
            };
            let path = out
                .clone()
                .unwrap_or_else(|| PathBuf::from("compared.html"));
            write_atomically(&path, page.as_bytes())?;
            path
        }
    };
    console::print(&path.display().to_string());
    Ok(())
}

/// The numbers of each epoch, with the run in the first column. An empty cell is a number that is not known.
fn table(runs: &[PathBuf]) -> Result<String> {
    let mut rows = Vec::new();
    let mut keys: Vec<String> = Vec::new();
    for run in runs {
        for row in report::epochs(run)? {
            let numbers = row
                .iter()
                .filter(|(_, it)| it.is_number())
                .map(|(key, _)| key);
            for key in numbers {
                if !keys.contains(key) {
                    keys.push(key.clone());
                }
            }
            rows.push((run.display().to_string(), row));
        }
    }
    let mut text = format!("run,{}\n", keys.join(","));
    for (run, row) in rows {
        let cells = keys.iter().map(|key| match &row.get(key) {
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        });
        let cells: Vec<String> = cells.collect();
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\"{}\",{}", run.replace('"', "\"\""), cells.join(","));
    }
    Ok(text)
}
