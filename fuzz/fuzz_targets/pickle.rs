//! Reads a pickle in an otherwise valid PyTorch archive with two storages.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use train::run::weights::WeightsFile;

fuzz_target!(|pickle: &[u8]| {
    let archive = fuzz::archive(&[
        ("w/data.pkl", pickle),
        ("w/data/0", &[7; 256]),
        ("w/data/1", &[9; 8]),
    ]);
    fuzz::weights(WeightsFile::from_bytes(Path::new("weights.pt"), archive));
});
