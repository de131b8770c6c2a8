//! State dicts that PyTorch saved (`.pt`, `.pth`), as the safetensors file that they could have been.
//!
//! Since 1.6 such a file is a zip archive without compression: `NAME/data.pkl` says what there is,
//! `NAME/data/KEY` holds numbers. The state dict may stand in a dict with other things, as scripts save
//! it.

use std::io::{Cursor, Read as _};

use safetensors::tensor::{Dtype, TensorView};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Pickle, PickledTensor, Value};

/// How a file begins.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// How one of before 1.6 begins: a pickle with `MAGIC_NUMBER` of `torch/serialization.py`.
pub(super) const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";

/// A parameter that every network of the script has.
const FIRST: &str = "downs.0.conv.0.weight";
/// Where scripts put the state dict, the likeliest first.
const LIKELY: &[&str] = &["model_state_dict", "state_dict", "model", "net"];
/// Dicts in dicts that are looked into.
const MAX_DEPTH: usize = 3;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// The tensors of the state dict in `file`, as a safetensors file.
///
/// # Errors
/// What is wrong with it, in words that go on from the file's name.
pub(super) fn to_safetensors(file: &[u8]) -> Result<Vec<u8>, String> {
    let mut archive =
        ZipArchive::new(Cursor::new(file)).map_err(|e| format!("not a whole zip archive ({e})"))?;
    let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    let mut roots = names.iter().filter_map(|n| n.strip_suffix("/data.pkl"));
    let root = roots
        .next()
        .ok_or("a zip archive, but not one of `torch.save`")?;
    if names.contains(&format!("{root}/constants.pkl")) {
        return Err("a TorchScript program, not a state dict".to_owned());
    }
    if names.contains(&format!("{root}/byteorder"))
        && entry(&mut archive, &format!("{root}/byteorder"), file.len())? != b"little"
    {
        return Err("saved on a big-endian machine".to_owned());
    }
    let bytes = entry(&mut archive, &format!("{root}/data.pkl"), file.len())?;
    let pickle = pickle::read(&bytes).map_err(|e| format!("its pickle {e}"))?;
    let dict = state_dict(&pickle).ok_or("holds no dict with tensors in it")?;

    let mut tensors = Vec::new();
    for (key, value) in dict {
        let (Some(name), Some(tensor)) = (pickle.text(*key), pickle.tensor(*value)) else {
            continue;
        };
        // `DataParallel` puts this before every name.
        let name = name.strip_prefix("module.").unwrap_or(name);
        let storage = format!("{root}/data/{}", tensor.storage.key);
        let storage = entry(&mut archive, &storage, file.len())?;
        let bytes = contiguous(tensor, &storage).map_err(|e| format!("`{name}` {e}"))?;
        tensors.push((name.to_owned(), tensor, bytes));
    }
    let mut views = Vec::new();
    for (name, tensor, bytes) in &tensors {
        let view = TensorView::new(tensor.storage.dtype, tensor.shape.clone(), bytes)
            .map_err(|e| format!("`{name}`: {e}"))?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

/// A file of the archive. Stored, not compressed: no few bytes become many.
fn entry(archive: &mut Archive<'_>, name: &str, limit: usize) -> Result<Vec<u8>, String> {
    let unreadable = |e: &dyn std::fmt::Display| format!("`{name}` in it cannot be read ({e})");
    let entry = archive.by_name(name).map_err(|e| unreadable(&e))?;
    if entry.compression() != CompressionMethod::Stored || entry.size() > limit as u64 {
        return Err(unreadable(&"compressed, which `torch.save` never does"));
    }
    let mut bytes = Vec::new();
    entry
        .take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(&e))?;
    Ok(bytes)
}

/// The dict with the network's parameters, or else the first that holds a tensor at all.
fn state_dict(pickle: &Pickle) -> Option<&[(Value, Value)]> {
    let (mut level, mut fallback) = (vec![pickle.top], None);
    for _ in 0..MAX_DEPTH {
        let mut below: Vec<(usize, Value)> = Vec::new();
        for dict in level.iter().filter_map(|value| pickle.dict(*value)) {
            let mut tensors = dict.iter().filter(|(_, v)| pickle.tensor(*v).is_some());
            let is_first = |(key, _): &(Value, Value)| {
                let name = pickle.text(*key).unwrap_or_default();
                name.strip_prefix("module.").unwrap_or(name) == FIRST
            };
            if tensors.clone().any(is_first) {
                return Some(dict);
            }
            fallback = fallback.or(tensors.next().map(|_| dict));
            let rank = |key: Value| {
                let place = |name: &str| LIKELY.iter().position(|likely| *likely == name);
                pickle.text(key).and_then(place).unwrap_or(LIKELY.len())
            };
            below.extend(dict.iter().map(|(key, value)| (rank(*key), *value)));
        }
        below.sort_by_key(|(rank, _)| *rank);
        level = below.into_iter().map(|(_, value)| value).collect();
    }
    fallback
}

/// The numbers of a tensor in the order of its indices.
fn contiguous(tensor: &PickledTensor, storage: &[u8]) -> Result<Vec<u8>, String> {
    let PickledTensor {
        storage: described,
        offset,
        shape,
        strides,
    } = tensor;
    let bytes_each = match described.dtype {
        Dtype::F64 | Dtype::I64 => 8,
        Dtype::F32 | Dtype::I32 => 4,
        Dtype::F16 | Dtype::BF16 | Dtype::I16 => 2,
        _ => 1,
    };
    let num = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    // No more numbers than there are, so that a stride of 0 makes no giant of a few bytes.
    let held = storage.len() / bytes_each;
    let num = num.filter(|&num| num <= held && described.num_elements <= held);
    let num = num.ok_or("is larger than its storage")?;
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(*offset, |at, (&d, &stride)| {
            at.checked_add(stride.checked_mul(d.saturating_sub(1))?)
        });
    if num > 0 && last.is_none_or(|last| last >= held) {
        return Err("reaches beyond its storage".to_owned());
    }
    let mut bytes = Vec::with_capacity(num * bytes_each);
    let (mut index, mut at) = (vec![0; shape.len()], *offset);
    for _ in 0..num {
        bytes.extend_from_slice(&storage[at * bytes_each..][..bytes_each]);
        // The next index: the last dimension runs fastest.
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            at += strides[d];
            if index[d] < shape[d] {
                break;
            }
            at -= strides[d] * shape[d];
            index[d] = 0;
        }
    }
    Ok(bytes)
}
