//! A file of weights in safetensors, into the network that it says it is of.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use train::weights::WeightsFile;

fuzz_target!(|bytes: &[u8]| fuzz::weights(WeightsFile::from_bytes(
    Path::new("weights.safetensors"),
    bytes.to_vec()
)));
