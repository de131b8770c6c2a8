//! The `train` of a distribution: finds libtorch and becomes `libexec/train`.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let launched = launcher::folder()
        .and_then(|folder| launcher::launch(&folder, env::args_os().skip(1).collect()));
    launched.unwrap_or_else(|error| {
        let mut stderr = io::stderr().lock();
        // A closed stderr cannot be reported anywhere.
        writeln!(stderr, "error: {}", launcher::with_causes(&error)).ok();
        if let Some(hint) = error.hint() {
            writeln!(stderr, "hint: {hint}").ok();
        }
        ExitCode::FAILURE
    })
}
