//! Reads a safetensors file of weights, and loads them into the network that the file describes.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use train::run::weights::WeightsFile;

fuzz_target!(|bytes: &[u8]| fuzz::weights(WeightsFile::from_bytes(
    Path::new("weights.safetensors"),
    bytes.to_vec()
)));
