//! From the words that a person typed to a program: the language first, because help and errors are written in it.

use std::env;

use clap::builder::StyledStr;
use clap::{Arg, Command, FromArgMatches};
use locale::Language;

use super::{Exit, console, repeats};

/// Parses the command line of `command`, in the language that it asks for.
///
/// # Errors
/// The exit code, after help or an error was printed.
pub fn parse<C: FromArgMatches>(command: Command) -> Result<C, Exit> {
    let words: Vec<_> = env::args_os().collect();
    Language::asked().speak();
    let command = spoken(command);
    let notes = repeats(&command, words.iter().cloned());
    let matches = command.try_get_matches_from(words);
    let parsed = matches.and_then(|it| C::from_arg_matches(&it));
    let parsed = parsed.map_err(|error| console::refuse_usage(&error))?;
    for note in notes {
        console::note(&note);
    }
    Ok(parsed)
}

/// `command` with `--lang`, and with its help in the program's words and language.
pub fn spoken(command: Command) -> Command {
    let lang = Arg::new("lang")
        .long("lang")
        .value_name("CODE")
        .help("Language of messages, help and pages: `en` or `ja`; without it, that of `LC_ALL`, `LC_MESSAGES` or `LANG`")
        .value_parser(Language::ALL.map(Language::code))
        .global(true);
    let command = match Language::spoken() {
        Language::English => command,
        // Words without spaces between them are wrapped afterwards.
        Language::Japanese => command.term_width(0),
    };
    reworded(command.arg(lang))
}

/// `command` with its help in the program's words and language; what `clap` adds to it has help once it is built.
pub fn reworded(command: Command) -> Command {
    let reword =
        |text: Option<&StyledStr>| text.map(|it| console::spoken(&it.to_string()).into_owned());
    let (about, long) = (
        reword(command.get_about()),
        reword(command.get_long_about()),
    );
    let command = match (about, long) {
        (Some(about), Some(long)) => command.about(about).long_about(long),
        (Some(about), None) => command.about(about),
        _ => command,
    };
    let command = match reword(command.get_after_help()) {
        Some(after) => command.after_help(after),
        None => command,
    };
    let command =
        command.mut_args(
            |arg| match (reword(arg.get_help()), reword(arg.get_long_help())) {
                (Some(help), Some(long)) => arg.help(help).long_help(long),
                (Some(help), None) => arg.help(help),
                _ => arg,
            },
        );
    command.mut_subcommands(reworded)
}
