//! The `train` of a distribution, or the `snug` of a wheel: finds libtorch and becomes the program of its
//! own name in `libexec`.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let launched = launcher::own_path()
        .and_then(|own| launcher::launch(&own, env::args_os().skip(1).collect()));
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
