//! Reads a PyTorch state dict, both unchanged and with the archive's checksums corrected.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use train::run::weights::WeightsFile;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("weights.pt");
    let mut bytes = bytes.to_vec();
    fuzz::weights(WeightsFile::from_bytes(path, bytes.clone()));
    fuzz::seal_zip(&mut bytes);
    fuzz::weights(WeightsFile::from_bytes(path, bytes));
});
