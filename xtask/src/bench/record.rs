//! `docs/measurements`: the results of a benchmark as a file for programs, a page and a picture.
//! The figures of the README and the guide are made from these files and checked against them. A page of predictions is
//! made and checked with them.

use std::fs;
use std::path::{Path, PathBuf};

use bench::gpu::{self, Archive};
use bench::readme;
use bench::results::Results;
use bench::{markdown, scatter};
use machine::is_stand_in;

use crate::console::Console;
use crate::error::Error;
use crate::files::{sorted, unreadable, unwritable};
use crate::workspace::Checkout;

/// The pages with figures, where the measurements are as seen from each, and what makes its figures.
const PAGES: [(&str, &str, Figures); 2] = [
    ("README.md", "docs/measurements", readme::brief),
    ("docs/guide/benchmarks.md", "../measurements", readme::block),
];

/// The page of predictions for several GPUs.
const SCALING: &str = "docs/rehearsals/scaling.md";

/// What the names of files end with.
const BENCH: &str = "-bench";
const SESSION: &str = "-gpu";

type Figures = fn(&[(String, Results)], &str) -> String;

/// Copies a file of results into `docs/measurements`, and updates the figures of the README.
pub(super) fn take(workspace: &Checkout, file: &Path, console: &Console) -> Result<(), Error> {
    let results = Results::read(file)?;
    refuse_stand_in(file, &results.device.name)?;
    keep(workspace, &results, console)?;
    refresh(workspace, console)
}

/// Copies a session on a GPU into `docs/measurements`, with its benchmark, and updates the figures of the
/// README.
pub(crate) fn take_session(
    workspace: &Checkout,
    file: &Path,
    console: &Console,
) -> Result<(), Error> {
    let archive = Archive::read(file)?;
    refuse_stand_in(file, &archive.device.name)?;
    if let Some(results) = &archive.bench {
        keep(workspace, results, console)?;
    }
    let name = format!(
        "{}{SESSION}.json",
        stem(&archive.date, &archive.device.name)
    );
    let path = folder(workspace).join(name);
    write(&path, &archive.to_json())?;
    console.say(format_args!("measurements: wrote `{}`", path.display()));
    refresh(workspace, console)
}

fn refuse_stand_in(file: &Path, device: &str) -> Result<(), Error> {
    if is_stand_in(device) {
        return Err(Error::NoMeasurement {
            path: file.to_path_buf(),
            device: device.to_owned(),
        });
    }
    Ok(())
}

fn keep(workspace: &Checkout, results: &Results, console: &Console) -> Result<(), Error> {
    let name = format!("{}{BENCH}.json", stem(&results.date, &results.device.name));
    let path = folder(workspace).join(name);
    refuse_to_lose(&path, results)?;
    write(&path, &results.to_json())?;
    console.say(format_args!("measurements: wrote `{}`", path.display()));
    Ok(())
}

/// A partial benchmark must not replace a complete one of the same day.
fn refuse_to_lose(path: &Path, new: &Results) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let old = Results::read(path)?;
    let has = |group: &str| new.groups.iter().any(|it| it.name == group);
    let mut lost: Vec<&str> = old.groups.iter().map(|it| it.name.as_str()).collect();
    lost.retain(|group| !has(group));
    if !old.epochs.is_empty() && new.epochs.is_empty() {
        lost.push("epochs");
    }
    if !old.host.is_empty() && new.host.is_empty() {
        lost.push("host");
    }
    if lost.is_empty() {
        return Ok(());
    }
    Err(Error::WouldLose {
        path: path.to_path_buf(),
        parts: lost.join("`, `"),
    })
}

/// Remakes pages, pictures and the README's figures from the files.
pub(super) fn refresh(workspace: &Checkout, console: &Console) -> Result<(), Error> {
    for (path, wanted) in wanted(workspace)? {
        if fs::read_to_string(&path).ok().as_ref() != Some(&wanted) {
            write(&path, &wanted)?;
            console.say(format_args!("measurements: wrote `{}`", path.display()));
        }
    }
    Ok(())
}

/// Every file that differs from what `docs/measurements` would make, one line each.
pub(crate) fn check(workspace: &Checkout) -> Result<Vec<String>, Error> {
    let mut violations = Vec::new();
    for (path, wanted) in wanted(workspace)? {
        if fs::read_to_string(&path).ok().as_ref() != Some(&wanted) {
            let path = path.strip_prefix(workspace.root()).unwrap_or(&path);
            violations.push(format!(
                "`{}` does not match the measurements; `cargo xtask bench --refresh` updates it",
                path.display()
            ));
        }
    }
    Ok(violations)
}

/// Every file that is made from measurements, with its text.
fn wanted(workspace: &Checkout) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut wanted = Vec::new();
    let mut all = Vec::new();
    for path in sorted(&folder(workspace))? {
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        if let Some(stem) = name(&path).strip_suffix(&format!("{SESSION}.json")) {
            let archive = Archive::read(&path)?;
            let bench_page = format!("{stem}{BENCH}.md");
            let page = gpu::page(&archive, Some(&bench_page));
            wanted.push((path.with_extension("md"), page));
            continue;
        }
        let results = Results::read(&path)?;
        let picture = path.with_extension("svg");
        wanted.push((
            path.with_extension("md"),
            markdown::report(&results, &name(&picture)),
        ));
        wanted.push((picture, scatter::svg(&results)));
        all.push((name(&path), results));
    }
    wanted.push((workspace.root().join(SCALING), advisor::scale::page()?));
    for (page, folder, figures) in PAGES {
        let path = workspace.root().join(page);
        let text = fs::read_to_string(&path).map_err(|it| unreadable(&path, it))?;
        let text = readme::replace(&text, &figures(&all, folder)).ok_or(Error::NoMarks {
            page,
            begin: readme::BEGIN,
            end: readme::END,
        })?;
        wanted.push((path, text));
    }
    Ok(wanted)
}

fn folder(workspace: &Checkout) -> PathBuf {
    workspace.root().join("docs").join("measurements")
}

/// `2026-11-25-amd-epyc-9b45`.
fn stem(date: &str, device: &str) -> String {
    const MOST: usize = 40;
    let device = device.to_lowercase();
    let words = device
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && !["r", "tm", "cpu", "processor"].contains(word));
    let mut slug = String::new();
    for word in words {
        if slug.len() + word.len() >= MOST {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(word);
    }
    format!("{date}-{slug}")
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|it| unwritable(path, it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_day_and_device() {
        let name = stem("2026-11-25", "Intel(R) Xeon(R) CPU @ 2.20GHz");
        assert_eq!(name, "2026-11-25-intel-xeon-2-20ghz");
        assert_eq!(stem("2026-11-25", "NVIDIA H200"), "2026-11-25-nvidia-h200");
    }
}
