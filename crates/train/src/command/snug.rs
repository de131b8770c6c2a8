//! The command line of `snug`: one program with everything that `train` and `advisor` do.

use std::process::ExitCode;

use advisor::command::Command as Advice;
use clap::{CommandFactory as _, Parser, Subcommand};
use config::cli::program::be_snug;
use config::cli::{self, Exit};

use super::{Tool, fit, shell, start, with_libtorch};

/// Train U-Nets for image segmentation, as large as this machine allows
#[derive(Debug, Parser)]
#[command(name = "snug", version, after_help = Exit::help(Exit::TRAIN), args_override_self = true, arg_required_else_help = true)]
struct Snug {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train on a folder of images and masks, or on built-in pages
    ///
    /// Without a preset or a file of settings, everything that is not given follows from the images and from
    /// this machine: image size, batch, checkpointing, epochs, learning rate. `--dry-run` shows it.
    ///
    /// When it ends, a run adds a line to a local ledger: its device, its settings, and its memory and
    /// speed as predicted and as measured. `SNUG_LEDGER` is the ledger's path, or `off`; the default is
    /// `snug/ledger.jsonl` in `XDG_DATA_HOME` or `~/.local/share`. None of it leaves this machine;
    /// `snug ledger` reads it.
    #[command(allow_negative_numbers = true)]
    Train(Box<fit::TrainArgs>),
    #[command(flatten)]
    Tool(Box<Tool>),
    #[command(flatten)]
    Advice(Advice),
    /// Print a script that completes commands and flags in a shell
    Completions(shell::CompletionsArgs),
    /// Write manual pages
    Man(shell::ManArgs),
}

/// The command line, in the program's own words.
fn program() -> clap::Command {
    cli::spoken(Snug::command())
}

/// Runs `snug`.
pub fn main() -> ExitCode {
    be_snug();
    start(Snug::command(), |snug: Snug| match snug.command {
        Command::Train(args) => fit::run_choosing(*args),
        Command::Tool(tool) => with_libtorch(|| tool.run()),
        Command::Advice(advice) => Ok(advice.run()),
        Command::Completions(args) => {
            shell::completions(&args, &program());
            Ok(Exit::Done.into())
        }
        Command::Man(args) => {
            shell::man(&args, program())?;
            Ok(Exit::Done.into())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Snug::command().debug_assert();
    }

    /// The words of a command of ours in a line of a page, as `snug` takes them.
    fn words_of(line: &str) -> Option<Vec<String>> {
        let ours = [
            ("cargo xtask train ", "train "),
            ("cargo xtask bench", "bench"),
            ("cargo run --features full --bin snug -- ", ""),
            ("cargo run --features full -- fit ", "train "),
            ("cargo run --features full -- ", ""),
            ("cargo run -p advisor -- ", ""),
            ("snug ", ""),
        ];
        let (typed, command) = ours.iter().find(|(typed, _)| line.starts_with(typed))?;
        let line = line.replacen(typed, command, 1);
        let words = shlex::split(line.split(" #").next()?)?;
        // These belong to `cargo xtask bench` alone.
        Some(words.into_iter().filter(|it| *it != "--record").collect())
    }

    #[test]
    fn commands_on_the_pages_are_accepted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut pages = vec![root.join("README.md")];
        // In English and in Japanese.
        for folder in ["docs/guide", "docs/guide/ja"] {
            let guide = fs::read_dir(root.join(folder)).unwrap();
            let files = guide.map(|entry| entry.unwrap().path());
            pages.extend(files.filter(|it| it.extension().is_some_and(|it| it == "md")));
        }
        let mut num_commands = 0;
        for page in pages {
            let text = fs::read_to_string(&page).unwrap();
            let in_blocks = text
                .split("```sh\n")
                .skip(1)
                .filter_map(|it| it.split("```").next());
            // Rows of a table begin with a command of `cargo`.
            let in_rows = text
                .lines()
                .filter_map(|it| it.strip_prefix("| `")?.split('`').next());
            let lines = in_blocks
                .flat_map(str::lines)
                .chain(in_rows.filter(|it| it.starts_with("cargo")));
            for line in lines {
                let Some(words) = words_of(line) else {
                    continue;
                };
                // A word that stands for others.
                let words = words
                    .into_iter()
                    .filter(|it| !["ARGS", "FILE..."].contains(&it.as_str()));
                let words = ["snug".to_owned()].into_iter().chain(words);
                let parsed = Snug::try_parse_from(words);
                let refused = parsed.err().map(|it| it.to_string());
                // `calibrate` needs the files that the page leaves out.
                let refused = refused.filter(|it| !it.contains("required arguments"));
                assert_eq!(refused, None, "{}: {line}", page.display());
                num_commands += 1;
            }
        }
        assert!(num_commands > 40, "only {num_commands} commands were found");
    }
}
