//! How this program is typed, for commands that it prints.

use std::borrow::Cow;
use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this is `snug`, which has every command.
static IS_SNUG: AtomicBool = AtomicBool::new(false);

/// Says that this program is `snug`.
pub fn be_snug() {
    IS_SNUG.store(true, Ordering::Relaxed);
}

/// Whether this program is `snug`.
pub fn is_snug() -> bool {
    IS_SNUG.load(Ordering::Relaxed)
}

/// The command that trains.
pub fn training() -> &'static str {
    if is_snug() { "train" } else { "fit" }
}

/// The words after the program's name, as far as they are Unicode.
pub fn words() -> Vec<String> {
    let words = env::args_os().skip(1);
    words.map(|it| it.to_string_lossy().into_owned()).collect()
}

/// A command line of this program with the words `args`, quoted for a shell. Under `cargo run` it is cargo's.
pub fn line<'a>(args: impl IntoIterator<Item = &'a str>) -> String {
    let typed = env::args_os().next().unwrap_or_default();
    let by_cargo = env::var_os("CARGO").is_some();
    typed_with(&typed.to_string_lossy(), by_cargo, args)
}

fn typed_with<'a>(typed: &str, by_cargo: bool, args: impl IntoIterator<Item = &'a str>) -> String {
    let name = Path::new(typed).file_name().and_then(|it| it.to_str());
    let mut line = match (by_cargo, name) {
        (true, Some("train")) => "cargo run --features full --".to_owned(),
        (true, Some(name)) => format!("cargo run --features full --bin {name} --"),
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
