//! `snug convert`: settings and weights of other programs as Snug's, and weights back.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use config::cli::program;
use convert::weights;

use super::console;
use crate::error::{Error, Result};
use crate::run::weights::{WeightsFile, write_atomically};
use crate::usage::UsageError;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").args(["file", "line"]).required(true)))]
pub(super) struct ConvertArgs {
    /// A Python script or a Markdown page with `CFG = {...}`, which is read and never run, or weights of a script
    /// (safetensors, `.pt`, `.pth`)
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Instead of a file, the command line of a script: `python train_unet_split.py --root DIR --batch 8`
    #[arg(long, value_name = "LINE")]
    line: Option<String>,
    /// For weights: whose names they get
    #[arg(long, value_name = "PROGRAM", default_value = "snug")]
    to: Names,
    /// Where the result goes: a new file, or for several blocks of settings a folder
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Whose names tensors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Names {
    /// Snug's, which are those of `train_unet_split.py`.
    Snug,
    /// Those of milesial's `Pytorch-UNet`.
    Milesial,
}

pub(super) fn run(args: &ConvertArgs) -> Result<()> {
    let Some(file) = &args.file else {
        let line = args.line.as_deref().unwrap_or_default();
        return settings(line, "line", args.out.as_deref());
    };
    if file.is_dir() {
        return rename(file, args.to, args.out.as_deref());
    }
    let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let has_ending = |of: &str| file.extension().is_some_and(|it| it == of);
    let is_weights = ["safetensors", "pt", "pth"].into_iter().any(has_ending);
    // Weights have a header in binary.
    match String::from_utf8(bytes) {
        Ok(text) if !is_weights && !text.contains('\0') => {
            settings(&text, &file.display().to_string(), args.out.as_deref())
        }
        _ => rename(file, args.to, args.out.as_deref()),
    }
}

fn settings(text: &str, name: &str, out: Option<&Path>) -> Result<()> {
    let all = convert::settings(text, name)?;
    let several = all.len() > 1;
    let path = |file: &str| match out {
        Some(folder) if several || folder.is_dir() => folder.join(file),
        Some(file) => file.to_owned(),
        None => PathBuf::from(file),
    };
    let paths: Vec<PathBuf> = all.iter().map(|it| path(&it.file)).collect();
    if let Some(taken) = paths.iter().find(|it| it.exists()) {
        let path = taken.clone();
        return Err(UsageError::Exists { path }.into());
    }
    if let Some(folder) = out.filter(|_| several) {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    }
    for (converted, path) in all.iter().zip(&paths) {
        write_new(path, converted.toml.as_bytes())?;
        for note in &converted.notes {
            console::note(&note.to_string());
        }
        let file = path.display().to_string();
        // The first two words are the program and its command, as they are typed here.
        let rest = converted.command.iter().skip(2);
        let rest = rest.map(|word| {
            if *word == converted.file {
                &file
            } else {
                word.as_str()
            }
        });
        let words = [program::training()].into_iter().chain(rest);
        console::print(&format!("{file}\n  {}", program::line(words)));
    }
    Ok(())
}

fn rename(file: &Path, to: Names, out: Option<&Path>) -> Result<()> {
    let name = file.display().to_string();
    let read = WeightsFile::open(file)?;
    read.network()?;
    let (bytes, ending) = match to {
        // They are read under Snug's names, whoever wrote them.
        Names::Snug => (Cow::Borrowed(read.bytes()), "snug"),
        Names::Milesial => {
            let tensors = weights::to_milesial(&weights::read(read.bytes(), &name)?, &name)?;
            (Cow::Owned(weights::write(&tensors, &name)?), "milesial")
        }
    };
    let default = || file.with_extension(format!("{ending}.safetensors"));
    let path = out.map_or_else(default, Path::to_owned);
    write_new(&path, &bytes)?;
    console::print(&path.display().to_string());
    if to == Names::Snug && std::fs::read(file).is_ok_and(|it| it == *bytes) {
        console::note(
            "the weights were Snug's already: this is a copy; `--to milesial` writes those of `Pytorch-UNet`",
        );
    }
    if to == Names::Milesial {
        console::note(
            "in Python: `net.load_state_dict(safetensors.torch.load_file(FILE))`, in evaluation mode",
        );
    }
    Ok(())
}

/// Writes a file that does not exist, whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.exists() {
        let path = path.to_owned();
        return Err(UsageError::Exists { path }.into());
    }
    write_atomically(path, bytes)
}
