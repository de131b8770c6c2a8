//! Writes what a run leaves for people: `report.html`, a page about the run, and a page that compares runs.
//!
//! A page is one file: its pictures and its style are inside it, and it loads nothing and runs no script. This
//! crate only reads a run's folder. It measures nothing and needs neither libtorch nor the data of the run.
//!
//! ```no_run
//! report::write("runs/nuclei-001")?;
//! let runs = ["runs/nuclei-001", "runs/nuclei-002"].map(report::Run::open);
//! let runs = runs.into_iter().collect::<report::Result<Vec<_>>>()?;
//! std::fs::write("compared.html", report::compare(&runs, locale::Language::English)).expect("a folder that can be written");
//! # Ok::<(), report::Error>(())
//! ```

mod chart;
mod error;
mod page;
mod run;
mod wire;

use std::path::{Path, PathBuf};

use config::files::write_whole;
pub use error::{Error, Result};
use locale::Language;
pub use run::{Run, epochs};

/// The file that [`write()`] makes.
pub const FILE_NAME: &str = "report.html";

/// The page of a run, in `language`.
pub fn render(run: &Run, language: Language) -> String {
    page::rendered("run.html", &page::contents(run), language)
}

/// A page that compares runs, in this order, in `language`.
pub fn compare(runs: &[Run], language: Language) -> String {
    page::rendered("compare.html", &page::comparison(runs), language)
}

/// Writes the page of the run in `dir` to [`FILE_NAME`] there, whole or not at all, in the
/// language of the program, and returns its path.
///
/// # Errors
/// Fails if the run cannot be read or the page cannot be written.
pub fn write(dir: impl AsRef<Path>) -> Result<PathBuf> {
    let dir = dir.as_ref();
    let path = dir.join(FILE_NAME);
    let page = render(&Run::open(dir)?, Language::spoken());
    write_whole(&path, page.as_bytes()).map_err(Error::io("write", &path))?;
    Ok(path)
}

#[cfg(test)]
mod tests;
