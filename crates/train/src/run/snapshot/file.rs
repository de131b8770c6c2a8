//! One snapshot as a file: it is written in one pass, a tensor at a time, and fully checked when read.
//!
//! The last tensor is `sha256`: 32 bytes with the digest of every byte before them. So a snapshot is an
//! ordinary safetensors file, and is hashed while it is written.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tch::{Kind, Tensor};

use super::data_id::DataId;
use super::state::{State, VERSION};
use crate::error::{Error, Result};
use crate::lab::fault;

/// Bytes of the digest.
const DIGEST: usize = 32;
const CHECKSUM: &str = "sha256";
/// Keys of the metadata.
const VERSION_KEY: &str = "snug_snapshot";
const STATE_KEY: &str = "snug_state";

/// Writes a snapshot to `out`. Each tensor is copied to the host, written, and dropped before the
/// next one, so that neither the device nor the host holds more than one in addition to the run's own.
pub(super) fn write(
    out: &mut impl Write,
    state: &State,
    tensors: &[(String, Tensor)],
) -> Result<(), WriteError> {
    // Wider kinds come first, so that each tensor begins at a multiple of its element size.
    let mut order: Vec<&(String, Tensor)> = tensors.iter().collect();
    order.sort_by_key(|(_, t)| std::cmp::Reverse(t.kind().elt_size_in_bytes()));
    let header = header(state, &order)?;
    let mut out = Hashing {
        out,
        hash: Sha256::new(),
    };
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (i, (_, tensor)) in order.iter().enumerate() {
        if i == order.len() / 2 {
            out.flush()?;
            fault::reached("snapshot:half-written");
            fault::disk()?;
        }
        out.write_all(&crate::run::weights::tensor_bytes(tensor)?)?;
    }
    let digest = out.hash.finalize();
    Ok(out.out.write_all(&digest)?)
}

/// Why a snapshot could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

struct Hashing<'a, W> {
    out: &'a mut W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let num = self.out.write(bytes)?;
        self.hash.update(&bytes[..num]);
        Ok(num)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn header(state: &State, tensors: &[&(String, Tensor)]) -> Result<Vec<u8>, WriteError> {
    let text = toml::to_string(state).map_err(io::Error::other)?;
    let mut map = Map::new();
    let metadata = json!({"format": "pt", VERSION_KEY: VERSION.to_string(), STATE_KEY: text});
    map.insert("__metadata__".to_owned(), metadata);
    let mut offset = 0;
    let mut put = |name: &str, dtype: &str, shape: Value, num_bytes: usize| {
        let offsets = [offset, offset + num_bytes];
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        map.insert(name.to_owned(), entry);
        offset += num_bytes;
    };
    for (name, tensor) in tensors {
        let kind = tensor.kind();
        let dtype = match kind {
            Kind::Float => "F32",
            Kind::Int64 => "I64",
            other => return Err(io::Error::other(format!("{name} is {other:?}")).into()),
        };
        let num_bytes = tensor.numel() * kind.elt_size_in_bytes();
        put(name, dtype, json!(tensor.size()), num_bytes);
    }
    put(CHECKSUM, "U8", json!([DIGEST]), DIGEST);
    let mut header = serde_json::to_vec(&map).map_err(io::Error::other)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// The metadata are in the header, which is far smaller than this.
const HEAD: usize = 1 << 20;

/// Whether the file at `path` claims to be a snapshot, complete or not.
pub fn is_snapshot(path: &Path) -> bool {
    let mut head = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|f| f.take(HEAD as u64).read_to_end(&mut head));
    read.is_ok() && claims_to_be_snapshot(&head)
}

/// Whether `bytes` claim to be a snapshot, complete or not.
pub fn claims_to_be_snapshot(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD)];
    let key = format!("\"{VERSION_KEY}\"");
    head.windows(key.len()).any(|w| w == key.as_bytes())
}

/// The data of the run that wrote the snapshot at `path`, from its header alone, unchecked; `None` if that cannot be
/// read.
pub(super) fn data_of(path: &Path) -> Option<DataId> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length).min(HEAD as u64);
    let header: Value = serde_json::from_reader(file.take(length)).ok()?;
    let text = header["__metadata__"][STATE_KEY].as_str()?;
    let state: State = toml::from_str(text).ok()?;
    Some(state.data)
}

/// A snapshot in memory, checked.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    bytes: Vec<u8>,
    state: State,
}

impl Snapshot {
    /// Reads `path` and checks that it is a complete snapshot of this version.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Snapshot`] with what is wrong.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        Self::from_bytes(path, bytes)
    }

    /// Like [`Self::open`], from `bytes`, the contents of `path`.
    ///
    /// # Errors
    /// [`Error::Snapshot`] with what is wrong.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let wrong = |message: String| Error::Snapshot {
            path: path.to_owned(),
            message,
            hint:
                "`--resume FILE` with the weights of the run, such as `best.safetensors`, starts a \
                   new run from them"
                    .to_owned(),
        };
        let damaged = |what: &str| wrong(format!("damaged: {what}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| damaged(&format!("its header cannot be read ({e})")))?;
        let text = state_text(&metadata).map_err(&wrong)?;
        let (content, digest) = bytes.split_at(bytes.len() - DIGEST.min(bytes.len()));
        if Sha256::digest(content).as_slice() != digest {
            return Err(damaged("its contents do not match their checksum"));
        }
        SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e.to_string()))?;
        let state: State = toml::from_str(text).map_err(|e| damaged(e.message()))?;
        state.check().map_err(|what| damaged(&what))?;
        Ok(Self {
            path: path.to_owned(),
            state,
            bytes,
        })
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has not been replaced since it was read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_current(&self) -> Result<bool> {
        let read = || {
            let mut file = File::open(&self.path)?;
            let mut digest = [0; DIGEST];
            file.seek(io::SeekFrom::End(-32))?;
            file.read_exact(&mut digest)?;
            Ok(digest)
        };
        let digest = read().map_err(|e| Error::io("read", &self.path, e))?;
        Ok(self.bytes.ends_with(&digest))
    }

    /// The state without tensors.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The tensor with this name, on the host; its shape and kind must equal those of `like`.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it is missing or has another shape or kind.
    pub fn tensor(&self, name: &str, like: &Tensor) -> Result<Tensor> {
        let wrong = |message: String| Error::Snapshot {
            path: self.path.clone(),
            message,
            hint: "it is of another network".to_owned(),
        };
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|e| wrong(e.to_string()))?;
        let view = tensors
            .tensor(name)
            .map_err(|_missing| wrong(format!("`{name}` is missing")))?;
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::I64 => Kind::Int64,
            other => return Err(wrong(format!("`{name}` has dtype {other:?}"))),
        };
        let shape: Vec<i64> = view
            .shape()
            .iter()
            .map(|&d| d.cast_signed() as i64)
            .collect();
        if shape != like.size() || kind != like.kind() {
            return Err(wrong(format!(
                "`{name}` is {kind:?} {shape:?}, the network has {:?} {:?}",
                like.kind(),
                like.size()
            )));
        }
        Ok(Tensor::f_from_data_size(view.data(), &shape, kind)?)
    }
}

/// The state's text, if the metadata belong to a snapshot of this version.
fn state_text(metadata: &Metadata) -> Result<&str, String> {
    let metadata = metadata.metadata().as_ref();
    let of = |key: &str| metadata.and_then(|m| m.get(key));
    let Some(version) = of(VERSION_KEY) else {
        return Err("not a snapshot of Snug: its metadata do not say so".to_owned());
    };
    if *version != VERSION.to_string() {
        return Err(format!(
            "a snapshot of format {version}; this program reads format {VERSION}"
        ));
    }
    of(STATE_KEY)
        .map(String::as_str)
        .ok_or_else(|| "damaged: it holds no state".to_owned())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
