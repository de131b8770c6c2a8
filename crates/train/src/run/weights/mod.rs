//! Weights in safetensors, by the names of the script's state dict; PyTorch's own files can be read too.

mod contract;
mod pickle;
mod pytorch;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use config::files::write_whole;
use config::{Network, ParameterSpec};
use convert::weights::{Origin, detect};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::run::snapshot::claims_to_be_snapshot;
use engine::model::{Entry, UNet};

pub use contract::Contract;

/// Writes all tensors of `model`, contiguous, to `path`, through a temporary file in the same folder,
/// so that an existing file is either intact or replaced.
///
/// # Errors
/// [`Error::Io`] with the file.
pub fn save(model: &UNet, path: &Path) -> Result<()> {
    write_atomically(path, &to_bytes(model, None)?)
}

/// The bytes of a weights file, with the contract of the network if there is one.
///
/// # Errors
/// If a tensor cannot be read.
pub fn to_bytes(model: &UNet, contract: Option<&Contract>) -> Result<Vec<u8>> {
    let path = Path::new("weights");
    let mut buffers = Vec::new();
    for entry in model.parameters().entries() {
        buffers.push(tensor_bytes(&entry.tensor)?);
    }
    let mut views = Vec::new();
    for (entry, bytes) in model.parameters().entries().iter().zip(&buffers) {
        let shape = shape_of(&entry.spec);
        let view = TensorView::new(dtype_of(entry), shape, bytes)
            .map_err(|e| unreadable(path, &e.to_string()))?;
        views.push((entry.spec.name.clone(), view));
    }
    // `format = pt` is what the libraries of the field expect of PyTorch's tensors. No more than
    // one entry: a map of two is written in either order, and equal weights are equal files.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata));
    let bytes = bytes.map_err(|e| unreadable(path, &e.to_string()))?;
    let Some(contract) = contract else {
        return Ok(bytes);
    };
    let added = contract.added_to(&bytes);
    added.ok_or_else(|| unreadable(path, "its header has another form"))
}

/// Writes `bytes` to `path` through a temporary file in the same folder.
///
/// # Errors
/// [`Error::Io`] with the file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes).map_err(|e| Error::io("write", path, e))
}

/// A weights file in memory, with its format checked.
#[derive(Debug)]
pub struct WeightsFile {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl WeightsFile {
    /// Reads `path`: safetensors, or a state dict that PyTorch saved, without running anything in it, of the script's
    /// network or of milesial's, which is renamed. The contents decide which, not the name.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Weights`] if it is a folder or a snapshot, or has neither format.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::Weights {
                path: path.to_owned(),
                message: "a folder, not a weights file".to_owned(),
                hint: "name the file in it, such as `best.safetensors`".to_owned(),
            });
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        if claims_to_be_snapshot(&bytes) {
            return Err(snapshot(path));
        }
        Self::from_bytes(path, bytes)
    }

    /// Like [`Self::open`], from `bytes`, the contents of `path`.
    ///
    /// # Errors
    /// [`Error::Weights`] if they have neither format.
    pub fn from_bytes(path: &Path, mut bytes: Vec<u8>) -> Result<Self> {
        let wrong = |message: &str| Error::Weights {
            path: path.to_owned(),
            message: message.to_owned(),
            hint: "`torch.save(model.state_dict(), FILE)` with a newer PyTorch, or \
                   `safetensors.torch.save_file`, writes what is read here"
                .to_owned(),
        };
        if bytes.starts_with(pytorch::MAGIC) {
            bytes = pytorch::to_safetensors(&bytes).map_err(|e| wrong(&e))?;
        } else if bytes.starts_with(pytorch::OLD_MAGIC) {
            return Err(wrong("a pickle, as PyTorch saved before 1.6"));
        }
        let mut file = Self {
            path: path.to_owned(),
            bytes,
        };
        let names = file.tensors()?;
        if let Origin::Milesial { .. } = detect(names.names()) {
            let name = path.display().to_string();
            let tensors =
                convert::weights::to_snug(&convert::weights::read(&file.bytes, &name)?, &name)?;
            file.bytes = convert::weights::write(&tensors, &name)?;
        }
        Ok(file)
    }

    /// The file, in safetensors.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes).map_err(|e| {
            unreadable(
                &self.path,
                &format!("neither a safetensors file ({e}) nor one that PyTorch saved"),
            )
        })
    }

    /// What images and masks must be like for its network, if Snug wrote it.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is damaged, of another network or of a newer version.
    pub fn contract(&self) -> Result<Option<Contract>> {
        let header = SafeTensors::read_metadata(&self.bytes).map(|(_, header)| header);
        let header = header.map_err(|e| unreadable(&self.path, &e.to_string()))?;
        let metadata = header.metadata().as_ref();
        let Some(text) = metadata.and_then(|it| it.get(Contract::KEY)) else {
            return Ok(None);
        };
        let contract = Contract::from_json(text);
        let network = self.network()?;
        let of_network = [network.classes, network.in_channels].map(|num| num as usize);
        let fits = |it: &Contract| {
            let reading = it.reading.as_ref();
            reading.is_none_or(|it| [it.mask.num_classes, it.image.channels] == of_network)
        };
        match contract.filter(fits) {
            Some(contract) => Ok(Some(contract)),
            None => Err(self.wrong(
                "what it says about its images is damaged, or of a newer version".to_owned(),
                "use the version of Snug that wrote it",
            )),
        }
    }

    /// The network that it holds, inferred from the shapes of its first and last convolution. All
    /// tensors are checked, so that a few bytes cannot claim a giant network.
    ///
    /// # Errors
    /// [`Error::Weights`]: tensors are missing, unexpected, or have another shape.
    pub fn network(&self) -> Result<Network> {
        let tensors = self.tensors()?;
        let prefix = prefix(&tensors);
        let channels = |name: &str| {
            let tensor = tensors.tensor(&format!("{prefix}{name}")).ok()?;
            let shape = tensor.shape().first().zip(tensor.shape().get(1));
            let (outputs, inputs) = shape?;
            let all = u32::try_from(*outputs)
                .ok()
                .zip(u32::try_from(*inputs).ok());
            all.filter(|(outputs, _)| *outputs > 0)
        };
        let first = channels("downs.0.conv.0.weight");
        let Some(((width, in_channels), (classes, _))) = first.zip(channels("out_conv.weight"))
        else {
            let mut names = tensors.names();
            names.sort_unstable();
            return Err(self.wrong(
                format!(
                    "not a U-Net of the guide's script: `downs.0.conv.0.weight` or \
                     `out_conv.weight` is missing (found {})",
                    first_few(&names)
                ),
                "save the model's `state_dict()` with safetensors, names unchanged",
            ));
        };
        let network = Network {
            // 0 would be a network without an input; the shapes differ then, which is said below.
            in_channels: in_channels.max(1),
            ..Network::new(width, classes)
        };
        self.holds_all_of(&network, &prefix, &tensors)?;
        Ok(network)
    }

    fn holds_all_of(
        &self,
        network: &Network,
        prefix: &str,
        tensors: &SafeTensors<'_>,
    ) -> Result<()> {
        let specs = network.parameters();
        let known: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let names = tensors.names().into_iter();
        let held: HashSet<&str> = names.filter_map(|it| it.strip_prefix(prefix)).collect();
        let missing: Vec<&str> = specs
            .iter()
            .map(|spec| spec.name.as_str())
            .filter(|name| !held.contains(name))
            .collect();
        let mut unexpected: Vec<&str> = held.difference(&known).copied().collect();
        unexpected.sort_unstable();
        if !missing.is_empty() || !unexpected.is_empty() {
            return Err(self.wrong(
                format!(
                    "its tensors differ from the network's: missing {}, unexpected {}",
                    first_few(&missing),
                    first_few(&unexpected)
                ),
                "convolutions carry biases and BatchNorm its `num_batches_tracked`, as in the \
                 guide's script",
            ));
        }
        for spec in &specs {
            let name = format!("{prefix}{}", spec.name);
            let shape = tensors.tensor(&name).map(|it| it.shape().to_vec());
            let shape = shape.map_err(|e| unreadable(&self.path, &e.to_string()))?;
            if shape != shape_of(spec) {
                return Err(self.wrong(
                    format!(
                        "`{}` has shape {shape:?}, the network {:?}",
                        spec.name,
                        shape_of(spec)
                    ),
                    "the file is of another network",
                ));
            }
        }
        Ok(())
    }

    /// Copies all tensors into `model`, or none of them, like `load_state_dict(strict=True)`.
    ///
    /// # Errors
    /// [`Error::Weights`]: the width, the channels or the classes differ, or tensors are missing,
    /// unexpected, or have another shape or dtype.
    pub fn load_into(&self, model: &UNet) -> Result<()> {
        let (here, there) = (self.network()?, model.network());
        if here != there {
            return Err(self.wrong(
                format!(
                    "holds a network of width {} with {} channel(s) and {} class(es), the run has width {} with {} and {}",
                    here.width,
                    here.in_channels,
                    here.classes,
                    there.width,
                    there.in_channels,
                    there.classes
                ),
                &format!(
                    "pass `--width {} --in-channels {} --classes {}`",
                    here.width, here.in_channels, here.classes
                ),
            ));
        }
        let tensors = self.tensors()?;
        let prefix = prefix(&tensors);
        let entries = model.parameters().entries();
        let mut loaded = Vec::new();
        for entry in entries {
            let view = tensors
                .tensor(&format!("{prefix}{}", entry.spec.name))
                .map_err(|e| unreadable(&self.path, &e.to_string()))?;
            loaded.push(self.tensor(entry, &view)?);
        }
        for (entry, value) in entries.iter().zip(loaded) {
            tch::no_grad(|| entry.tensor.shallow_clone().f_copy_(&value).map(drop))?;
        }
        Ok(())
    }

    fn tensor(&self, entry: &Entry, view: &TensorView<'_>) -> Result<Tensor> {
        let name = &entry.spec.name;
        let kind = match view.dtype() {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            other => {
                return Err(self.wrong(
                    format!("`{name}` has dtype {other:?}"),
                    "save the weights as fp32, fp16 or bf16",
                ));
            }
        };
        let shape: Vec<i64> = entry.spec.shape.iter().map(|&d| d.cast_signed()).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)?;
        if tensor.is_floating_point() && tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(self.wrong(
                format!("`{name}` holds values that are not finite"),
                "the run that wrote it has diverged: take weights that it wrote before",
            ));
        }
        Ok(tensor.f_to_kind(entry.tensor.kind())?)
    }

    fn wrong(&self, message: String, hint: &str) -> Error {
        Error::Weights {
            path: self.path.clone(),
            message,
            hint: hint.to_owned(),
        }
    }
}

/// What precedes the names of the network's tensors, such as `_orig_mod.` of `torch.compile`, `module.`
/// of `DataParallel` or `model.` of Lightning.
fn prefix(tensors: &SafeTensors<'_>) -> String {
    let names = tensors.names().into_iter();
    let prefixes = names.filter_map(|name| name.strip_suffix("downs.0.conv.0.weight"));
    let mut prefixes = prefixes.filter(|it| it.is_empty() || it.ends_with('.'));
    prefixes.next().unwrap_or_default().to_owned()
}

/// A snapshot was given as weights; those of its run lie beside it.
fn snapshot(path: &Path) -> Error {
    let weights = path.with_file_name("weights.safetensors");
    let hint = if weights.is_file() {
        format!("the last weights of the run are `{}`", weights.display())
    } else {
        "name the `weights.safetensors` or `best.safetensors` of the run".to_owned()
    };
    Error::Weights {
        path: path.to_owned(),
        message: "a snapshot to resume a run from, not a weights file".to_owned(),
        hint,
    }
}

fn unreadable(path: &Path, message: &str) -> Error {
    Error::Weights {
        path: path.to_owned(),
        message: message.to_owned(),
        hint: "expected the script's state dict, as `safetensors.torch.save_file` or `torch.save` \
               writes it"
            .to_owned(),
    }
}

fn first_few(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        _ if names.len() <= 3 => names.join(", "),
        _ => format!("{} and {} more", names[..3].join(", "), names.len() - 3),
    }
}

fn shape_of(spec: &ParameterSpec) -> Vec<usize> {
    spec.shape
        .iter()
        .map(|&d| usize::try_from(d).unwrap_or(usize::MAX))
        .collect()
}

fn dtype_of(entry: &Entry) -> Dtype {
    if entry.tensor.kind() == Kind::Int64 {
        Dtype::I64
    } else {
        Dtype::F32
    }
}

/// The values in the order of `[N, C, H, W]`, whatever the memory format, little-endian.
pub(crate) fn tensor_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let t = tensor
        .f_detach()?
        .f_to_device(Device::Cpu)?
        .f_contiguous()?;
    let mut bytes = vec![0_u8; t.numel() * t.kind().elt_size_in_bytes()];
    t.f_copy_data_u8(&mut bytes, t.numel())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
