//! Weights and snapshots, and corrected checksums for them.

use std::io::{Cursor, Write as _};

use config::{ImageSize, Precision, RunConfig};
use engine::model::UNet;
use engine::trainer::Trainer;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tch::Device;
use train::Error;
use train::run::weights::WeightsFile;
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The bytes of a snapshot with a corrected digest at its end.
pub fn seal_snapshot(bytes: &mut [u8]) {
    const DIGEST: usize = 32;
    if let Some((content, digest)) = bytes.split_last_chunk_mut::<DIGEST>() {
        digest.copy_from_slice(&Sha256::digest(content));
    }
}

/// The bytes of a zip archive with corrected checksums of all stored entries that can be found.
pub fn seal_zip(bytes: &mut [u8]) {
    const ENTRY: &[u8] = b"PK\x01\x02";
    let number = |bytes: &[u8], at: usize, num: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(num)?)?;
        Some(field.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
    };
    for at in 0..bytes.len() {
        if !bytes[at..].starts_with(ENTRY) {
            continue;
        }
        let checksum = || {
            let (size, local) = (number(bytes, at + 20, 4)?, number(bytes, at + 42, 4)?);
            let (name, extra) = (number(bytes, local + 26, 2)?, number(bytes, local + 28, 2)?);
            let start = local + 30 + name + extra;
            Some(crc32fast::hash(bytes.get(start..start.checked_add(size)?)?))
        };
        if let Some(checksum) = checksum()
            && let Some(field) = bytes.get_mut(at + 16..at + 20)
        {
            field.copy_from_slice(&checksum.to_le_bytes());
        }
    }
}

/// An archive as `torch.save` writes it: stored, not compressed.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // Without a date, so that the seeds are always the same.
    let options = FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    for (name, bytes) in files {
        archive
            .start_file(*name, options)
            .and_then(|()| Ok(archive.write_all(bytes)?))
            .expect("memory can be written");
    }
    archive
        .finish()
        .expect("memory can be written")
        .into_inner()
}

/// Uses weights as a program does: builds the network of the file and loads its tensors.
pub fn weights(file: Result<WeightsFile, Error>) {
    // Networks that are too large to build in each execution are skipped, even if the file is
    // small.
    const MAX_WIDTH: u32 = 1;
    let load = || {
        let file = file?;
        let network = file.network()?;
        if network.width <= MAX_WIDTH && network.classes <= MAX_WIDTH {
            file.load_into(&UNet::new(network, Device::Cpu, 0, false)?)?;
        }
        Ok(())
    };
    report(load());
}

/// Formats an error as users see it.
pub fn report<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        drop((error.message(), error.hint()));
    }
}

/// The smallest possible trainer, in fp16, so that it has a scaler.
pub fn trainer() -> Trainer {
    let config = RunConfig {
        img_size: ImageSize::new(16, 32),
        width: 1,
        batch: 1,
        ..RunConfig::default()
    };
    Trainer::new(config, Device::Cpu, Precision::Fp16).expect("it needs next to nothing")
}

/// A snapshot with this state and the tensor that is read first, with a valid checksum.
pub fn snapshot_of(state: &str) -> Vec<u8> {
    let header = json!({
        "__metadata__": {"snug_snapshot": "1", "snug_state": state},
        "model.downs.0.conv.0.weight":
            {"dtype": "F32", "shape": [1, 3, 3, 3], "data_offsets": [0, 108]},
        "sha256": {"dtype": "U8", "shape": [32], "data_offsets": [108, 140]},
    });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    let mut bytes = [&length[..], &header, &[1; 140]].concat();
    seal_snapshot(&mut bytes);
    bytes
}
