//! Files that the workers of a benchmark share: batches and pages.

use std::path::Path;

use config::{ImageSize, RunConfig};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::run::weights::write_atomically;
use data::synth::{self, Counts};
use data::{Source, SynthSource};

/// Writes `count` batches of built-in pages: `images.N` `[N, H, W, 3]`, `masks.N` `[N, H, W]`.
pub(super) fn write_batches(path: &Path, config: &RunConfig, count: u32) -> Result<()> {
    let ImageSize { height, width } = config.img_size;
    let (batch, count) = (config.batch as usize, count as usize);
    let source = SynthSource::new(config.seed, batch * count, height, width)?;
    let (h, w) = (height as usize, width as usize);
    let mut buffers = Vec::new();
    for number in 0..count {
        let (mut images, mut masks) = (Vec::new(), Vec::new());
        for index in number * batch..(number + 1) * batch {
            let sample = source.load(index)?;
            images.extend_from_slice(&sample.image);
            masks.extend_from_slice(&sample.mask);
        }
        buffers.push((format!("images.{number}"), vec![batch, h, w, 3], images));
        buffers.push((format!("masks.{number}"), vec![batch, h, w], masks));
    }
    let mut views = Vec::new();
    for (name, shape, bytes) in &buffers {
        let view = TensorView::new(Dtype::U8, shape.clone(), bytes);
        views.push((name.as_str(), view.map_err(|e| broken(path, &e))?));
    }
    let bytes = safetensors::serialize(views, None).map_err(|e| broken(path, &e))?;
    write_atomically(path, &bytes)
}

/// Reads the batches back onto `device`.
pub(super) fn read_batches(path: &Path, device: Device) -> Result<Vec<(Tensor, Tensor)>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| broken(path, &e))?;
    let read = |name: &str| -> Result<Option<Tensor>> {
        let Ok(view) = tensors.tensor(name) else {
            return Ok(None);
        };
        let shape: Vec<i64> = view
            .shape()
            .iter()
            .map(|&d| d.cast_signed() as i64)
            .collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, Kind::Uint8)?;
        Ok(Some(tensor.f_to_device(device)?))
    };
    let mut batches = Vec::new();
    while let Some(images) = read(&format!("images.{}", batches.len()))? {
        let name = format!("masks.{}", batches.len());
        let masks = read(&name)?.ok_or_else(|| broken(path, &format!("no `{name}`")))?;
        batches.push((images, masks));
    }
    Ok(batches)
}

/// Writes pages for training and validation.
pub(super) fn write_pages(folder: &Path, size: ImageSize, train: u32, val: u32) -> Result<()> {
    let counts = Counts {
        train: train as usize,
        val: val as usize,
        test: 0,
    };
    let size = (size.height, size.width);
    Ok(synth::write_dataset(folder, counts, size, 0, |_, _| ())?)
}

fn broken(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Weights {
        path: path.to_owned(),
        message: why.to_string(),
        hint: "`train bench` writes it anew".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batches.safetensors");
        let config = RunConfig {
            img_size: ImageSize::new(32, 48),
            batch: 2,
            ..RunConfig::default()
        };
        write_batches(&path, &config, 3).unwrap();
        let batches = read_batches(&path, Device::Cpu).unwrap();
        assert_eq!(batches.len(), 3);
        let source = SynthSource::new(config.seed, 6, 32, 48).unwrap();
        for (number, (images, masks)) in batches.iter().enumerate() {
            assert_eq!(images.size(), [2, 32, 48, 3]);
            assert_eq!(masks.size(), [2, 32, 48]);
            let second = source.load(number * 2 + 1).unwrap();
            let image = Tensor::from_data_size(&second.image, &[32, 48, 3], Kind::Uint8);
            assert!(images.get(1).equal(&image));
        }
    }
}
