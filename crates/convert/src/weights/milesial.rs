//! The names and the tensors of milesial's `Pytorch-UNet`, with `bilinear=False`.
//!
//! Its network is Snug's but for three things: the names, the order of each concatenation, and, in its newer
//! versions, convolutions without biases before batch norm.

use config::Role;
use safetensors::tensor::Dtype;

use super::{Source, Tensor, Tensors};
use crate::error::{Error, Result};

pub(super) fn to_snug(source: &Source<'_>) -> Result<Tensors> {
    let network = source.network("inc.double_conv.0.weight", "outc.conv.weight")?;
    let specs = network.parameters();
    source.check(&specs, name_of, |spec| is_left_out(&spec.name))?;
    let mut tensors = Tensors::new();
    for spec in specs {
        let tensor = match source.get(&name_of(&spec.name)) {
            Some(tensor) if reads_concatenation(&spec.name) => with_halves_swapped(tensor),
            Some(tensor) => tensor.clone(),
            None => zeros_beside(source, &spec.name),
        };
        tensors.insert(spec.name, tensor);
    }
    Ok(tensors)
}

pub(super) fn from_snug(source: &Source<'_>) -> Result<Tensors> {
    let network = source.network("downs.0.conv.0.weight", "out_conv.weight")?;
    let specs = network.parameters();
    source.check(&specs, str::to_owned, |_| false)?;
    let mut tensors = Tensors::new();
    for spec in specs.iter().filter(|spec| !is_left_out(&spec.name)) {
        let Some(tensor) = source.get(&spec.name) else {
            continue;
        };
        let tensor = match (spec.role, bias_before(&spec.name)) {
            (Role::BnRunningMean, Some(bias)) => less(source, &spec.name, &bias)?,
            _ if reads_concatenation(&spec.name) => with_halves_swapped(tensor),
            _ => tensor.clone(),
        };
        tensors.insert(name_of(&spec.name), tensor);
    }
    Ok(tensors)
}

/// The name of Snug's tensor in milesial's network.
fn name_of(snug: &str) -> String {
    let (module, rest) = snug.split_once('.').unwrap_or((snug, ""));
    let (index, member) = rest.split_once('.').unwrap_or((rest, ""));
    // Snug counts from 0, and milesial's `inc` is the first down.
    let number = index.parse::<u32>().unwrap_or_default();
    let double = |path: &str| member.replacen("conv.", path, 1);
    match module {
        "downs" if number == 0 => format!("inc.{}", double("double_conv.")),
        "downs" => format!("down{number}.{}", double("maxpool_conv.1.double_conv.")),
        "bottleneck" => format!("down4.maxpool_conv.1.double_conv.{member}"),
        "ups_tr" => format!("up{}.up.{member}", number + 1),
        "up_convs" => format!("up{}.{}", number + 1, double("conv.double_conv.")),
        _ => format!("outc.conv.{rest}"),
    }
}

/// Whether Snug's tensor is the weight of a convolution over a concatenation.
fn reads_concatenation(snug: &str) -> bool {
    snug.starts_with("up_convs.") && snug.ends_with(".conv.0.weight")
}

/// Whether Snug's tensor is a bias that milesial's network does not have.
fn is_left_out(snug: &str) -> bool {
    snug.ends_with(".conv.0.bias") || snug.ends_with(".conv.3.bias")
}

/// The bias of the convolution before a batch norm, by the name of the running mean.
fn bias_before(running_mean: &str) -> Option<String> {
    let norm = running_mean.strip_suffix(".running_mean")?;
    let (path, norm) = norm.rsplit_once('.')?;
    let conv = norm.parse::<u32>().ok()?.checked_sub(1)?;
    Some(format!("{path}.{conv}.bias"))
}

/// A bias of zeros for a convolution that has none, in the number format of its weight.
fn zeros_beside(source: &Source<'_>, bias: &str) -> Tensor {
    let weight = name_of(bias).replace(".bias", ".weight");
    let weight = source.get(&weight);
    let dtype = weight.map_or(Dtype::F32, |it| it.dtype);
    let num = weight
        .and_then(|it| it.shape.first())
        .copied()
        .unwrap_or_default();
    Tensor {
        dtype,
        shape: vec![num],
        bytes: vec![0; num * dtype.bitsize() / 8],
    }
}

/// A weight (`[out, in, 3, 3]`) with the first and the second half of its inputs exchanged.
pub(super) fn with_halves_swapped(weight: &Tensor) -> Tensor {
    let row = weight.bytes.len() / weight.shape.first().copied().unwrap_or(1).max(1);
    let rows = weight.bytes.chunks_exact(row.max(1));
    let swapped = rows.flat_map(|row| {
        let (first, second) = row.split_at(row.len() / 2);
        [second, first]
    });
    Tensor {
        bytes: swapped.flatten().copied().collect(),
        ..weight.clone()
    }
}

/// A running mean less a bias.
fn less(source: &Source<'_>, mean: &str, bias: &str) -> Result<Tensor> {
    let numbers = |tensor: &str| match source.get(tensor) {
        Some(it) if it.dtype == Dtype::F32 => Ok(it),
        other => Err(Error::Dtype {
            name: source.name.to_owned(),
            tensor: tensor.to_owned(),
            dtype: other.map_or(Dtype::F32, |it| it.dtype),
        }),
    };
    let (mean, bias) = (numbers(mean)?, numbers(bias)?);
    let differences = floats(mean)
        .zip(floats(bias))
        .map(|(mean, bias)| mean - bias);
    Ok(Tensor {
        bytes: differences.flat_map(f32::to_le_bytes).collect(),
        ..mean.clone()
    })
}

/// The numbers of a tensor in fp32.
pub(super) fn floats(tensor: &Tensor) -> impl Iterator<Item = f32> {
    let (numbers, _) = tensor.bytes.as_chunks();
    numbers.iter().copied().map(f32::from_le_bytes)
}
