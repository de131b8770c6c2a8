//! `snug convert`: settings and weights of other programs as Snug's, and weights back.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use config::cli::program;
use convert::weights;

use super::console;
use crate::error::{Error, Result};
use crate::run::weights::WeightsFile;
use crate::usage::UsageError;

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// A Python script or a Markdown page with `CFG = {...}`, which is read and never run, or weights of a script
    /// (safetensors, `.pt`, `.pth`)
    #[arg(value_name = "FILE", required_unless_present = "line")]
    file: Option<PathBuf>,
    /// Instead of a file, the command line of a script: `python train_unet_split.py --root DIR --batch 8`
    #[arg(long, value_name = "LINE", conflicts_with = "file")]
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

/// Endings of texts; anything else holds weights.
const TEXTS: [&str; 5] = ["py", "md", "txt", "ipynb", "sh"];

pub(super) fn run(args: &ConvertArgs) -> Result<()> {
    let Some(file) = &args.file else {
        let line = args.line.as_deref().unwrap_or_default();
        return settings(line, "--line", args.out.as_deref());
    };
    let ending = file
        .extension()
        .and_then(|it| it.to_str())
        .unwrap_or_default();
    if TEXTS.contains(&ending.to_ascii_lowercase().as_str()) {
        let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
        return settings(&text, &file.display().to_string(), args.out.as_deref());
    }
    rename(file, args.to, args.out.as_deref())
}

fn settings(text: &str, name: &str, out: Option<&Path>) -> Result<()> {
    let all = convert::settings(text, name)?;
    let several = all.len() > 1;
    for converted in all {
        let path = match out {
            Some(folder) if several || folder.is_dir() => folder.join(&converted.file),
            Some(file) => file.to_owned(),
            None => PathBuf::from(&converted.file),
        };
        if several && let Some(folder) = out {
            std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        }
        write_new(&path, converted.toml.as_bytes())?;
        for note in &converted.notes {
            console::note(&note.to_string());
        }
        let file = path.display().to_string();
        // Its first word is the program, as this one is typed here.
        let words = converted
            .command
            .iter()
            .skip(1)
            .map(|word| match word.as_str() {
                "train" => program::training(),
                word if *word == converted.file => &file,
                word => word,
            });
        let words: Vec<&str> = words.collect();
        console::print(&format!("{file}\n  {}", program::line(words)));
    }
    Ok(())
}

fn rename(file: &Path, to: Names, out: Option<&Path>) -> Result<()> {
    let name = file.display().to_string();
    let read = WeightsFile::open(file)?;
    let (bytes, ending) = match to {
        // They are read under Snug's names, whoever wrote them.
        Names::Snug => (read.into_bytes(), "snug"),
        Names::Milesial => {
            let tensors = weights::to_milesial(&weights::read(read.bytes(), &name)?, &name)?;
            (weights::write(&tensors, &name)?, "milesial")
        }
    };
    let default = || file.with_extension(format!("{ending}.safetensors"));
    let path = out.map_or_else(default, Path::to_owned);
    write_new(&path, &bytes)?;
    console::print(&path.display().to_string());
    if to == Names::Milesial {
        console::note(
            "in Python: `net.load_state_dict(safetensors.torch.load_file(FILE))`, in evaluation mode",
        );
    }
    Ok(())
}

/// Writes a file that does not exist.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(|error| {
            if error.kind() == ErrorKind::AlreadyExists {
                return UsageError::Exists {
                    path: path.to_owned(),
                }
                .into();
            }
            Error::io("write", path, error)
        })
}
