//! Flags that are given twice: the last value wins, and a note names it.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgAction, Command};

/// A note for each flag of a subcommand that takes one value but was given several. `command` is
/// the program's command; `words` is its whole command line.
pub fn repeats(command: &Command, words: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let all = command.clone().args_override_self(true);
    let all = all.mut_subcommands(|sub| {
        sub.mut_args(|arg| match arg.get_action() {
            ArgAction::Set if !arg.is_positional() => arg.action(ArgAction::Append),
            _ => arg,
        })
    });
    let Ok(matches) = all.try_get_matches_from(words) else {
        return Vec::new();
    };
    let Some((name, given)) = matches.subcommand() else {
        return Vec::new();
    };
    let args = command.find_subcommand(name).map(Command::get_arguments);
    let mut notes = Vec::new();
    for arg in args.into_iter().flatten() {
        let id = arg.get_id().as_str();
        let (Some(long), true) = (arg.get_long(), matches!(arg.get_action(), ArgAction::Set))
        else {
            continue;
        };
        if given.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values: Vec<_> = given.get_raw(id).into_iter().flatten().collect();
        if let [_, .., last] = values[..] {
            let last = last.to_string_lossy();
            notes.push(format!(
                "note: `--{long}` was given {} times; the last value, `{last}`, is used",
                values.len()
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn notes(words: &[&str]) -> Vec<String> {
        let fit = Command::new("fit")
            .arg(Arg::new("batch").long("batch"))
            .arg(
                Arg::new("data")
                    .long("data")
                    .visible_alias("root")
                    .default_value("x"),
            )
            .arg(Arg::new("group").long("group").action(ArgAction::Append))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue));
        let program = Command::new("train").subcommand(fit);
        repeats(&program, words.iter().map(OsString::from))
    }

    #[test]
    fn the_last_value_is_named() {
        let words =
            "train fit --batch 1 --json --batch=2 --json --group a --group b --root a --data b";
        let words: Vec<_> = words.split(' ').collect();
        assert_eq!(
            notes(&words),
            [
                "note: `--batch` was given 2 times; the last value, `2`, is used",
                "note: `--data` was given 2 times; the last value, `b`, is used",
            ]
        );
    }

    #[test]
    fn what_is_given_once_or_wrong_is_not_noted() {
        for words in [
            &["train", "fit", "--batch", "1"] as &[_],
            &["train", "fit", "--bach"],
            &["train"],
        ] {
            assert!(notes(words).is_empty(), "{words:?}");
        }
    }
}
