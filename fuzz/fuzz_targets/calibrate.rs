//! Fits rates to a benchmark.

#![no_main]

use std::path::Path;

use advisor::calibrate::{calibrate, to_json, to_text};
use bench::results::Results;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Results::from_json(Path::new("results.json"), text) {
        Ok(results) => match calibrate(&[results]) {
            Ok(groups) => drop((to_text(&groups), to_json(&groups).to_string())),
            Err(error) => drop(error.to_string()),
        },
        Err(error) => drop(error.to_string()),
    }
});
