//! State dicts of U-Nets: what they hold, by their names, and conversion to Snug's network and back.
//!
//! A state dict is a map of named tensors. [`read`] and [`write()`] are safetensors; the conversions are functions
//! over maps, so that tensors of any other file can be converted too.
//!
//! milesial's U-Net also takes images whose sides are not multiples of 16, and then pads before each concatenation.
//! Snug has no such sizes; at all others nothing is padded and both compute the same.

mod milesial;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use config::{Network, ParameterSpec};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, NONE, Result};

/// A state dict.
pub type Tensors = BTreeMap<String, Tensor>;

/// The numbers of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The number format.
    pub dtype: Dtype,
    /// The shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// The numbers, contiguous and little-endian.
    pub bytes: Vec<u8>,
}

/// Whose network a state dict is, by the names of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Snug, or the guide's `train_unet_split.py`: their names are the same, and Snug reads both.
    Snug,
    /// milesial's `Pytorch-UNet`.
    Milesial {
        /// Whether it was made with `bilinear=True`, whose ups have no weights. It cannot be converted.
        bilinear: bool,
    },
    /// Another network.
    Unknown,
}

/// Whose network the tensors with these names are. A prefix such as `module.` does not matter.
pub fn detect<'a>(names: impl IntoIterator<Item = &'a str>) -> Origin {
    identify(names).0
}

/// The origin, and what precedes the names.
fn identify<'a>(names: impl IntoIterator<Item = &'a str>) -> (Origin, &'a str) {
    let names: Vec<&str> = names.into_iter().collect();
    let prefix = |first: &str| {
        let mut prefixes = names.iter().filter_map(|name| name.strip_suffix(first));
        prefixes.find(|it| it.is_empty() || it.ends_with('.'))
    };
    if let Some(prefix) = prefix("downs.0.conv.0.weight") {
        return (Origin::Snug, prefix);
    }
    match prefix("inc.double_conv.0.weight") {
        Some(found) => {
            let bilinear = prefix("up1.up.weight").is_none();
            (Origin::Milesial { bilinear }, found)
        }
        None => (Origin::Unknown, ""),
    }
}

/// The tensors of Snug's network with the weights of `tensors`, whose origin their names tell; Snug's own come back
/// unchanged. `name` is the file's name, for messages.
///
/// Convolutions without biases get zeros, and the inputs of each up's first convolution are reordered, because
/// milesial's U-Net concatenates `[skip, up]` and Snug `[up, skip]`. The result computes the same outputs up to the
/// order of sums. The number of classes stays: two classes of a softmax remain two.
///
/// # Errors
/// [`Error::Bilinear`], [`Error::UnknownNetwork`], [`Error::Names`] and [`Error::Shape`].
pub fn to_snug(tensors: &Tensors, name: &str) -> Result<Tensors> {
    let (origin, prefix) = identify(tensors.keys().map(String::as_str));
    match origin {
        Origin::Snug => Ok(tensors.clone()),
        Origin::Milesial { bilinear: true } => Err(Error::Bilinear {
            name: name.to_owned(),
        }),
        Origin::Milesial { bilinear: false } => milesial::to_snug(&Source {
            tensors,
            prefix,
            name,
        }),
        Origin::Unknown => Err(unknown(tensors, name)),
    }
}

/// The tensors of milesial's U-Net (`bilinear=False`) with the weights of Snug's network `tensors`. `name` is the
/// file's name, for messages.
///
/// Its convolutions before batch norm have no biases. Batch norm subtracts its running mean from a convolution's
/// output, so subtracting the bias from the running mean instead changes no output in evaluation; in training,
/// batch norm takes the bias out anyway.
///
/// # Errors
/// [`Error::UnknownNetwork`], [`Error::Names`], [`Error::Shape`] and [`Error::Dtype`].
pub fn to_milesial(tensors: &Tensors, name: &str) -> Result<Tensors> {
    match identify(tensors.keys().map(String::as_str)) {
        (Origin::Snug, prefix) => milesial::from_snug(&Source {
            tensors,
            prefix,
            name,
        }),
        _ => Err(unknown(tensors, name)),
    }
}

/// Reads the safetensors file `bytes`, which is called `name` in messages.
///
/// # Errors
/// [`Error::Format`].
pub fn read(bytes: &[u8], name: &str) -> Result<Tensors> {
    let file = SafeTensors::deserialize(bytes).map_err(|source| format(name, source))?;
    let tensors = file.iter().map(|(tensor, view)| {
        let copied = Tensor {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        (tensor.to_owned(), copied)
    });
    Ok(tensors.collect())
}

/// The tensors as a safetensors file, which is called `name` in messages.
///
/// # Errors
/// [`Error::Format`] for a tensor whose bytes do not match its shape.
pub fn write(tensors: &Tensors, name: &str) -> Result<Vec<u8>> {
    let views = tensors.iter().map(|(key, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        Ok((key, view.map_err(|source| format(name, source))?))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    // What the libraries of the field expect of PyTorch's tensors.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(|source| format(name, source))
}

/// A state dict that is being converted.
struct Source<'a> {
    tensors: &'a Tensors,
    /// What precedes the names.
    prefix: &'a str,
    /// The file's name, for messages.
    name: &'a str,
}

impl Source<'_> {
    fn get(&self, tensor: &str) -> Option<&Tensor> {
        self.tensors.get(&format!("{}{tensor}", self.prefix))
    }

    /// The network whose first and last convolution have these names.
    fn network(&self, first: &str, last: &str) -> Result<Network> {
        let sides = |tensor: &str| match self.get(tensor)?.shape.as_slice() {
            [outputs, inputs, ..] => {
                Some((u32::try_from(*outputs).ok()?, u32::try_from(*inputs).ok()?))
            }
            _ => None,
        };
        let ends = sides(first).zip(sides(last));
        let ((width, in_channels), (classes, _)) =
            ends.ok_or_else(|| unknown(self.tensors, self.name))?;
        Ok(Network {
            in_channels,
            ..Network::new(width, classes)
        })
    }

    /// Checks that the tensors are those of `specs`, of which `is_optional` ones may be missing; `rename` gives a
    /// tensor's name in this file.
    fn check(
        &self,
        specs: &[ParameterSpec],
        rename: impl Fn(&str) -> String,
        is_optional: impl Fn(&ParameterSpec) -> bool,
    ) -> Result<()> {
        let specs = specs.iter().map(|spec| (rename(&spec.name), spec));
        let specs: BTreeMap<String, &ParameterSpec> = specs.collect();
        let is_missing = |(name, spec): &(&String, &&ParameterSpec)| {
            self.get(name).is_none() && !is_optional(spec)
        };
        let missing: Vec<_> = specs
            .iter()
            .filter(is_missing)
            .map(|(name, _)| name.as_str())
            .collect();
        let known = |name: &str| {
            name.strip_prefix(self.prefix)
                .is_some_and(|it| specs.contains_key(it))
        };
        let unexpected: Vec<_> = self
            .tensors
            .keys()
            .map(String::as_str)
            .filter(|it| !known(it))
            .collect();
        if !missing.is_empty() || !unexpected.is_empty() {
            return Err(Error::Names {
                name: self.name.to_owned(),
                missing: first_few(&missing),
                unexpected: first_few(&unexpected),
            });
        }
        for (name, spec) in &specs {
            let expected: Vec<usize> = spec
                .shape
                .iter()
                .map(|it| usize::try_from(*it).unwrap_or(usize::MAX))
                .collect();
            if let Some(tensor) = self.get(name).filter(|it| it.shape != expected) {
                return Err(Error::Shape {
                    name: self.name.to_owned(),
                    tensor: name.clone(),
                    found: tensor.shape.clone(),
                    expected,
                });
            }
        }
        Ok(())
    }
}

fn unknown(tensors: &Tensors, name: &str) -> Error {
    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    Error::UnknownNetwork {
        name: name.to_owned(),
        found: first_few(&names),
    }
}

fn format(name: &str, source: safetensors::SafeTensorError) -> Error {
    Error::Format {
        name: name.to_owned(),
        source,
    }
}

fn first_few(names: &[&str]) -> String {
    match names {
        [] => NONE.to_owned(),
        few if few.len() <= 3 => few.join(", "),
        _ => format!("{} and {} more", names[..3].join(", "), names.len() - 3),
    }
}
