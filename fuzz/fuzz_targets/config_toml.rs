//! Reads a configuration file. If it is accepted, it is printed and must be read back unchanged. The format
//! `classes` is what stands in the table of this name.

#![no_main]

use config::{Language, Overrides, RunConfig, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if fuzz::format(&["classes"]) == Some("classes") {
        check_file(&[b"[classes]\n", text].concat());
    } else {
        check_file(text);
    }
});

fn check_file(text: &[u8]) {
    let path = fuzz::file("config.toml", text);
    match resolve(None, Some(&path), Overrides::default()) {
        Ok(resolved) => {
            check(&resolved.config);
            for language in [Language::English, Language::Japanese] {
                resolved.config.banner(language);
            }
        }
        Err(error) => drop((error.to_string(), error.hint())),
    }
    if let Ok(text) = std::str::from_utf8(text) {
        match RunConfig::from_toml(text) {
            Ok(config) => check(&config),
            Err(error) => drop((error.to_string(), error.hint())),
        }
    }
}

fn check(config: &RunConfig) {
    let text = config.to_toml();
    let again = RunConfig::from_toml(&text);
    assert_eq!(again.as_ref().ok(), Some(config), "{text}");
}
