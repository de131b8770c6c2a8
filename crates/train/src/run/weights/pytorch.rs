//! State dicts that PyTorch saved (`.pt`, `.pth`), converted to a safetensors file.
//!
//! Since 1.6 such a file is a zip archive without compression: `NAME/data.pkl` describes the contents,
//! and `NAME/data/KEY` holds numbers. The state dict may be inside a dict with other things, as scripts
//! save it.

use std::collections::HashSet;
use std::io::{Cursor, Read as _};

use safetensors::tensor::{Dtype, TensorView};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Pickle, PickledTensor, Value};

/// The first bytes of a file.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// The first bytes of a file from before 1.6: a pickle with `MAGIC_NUMBER` of `torch/serialization.py`.
pub(super) const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";

/// A parameter that every network of the script has.
const FIRST: &str = "downs.0.conv.0.weight";
/// The keys under which scripts store the state dict, the likeliest first.
const LIKELY: &[&str] = &["model_state_dict", "state_dict", "model", "net"];
/// Depth to which nested dicts are searched.
const MAX_DEPTH: usize = 3;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// The tensors of the state dict in `file`, as a safetensors file.
///
/// # Errors
/// What is wrong with it, in words that continue the file's name.
pub(super) fn to_safetensors(file: &[u8]) -> Result<Vec<u8>, String> {
    // An entry takes at least 46 bytes.
    if num_entries(file).is_some_and(|num| num > file.len() as u64 / 46) {
        return Err("not a whole zip archive (it speaks of more than it holds)".to_owned());
    }
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

    let named = dict.iter().filter_map(|(key, value)| {
        let (name, tensor) = (pickle.text(*key)?, pickle.tensor(*value)?);
        // `DataParallel` puts this before every name.
        Some((name.strip_prefix("module.").unwrap_or(name), tensor))
    });
    let mut named: Vec<(&str, &PickledTensor)> = named.collect();
    let mut seen = HashSet::new();
    if let Some((twice, _)) = named.iter().find(|(name, _)| !seen.insert(*name)) {
        let shown: String = twice.escape_default().take(100).collect();
        return Err(format!("names `{shown}` twice"));
    }
    named.sort_by_key(|(_, tensor)| &tensor.storage.key);

    let mut tensors = Vec::new();
    // Archive entries and tensors may share bytes, so a few bytes could become many. Those of this
    // network share none, so neither may exceed the file's length in total.
    let (mut left_to_read, mut left_to_make) = (file.len(), file.len());
    for of_storage in named.chunk_by(|(_, a), (_, b)| a.storage.key == b.storage.key) {
        let key = &of_storage[0].1.storage.key;
        let storage = entry(&mut archive, &format!("{root}/data/{key}"), left_to_read)?;
        left_to_read -= storage.len();
        for (name, tensor) in of_storage {
            let bytes =
                contiguous(tensor, &storage, left_to_make).map_err(|e| format!("`{name}` {e}"))?;
            left_to_make -= bytes.len();
            tensors.push((*name, *tensor, bytes));
        }
    }
    let mut views = Vec::new();
    for (name, tensor, bytes) in &tensors {
        let view = TensorView::new(tensor.storage.dtype, tensor.shape.clone(), bytes)
            .map_err(|e| format!("`{name}`: {e}"))?;
        views.push((*name, view));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

/// The number of entries that the archive's 64-bit end record claims, found in the same way as `zip`
/// finds it: `zip` allocates space for this many before it has seen one.
fn num_entries(file: &[u8]) -> Option<u64> {
    const END: &[u8] = b"PK\x05\x06";
    const LOCATOR: &[u8] = b"PK\x06\x07";
    const END_64: &[u8] = b"PK\x06\x06";
    const END_BYTES: usize = 22;
    const LOCATOR_BYTES: usize = 20;
    let number = |at: usize| {
        let bytes = file.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let last = file.len().checked_sub(END_BYTES)?;
    let mut ends = (0..=last).rev().take(usize::from(u16::MAX) + 1);
    let end = ends.find(|&at| file[at..].starts_with(END))?;
    let comment = file.get(end + END_BYTES - 2..)?.first_chunk()?;
    let comment = usize::from(u16::from_le_bytes(*comment));
    let locator = last.checked_sub(comment + LOCATOR_BYTES)?;
    if !file[locator..].starts_with(LOCATOR) {
        return None;
    }
    let from = usize::try_from(number(locator + 8)?).ok()?;
    let mut rest = file.get(from..)?.windows(END_64.len());
    let at = from + rest.position(|it| it == END_64)?;
    number(at + 32)
}

/// A file of the archive. It must be stored, not compressed, so that few bytes cannot become many.
fn entry(archive: &mut Archive<'_>, name: &str, limit: usize) -> Result<Vec<u8>, String> {
    let unreadable = |e: &dyn std::fmt::Display| format!("`{name}` in it cannot be read ({e})");
    let entry = archive.by_name(name).map_err(|e| unreadable(&e))?;
    if entry.compression() != CompressionMethod::Stored {
        return Err(unreadable(&"compressed, which `torch.save` never does"));
    }
    if entry.size() > limit as u64 {
        return Err(unreadable(&"with those before it, larger than the file"));
    }
    let mut bytes = Vec::new();
    entry
        .take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(&e))?;
    Ok(bytes)
}

/// The dict with the network's parameters, or else the first dict that holds any tensor.
fn state_dict(pickle: &Pickle) -> Option<&[(Value, Value)]> {
    let (mut level, mut fallback) = (vec![pickle.top], None);
    // A dict that occurs in many places is searched once.
    let mut seen = HashSet::new();
    for _ in 0..MAX_DEPTH {
        let mut below: Vec<(usize, Value)> = Vec::new();
        level.retain(|value| matches!(value, Value::Object(index) if seen.insert(*index)));
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

/// The numbers of a tensor in the order of its indices, at most `limit` bytes of them.
fn contiguous(tensor: &PickledTensor, storage: &[u8], limit: usize) -> Result<Vec<u8>, String> {
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
    // No more numbers than the storage holds, so that a stride of 0 cannot turn a few bytes into a giant.
    let held = storage.len() / bytes_each;
    let num = num.filter(|&num| num <= held && described.num_elements <= held);
    let num = num.ok_or("is larger than its storage")?;
    if num * bytes_each > limit {
        return Err("and those before it are larger than the file".to_owned());
    }
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
        // Advance the index: the last dimension runs fastest.
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::FileOptions;

    use super::*;

    fn archive(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = FileOptions::default().compression_method(CompressionMethod::Stored);
        let mut put = |name: &str, bytes: &[u8]| {
            archive.start_file(name, options).unwrap();
            archive.write_all(bytes).unwrap();
        };
        put("w/data.pkl", pickle);
        for (key, bytes) in storages.iter().enumerate() {
            put(&format!("w/data/{key}"), bytes);
        }
        archive.finish().unwrap().into_inner()
    }

    fn text(text: &str) -> Vec<u8> {
        let num = u32::try_from(text.len()).unwrap();
        [b"X", &num.to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// A tensor of `num` bytes, which is all of its storage.
    fn tensor(key: &str, num: u32) -> Vec<u8> {
        let num = [b"J", &num.to_le_bytes()[..]].concat();
        let storage = [b"(", &text("storage")[..], b"ctorch\nByteStorage\n"].concat();
        let storage = [&storage[..], &text(key), &text("cpu"), &num, b"tQ"].concat();
        let shape = [&num[..], b"\x85K\x01\x85"].concat();
        let call = b"ctorch._utils\n_rebuild_tensor_v2\n";
        [&call[..], b"(", &storage, b"K\x00", &shape, b"\x89Nt", b"R"].concat()
    }

    /// Checks that `file` is either refused, or converted to no more than it holds.
    fn refused(file: &[u8]) -> String {
        to_safetensors(file).unwrap_err()
    }

    #[test]
    fn a_storage_under_many_names_is_refused_before_it_is_many() {
        const NUM: u32 = 1 << 20;
        let mut pickle = [b"\x80\x02", &tensor("0", NUM)[..], b"q\x00}("].concat();
        for name in 0..10_000 {
            pickle.extend(text(&name.to_string()));
            pickle.extend(b"h\x00");
        }
        pickle.extend(b"u.");
        let file = archive(&pickle, &[&vec![1; NUM as usize]]);
        let message = refused(&file);
        assert!(message.ends_with("are larger than the file"), "{message}");
    }

    #[test]
    fn entries_over_the_same_bytes_are_refused() {
        let mut pickle = b"\x80\x02}(".to_vec();
        for name in 0..100 {
            let name = name.to_string();
            pickle.extend([text(&name), tensor(&name, 100_000)].concat());
        }
        pickle.extend(b"u.");
        let bytes = vec![1; 100_000];
        let mut storages: Vec<&[u8]> = vec![&[]; 100];
        storages[0] = &bytes;
        let mut file = archive(&pickle, &storages);
        // Every header repeats the first one's fields: offset, sizes, checksum.
        let entries: Vec<usize> = (0..file.len())
            .filter(|&at| file[at..].starts_with(b"PK\x01\x02"))
            .collect();
        assert_eq!(entries.len(), 101);
        let first = file[entries[1]..entries[1] + 46].to_vec();
        for &at in &entries[1..] {
            file[at + 16..at + 28].copy_from_slice(&first[16..28]);
            file[at + 42..at + 46].copy_from_slice(&first[42..46]);
        }
        let message = refused(&file);
        assert!(message.contains("larger than the file"), "{message}");
    }

    #[test]
    fn room_is_made_for_no_more_entries_than_there_can_be() {
        let whole = include_bytes!("../../../../../tests/reference/fixtures/checkpoint.pt");
        let num = num_entries(whole).unwrap();
        assert!((100..200).contains(&num), "{num}");
        to_safetensors(whole).unwrap();
        let at = whole.windows(4).rposition(|it| it == b"PK\x06\x06");
        let at = at.unwrap() + 32;
        let mut claims = whole.to_vec();
        claims[at..at + 8].copy_from_slice(&60_000_u64.to_le_bytes());
        assert!(refused(&claims).contains("more than it holds"));
        // A comment at the end moves the locator.
        claims.extend(b"abc");
        let at = claims.len() - 5;
        claims[at..at + 2].copy_from_slice(&3_u16.to_le_bytes());
        assert_eq!(num_entries(&claims), Some(60_000));
        for end in (0..whole.len())
            .step_by(97)
            .chain(whole.len() - 200..whole.len())
        {
            refused(&whole[..end]);
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        // Found by the fuzz target `pickle`: `safetensors` panics.
        for names in [["a", "a"], ["a", "module.a"]] {
            let mut pickle = b"\x80\x02}(".to_vec();
            for name in names {
                pickle.extend([text(name), tensor("0", 1)].concat());
            }
            pickle.extend(b"u.");
            assert_eq!(refused(&archive(&pickle, &[&[1]])), "names `a` twice");
        }
    }

    #[test]
    fn dicts_in_dicts_many_times_over_are_looked_into_once() {
        let mut pickle = b"\x80\x02}q\x00".to_vec();
        for level in 0..3 {
            pickle.extend([b'}', b'q', level + 1, b'(']);
            pickle.extend([b'N', b'h', level].repeat(20_000));
            pickle.push(b'u');
        }
        pickle.push(b'.');
        let message = refused(&archive(&pickle, &[]));
        assert_eq!(message, "holds no dict with tensors in it");
    }
}
