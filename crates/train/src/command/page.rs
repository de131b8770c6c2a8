//! `snug report`: the page of a run, or a page that compares several.

use std::path::PathBuf;

use clap::Args;
use report::Run;

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
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let path = match (&args.runs[..], &args.out) {
        ([only], None) => report::write(only)?,
        (runs, out) => {
            let runs: Vec<Run> = runs.iter().map(Run::open).collect::<report::Result<_>>()?;
            let page = match &runs[..] {
                [only] => report::render(only),
                several => report::compare(several),
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
