//! How this program is typed, for commands that it prints.

use std::borrow::Cow;
use std::env;
use std::path::Path;
use std::sync::LazyLock;

/// A command line of this program with the words `args`, quoted for a shell. Under `cargo run` it is cargo's.
pub fn line<'a>(args: impl IntoIterator<Item = &'a str>) -> String {
    let typed = env::args().next().unwrap_or_default();
    typed_with(&typed, env::var_os("CARGO").is_some(), args)
}

/// The command that trains.
pub fn training() -> &'static str {
    if is_snug() { "train" } else { "fit" }
}

/// Whether this is the program with everything in it.
pub fn is_snug() -> bool {
    static IS_SNUG: LazyLock<bool> = LazyLock::new(|| {
        let typed = env::args_os().next().unwrap_or_default();
        Path::new(&typed).file_name().is_some_and(|it| it == "snug")
    });
    *IS_SNUG
}

fn typed_with<'a>(typed: &str, by_cargo: bool, args: impl IntoIterator<Item = &'a str>) -> String {
    let path = Path::new(typed);
    let name = path.file_name().and_then(|it| it.to_str()).unwrap_or(typed);
    // A program that a launcher starts is called as the launcher is.
    let is_launched = path.parent().is_some_and(|it| it.ends_with("libexec"));
    let mut line = match (by_cargo, name) {
        (true, "train") => "cargo run --features full --".to_owned(),
        (true, name) => format!("cargo run --features full --bin {name} --"),
        _ if is_launched => name.to_owned(),
        _ => quoted(typed).into_owned(),
    };
    for arg in args {
        line.push(' ');
        line.push_str(&quoted(arg));
    }
    line
}

fn quoted(word: &str) -> Cow<'_, str> {
    // No command line holds a NUL.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_person_types() {
        let words = ["predict", "--input", "my images", "--out", "it's"];
        let rest = r#"predict --input 'my images' --out "it's""#;
        for (typed, by_cargo, program) in [
            ("snug", false, "snug"),
            ("./bin/snug", false, "./bin/snug"),
            ("/opt/snug/libexec/snug", false, "snug"),
            ("target/debug/train", true, "cargo run --features full --"),
            (
                "target/debug/snug",
                true,
                "cargo run --features full --bin snug --",
            ),
        ] {
            assert_eq!(
                typed_with(typed, by_cargo, words),
                format!("{program} {rest}")
            );
        }
    }
}
