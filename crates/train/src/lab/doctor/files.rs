//! Pages are drawn, written and read back unchanged; so are weights.

use std::path::Path;

use tch::Device;

use super::Finding;
use super::tiny::{Comparison, OFF, Tiny, config_of};
use crate::error::{Error, Result};
use crate::run::understood::{Asked, Understood};
use crate::run::weights::{self, WeightsFile};
use config::Precision;
use data::synth::{self, Counts, write_dataset};
use data::{FolderSource, Source as _};

/// A temporary folder.
pub(super) fn folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(|e| Error::io("create", std::env::temp_dir(), e))
}

/// Compares a built-in page with its files.
pub(super) fn data(broken: bool) -> Result<Finding> {
    const SEED: u64 = 5;
    const SIZE: (u32, u32) = (64, 96);
    let folder = folder()?;
    let counts = Counts {
        train: 1,
        val: 1,
        test: 0,
    };
    let seed = if broken { SEED + 1 } else { SEED };
    let out = folder.path().join("pages");
    write_dataset(&out, counts, SIZE, seed, |_, _| ())?;
    let page = synth::page(SEED, 0, SIZE.0, SIZE.1);
    let (image, mask) = read_page(&out)?;
    let white: usize = page.mask.iter().map(|&class| usize::from(class)).sum();
    Ok(if image != page.image || mask != page.mask {
        Finding::fail("a page that was written as PNG was read back as another")
    } else if white == 0 || white == page.mask.len() {
        Finding::fail("the mask of a built-in page is of one class")
    } else {
        Finding::ok(format!(
            "a built-in page of {}x{} written as PNG and read back equal, {white} pixels in \
             balloons",
            SIZE.0, SIZE.1
        ))
    })
}

/// The only page for training in a folder.
fn read_page(folder: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let config = config_of(OFF, Precision::Fp32);
    let read = Understood::read(folder, &config, Asked::default(), None, |_, _| ())?;
    let source = FolderSource::new(read.dataset.train, read.reading, 64, 96);
    let sample = source.load(0)?;
    Ok((sample.image, sample.mask))
}

/// Saves the weights of one network and loads them into another.
pub(super) fn weights(device: Device, broken: bool) -> Result<Finding> {
    let tiny = |seed| {
        let mut config = config_of(OFF, Precision::Fp32);
        config.seed = seed;
        Tiny::new(config, device, Precision::Fp32)
    };
    let (mut saved, loaded) = (tiny(1)?, tiny(2)?);
    // After this, the buffers of batch norm differ from those of a new network.
    let batch = saved.batch(1)?;
    saved.gradients(&batch)?;
    saved.update()?;
    let folder = folder()?;
    let path = folder.path().join("weights.safetensors");
    weights::save(&saved.learner.model, &path)?;
    let file = WeightsFile::open(&path)?;
    file.load_into(&loaded.learner.model)?;
    if broken {
        loaded.alter(1e-3)?;
    }
    let parameters = Comparison::of(&saved.named_state(true)?, &loaded.named_state(true)?)?;
    let buffers = Comparison::of(&saved.named_state(false)?, &loaded.named_state(false)?)?;
    let counts = format!(
        "{} of {} parameters and {} of {} buffers",
        parameters.num_equal, parameters.num, buffers.num_equal, buffers.num
    );
    Ok(if parameters.all_equal() && buffers.all_equal() {
        Finding::ok(format!("{counts} saved and loaded back equal"))
    } else {
        Finding::fail(format!("only {counts} were loaded as they were saved"))
    })
}
