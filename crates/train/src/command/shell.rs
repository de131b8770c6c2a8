//! `snug completions` and `snug man`: what a shell and `man` know about the program.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_complete::aot::generate;
use config::cli::reworded;
use locale::translated;

use super::console;
use crate::error::{Error, Result};
use crate::run::weights::write_atomically;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder for the pages, such as `~/.local/share/man/man1`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints a script that completes the words of `program`.
pub(super) fn completions(args: &CompletionsArgs, program: &Command) {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    let mut program = built(without_hidden(program));
    generate(args.shell, &mut program, name, &mut script);
    console::print_as_is(String::from_utf8_lossy(&script).trim_end());
}

/// `program` without the commands that its help leaves out, of which completions know nothing.
fn without_hidden(program: &Command) -> Command {
    let shown = program.get_subcommands().filter(|it| !it.is_hide_set());
    let shown: Vec<Command> = shown.cloned().collect();
    let plain = Command::new("snug").version(env!("CARGO_PKG_VERSION"));
    plain.args(program.get_arguments()).subcommands(shown)
}

/// `program` with what `clap` adds to it, in the language of the rest.
fn built(mut program: Command) -> Command {
    program.build();
    reworded(program)
}

/// Writes a page for `program` and one for each of its commands.
pub(super) fn man(args: &ManArgs, mut program: Command) -> Result<()> {
    let out = args.out.as_path();
    std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
    program = built(program.disable_help_subcommand(true));
    page(&program, out)?;
    let commands = program.get_subcommands().filter(|it| !it.is_hide_set());
    for command in commands {
        page(command, out)?;
    }
    console::print(&out.display().to_string());
    Ok(())
}

/// Writes the page of a command, which has the name that `man` knows: `snug-train.1`.
fn page(command: &Command, out: &Path) -> Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let path = out.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)
        .map_err(|e| Error::io("write", &path, e))?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(|line| match line.strip_prefix(".SH ") {
        Some(heading) => format!(".SH {}\n", translated(heading)),
        None => format!("{line}\n"),
    });
    write_atomically(&path, lines.collect::<String>().as_bytes())
}
