//! Reads the settings of a Python script, a Markdown page or a command line. What is converted must be a configuration.

#![no_main]

use config::Overrides;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for name in ["script.py", "page.md", "-"] {
        match convert::settings(text, name) {
            Ok(all) => {
                for converted in all {
                    let read = Overrides::from_toml(&converted.toml);
                    assert!(read.is_ok(), "{}", converted.toml);
                }
            }
            Err(error) => drop((error.to_string(), error.hint())),
        }
    }
});
