//! The `train` of a distribution, or the `snug` of a wheel: finds libtorch and becomes the program of its
//! own name in `libexec`.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use locale::Language;

fn main() -> ExitCode {
    let launched = launcher::own_path()
        .and_then(|own| launcher::launch(&own, env::args_os().skip(1).collect()));
    launched.unwrap_or_else(|error| {
        Language::asked().speak();
        let said = launcher::said(&error, error.hint().as_deref());
        // A closed stderr cannot be reported anywhere.
        writeln!(io::stderr(), "{said}").ok();
        ExitCode::FAILURE
    })
}
