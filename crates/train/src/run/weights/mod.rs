//! Weights in safetensors, by the names of the script's state dict; PyTorch's own files can be read too.

mod contract;
mod pickle;
mod pytorch;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;

use config::{Network, ParameterSpec};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::run::snapshot::is_snapshot;
use engine::model::{Entry, UNet};

pub use contract::Contract;

/// The key of the contract in a file's metadata.
const CONTRACT: &str = "snug";

/// Prefix of the names of files that are not complete yet.
pub const TEMPORARY: &str = ".snug-";

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
    let text = contract
        .to_json()
        .and_then(|text| serde_json::to_string(&text));
    let text = text.map_err(|e| unreadable(path, &e.to_string()))?;
    with_entry(&bytes, &text).ok_or_else(|| unreadable(path, "its header has another form"))
}

/// Adds the entry [`CONTRACT`] with a value in JSON after the only one of a file's metadata.
fn with_entry(bytes: &[u8], value: &str) -> Option<Vec<u8>> {
    const FIRST: &str = r#"{"__metadata__":{"format":"pt""#;
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (header, tensors) = rest.split_at_checked(length)?;
    let after = header.strip_prefix(FIRST.as_bytes())?.trim_ascii_end();
    let mut header = format!(r#"{FIRST},"{CONTRACT}":{value}"#).into_bytes();
    header.extend_from_slice(after);
    // Tensors start at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    Some([&length[..], &header, tensors].concat())
}

/// Writes `bytes` to `path` through a temporary file in the same folder.
///
/// # Errors
/// [`Error::Io`] with the file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e: std::io::Error| Error::io("write", path, e);
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder)
        .map_err(fail)?;
    // The inner file is used, because errors of `file` itself name the temporary file.
    file.as_file_mut().write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    set_usual_mode(file.as_file()).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Temporary files are private, so this gives a result the usual permissions.
#[cfg(unix)]
fn set_usual_mode(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_usual_mode(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

/// A weights file in memory, with its format checked.
#[derive(Debug)]
pub struct WeightsFile {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl WeightsFile {
    /// Reads `path`: safetensors, or a state dict that PyTorch saved, without running anything in it.
    /// The contents decide which, not the name.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Weights`] if it is a folder or has neither format.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::Weights {
                path: path.to_owned(),
                message: "a folder, not a weights file".to_owned(),
                hint: "name the file in it, such as `best.safetensors`".to_owned(),
            });
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
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
        let file = Self {
            path: path.to_owned(),
            bytes,
        };
        file.tensors()?;
        Ok(file)
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|e| unreadable(&self.path, &format!("not a safetensors file ({e})")))
    }

    /// What images and masks must be like for its network, if Snug wrote it.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is damaged, of another network or of a newer version.
    pub fn contract(&self) -> Result<Option<Contract>> {
        let header = SafeTensors::read_metadata(&self.bytes).map(|(_, header)| header);
        let header = header.map_err(|e| unreadable(&self.path, &e.to_string()))?;
        let Some(text) = header.metadata().as_ref().and_then(|it| it.get(CONTRACT)) else {
            return Ok(None);
        };
        let contract = Contract::from_json(text);
        let num_classes = self.network()?.classes as usize;
        let fits = |it: &Contract| {
            it.reading
                .as_ref()
                .is_none_or(|it| it.mask.num_classes == num_classes)
        };
        match contract.filter(fits) {
            Some(contract) => Ok(Some(contract)),
            None => Err(self.wrong(
                "what it says about its images is damaged, or of a newer version".to_owned(),
                "use the version of Snug that wrote it, or `--config` with weights without metadata",
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
        let first_dimension = |name: &str| {
            tensors
                .tensor(&format!("{prefix}{name}"))
                .ok()
                .and_then(|t| t.shape().first().copied())
                .and_then(|d| u32::try_from(d).ok())
        };
        let network = match (
            first_dimension("downs.0.conv.0.weight"),
            first_dimension("out_conv.weight"),
        ) {
            (Some(width), Some(classes)) if width > 0 && classes > 0 => {
                Network::new(width, classes)
            }
            _ => {
                let mut names = tensors.names();
                names.sort_unstable();
                let hint = if is_snapshot(&self.path) {
                    "a snapshot is for `fit --resume`; the weights are `weights.safetensors` beside it, \
                     and `best.safetensors` above"
                } else {
                    "save the model's `state_dict()` with safetensors, names unchanged"
                };
                return Err(self.wrong(
                    format!(
                        "not a U-Net of the guide's script: `downs.0.conv.0.weight` or \
                         `out_conv.weight` is missing (found {})",
                        first_few(&names)
                    ),
                    hint,
                ));
            }
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
    /// [`Error::Weights`]: the width or the number of classes differs, or tensors are missing,
    /// unexpected, or have another shape or dtype.
    pub fn load_into(&self, model: &UNet) -> Result<()> {
        let (here, there) = (self.network()?, model.network());
        if here != there {
            return Err(self.wrong(
                format!(
                    "holds a network of width {} with {} class(es), the run has width {} with {}",
                    here.width, here.classes, there.width, there.classes
                ),
                &format!("pass `--width {} --classes {}`", here.width, here.classes),
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

fn unreadable(path: &Path, message: &str) -> Error {
    Error::Weights {
        path: path.to_owned(),
        message: message.to_owned(),
        hint: "expected a safetensors file with the tensors of the script's state dict".to_owned(),
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
mod tests {
    use super::*;

    fn of(tensors: Vec<(String, Vec<usize>)>) -> Error {
        let views = tensors.into_iter().map(|(name, shape)| {
            let view = TensorView::new(Dtype::F32, shape, &[]).unwrap();
            (name, view)
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        let file = WeightsFile::from_bytes(Path::new("a"), bytes).unwrap();
        file.network().unwrap_err()
    }

    fn model(seed: u64) -> UNet {
        UNet::new(Network::new(4, 1), Device::Cpu, seed, false).unwrap()
    }

    #[test]
    fn a_contract_travels_with_the_weights() {
        let config = config::RunConfig {
            img_size: config::ImageSize::new(64, 96),
            seed: 7,
            ..config::RunConfig::default()
        };
        let contract = Contract::of(&config, None);
        let (plain, with) = (
            to_bytes(&model(1), None),
            to_bytes(&model(1), Some(&contract)),
        );
        let [plain, with] = [plain, with]
            .map(|bytes| WeightsFile::from_bytes(Path::new("a"), bytes.unwrap()).unwrap());
        assert_eq!(
            (plain.contract().unwrap(), with.contract().unwrap().as_ref()),
            (None, Some(&contract))
        );
        // A flag goes before it.
        let mut flags = config::Overrides {
            seed: Some(1),
            ..config::Overrides::default()
        };
        contract.fill(&mut flags);
        assert_eq!(
            (flags.img_size, flags.seed),
            (Some(config.img_size), Some(1))
        );
        let (a, b) = (plain.tensors().unwrap(), with.tensors().unwrap());
        assert!(
            a.names()
                .iter()
                .all(|it| a.tensor(it).unwrap() == b.tensor(it).unwrap())
        );
        let metadata = SafeTensors::read_metadata(&with.bytes).unwrap().1;
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    }

    /// The weights of a model under other names, with `value` first in the last tensor.
    fn renamed(prefix: &str, value: f32) -> WeightsFile {
        let file = WeightsFile::from_bytes(Path::new("a"), to_bytes(&model(1), None).unwrap());
        let file = file.unwrap();
        let tensors = file.tensors().unwrap();
        let data: Vec<_> = tensors
            .iter()
            .map(|(name, view)| {
                let mut data = view.data().to_vec();
                if name == "out_conv.bias" {
                    data[..4].copy_from_slice(&value.to_le_bytes());
                }
                (
                    format!("{prefix}{name}"),
                    view.dtype(),
                    view.shape().to_vec(),
                    data,
                )
            })
            .collect();
        let views = data.iter().map(|(name, dtype, shape, data)| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        WeightsFile::from_bytes(Path::new("a"), bytes).unwrap()
    }

    #[test]
    fn prefixes_of_wrappers_do_not_matter() {
        for prefix in ["", "module.", "_orig_mod.", "model._orig_mod."] {
            let there = model(2);
            renamed(prefix, 0.5).load_into(&there).unwrap();
            let entries = there.parameters().entries();
            let bias = entries.iter().find(|it| it.spec.name == "out_conv.bias");
            let bias = bias.unwrap().tensor.double_value(&[0]);
            assert!((bias - 0.5).abs() < 1e-9, "{prefix}");
        }
        let error = renamed("other_", 0.5).network().unwrap_err();
        assert!(error.to_string().contains("(found other_"), "{error}");
    }

    #[test]
    fn weights_that_are_not_finite_are_refused() {
        for value in [f32::NAN, f32::INFINITY] {
            let error = renamed("", value).load_into(&model(2)).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("`out_conv.bias` holds values that are not finite"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_few_bytes_make_no_giant() {
        let ends = [("downs.0.conv.0.weight", 1024), ("out_conv.weight", 256)];
        let ends = ends.map(|(name, first)| (name.to_owned(), vec![first, 0]));
        let error = of(ends.into());
        assert!(error.to_string().contains("missing"), "{error}");
        let all = Network::new(1024, 256).parameters();
        let all = all.into_iter().map(|spec| {
            let first = shape_of(&spec).first().copied().unwrap_or(0);
            (spec.name, vec![first, 0])
        });
        let error = of(all.collect());
        assert!(error.to_string().contains("has shape [1024, 0]"), "{error}");
    }
}
