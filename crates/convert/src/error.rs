//! Errors of a conversion: the file, the place and the facts; the remedy is apart, in [`Error::hint`].

use config::ConfigError;
use safetensors::SafeTensorError;
use safetensors::tensor::Dtype;

/// The result of a conversion.
pub type Result<T> = std::result::Result<T, Error>;

/// An empty list of names in a message.
pub(crate) const NONE: &str = "none";

/// What cannot be converted. `name` is always the name of the file, and `line` is counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// A text without settings.
    #[error("`{name}` holds no settings: neither `CFG = {{...}}` nor a command line")]
    NoSettings { name: String },
    /// A block that Python would not accept.
    #[error("`{name}` line {line}: not valid Python near `{found}`")]
    Syntax {
        name: String,
        line: usize,
        found: String,
    },
    /// Settings that Snug does not accept together.
    #[error("`{name}` line {line}: Snug refuses these settings: {source}")]
    Refused {
        name: String,
        line: usize,
        source: ConfigError,
    },
    /// Bytes that are not a safetensors file, or tensors that cannot be one.
    #[error("`{name}` is not a safetensors file: {source}")]
    Format {
        name: String,
        source: SafeTensorError,
    },
    /// Tensors of a network that is neither Snug's nor one that can be converted to it.
    #[error("`{name}` holds no U-Net that can be converted: its tensors are {found}")]
    UnknownNetwork { name: String, found: String },
    /// The variant whose ups have no weights.
    #[error(
        "`{name}` holds milesial's U-Net with `bilinear=True`: its ups interpolate and its deepest levels have half \
         the channels, so its weights fit no network with transposed convolutions"
    )]
    Bilinear { name: String },
    /// A network with tensors missing or left over.
    #[error(
        "`{name}`: its tensors differ from the network's: missing {missing}, unexpected {unexpected}"
    )]
    Names {
        name: String,
        missing: String,
        unexpected: String,
    },
    /// A tensor of another shape.
    #[error("`{name}`: `{tensor}` has shape {found:?}, the network {expected:?}")]
    Shape {
        name: String,
        tensor: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    /// A number format in which a bias cannot be folded.
    #[error("`{name}`: `{tensor}` has dtype {dtype:?}, and a bias is folded in fp32")]
    Dtype {
        name: String,
        tensor: String,
        dtype: Dtype,
    },
}

impl Error {
    /// One sentence that states the remedy, without the word `hint`.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSettings { .. } => {
                "settings are read from a Python script or a Markdown file with `CFG = {\"BATCH\": 8, ...}`, and from \
                 a command line such as `python train_unet_split.py --root DIR --batch 8`"
            }
            Self::Syntax { .. } => "correct this line, or give only the block `CFG = {...}`",
            Self::Refused { source, .. } => return source.hint(),
            Self::Format { .. } => {
                "in Python, `safetensors.torch.save_file(model.state_dict(), FILE)` writes such a file"
            }
            Self::UnknownNetwork { .. } => {
                "networks that can be converted are those of `train_unet_split.py` and of milesial's `Pytorch-UNet`; \
                 save the model's `state_dict()`, names unchanged"
            }
            Self::Bilinear { .. } => {
                "convert weights of `UNet(..., bilinear=False)`, or train anew on the same images with `snug train`"
            }
            Self::Names { missing, .. } if missing == NONE => {
                "remove the tensors that are not the network's"
            }
            Self::Names { .. } => "save the whole `state_dict()`, buffers included",
            Self::Shape { .. } => {
                "the file is of another network: Snug's has five levels, each with twice the channels of the one above"
            }
            Self::Dtype { .. } => {
                "save the weights as fp32, as `model.float().state_dict()` has them"
            }
        };
        Some(hint.to_owned())
    }
}
