//! Cuts a batch into parts of a few MiB, for operations that work pixel by pixel. An activation
//! that is needed only briefly and is larger than a part thus never exists as a whole.
//! (Channels-first tensors are cut between images only.)

use tch::{Device, Tensor};
use torch_ext::ops::{MemoryFormat, is_contiguous_in};
use torch_ext::{Error, Result};

/// Small against the memory of a step, yet large enough to keep threads busy: with parts of 32 MiB
/// a step took 1.2 % less time than with parts of 4 MiB (width 64, 512x512, batch 1, bf16, two
/// cores of an AMD EPYC, medians of nine steps); this size itself was not measured.
const CPU_PART_BYTES: u64 = 16 << 20;
/// A kernel has to outlast its launch (not measured).
const CUDA_PART_BYTES: u64 = 128 << 20;

/// How to cut tensors of one batch size and one memory format.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parts {
    /// In one part.
    Whole,
    /// Between images: `[N, C, H, W]` in memory.
    Samples { len: i64 },
    /// Between rows, counted through all images: `[N, H, W, C]` in memory. `len` is a multiple of
    /// two, so that no 2x2 window is cut.
    Rows { len: i64 },
}

impl Parts {
    /// How to cut tensors like `model`, `[N, C, H, W]`, in a step whose tensors have `format`. The
    /// format cannot be read from the tensor: with one channel, strides fit both formats.
    pub(super) fn of(model: &Tensor, format: MemoryFormat) -> Self {
        let size = model.size();
        let &[n, _, h, _] = size.as_slice() else {
            return Self::Whole;
        };
        if !is_contiguous_in(model, format) {
            return Self::Whole;
        }
        let bytes = model.numel() as u64 * model.kind().elt_size_in_bytes() as u64;
        let part_bytes = match model.device() {
            Device::Cpu => CPU_PART_BYTES,
            _ => CUDA_PART_BYTES,
        };
        let per_part = |num: i64| {
            let share = part_bytes.saturating_mul(num.unsigned_abs()) / bytes.max(1);
            i64::try_from(share).unwrap_or(num).clamp(1, num)
        };
        match format {
            MemoryFormat::ChannelsLast if h % 2 == 0 => {
                let len = per_part(n * h).max(2);
                Self::Rows { len: len - len % 2 }
            }
            MemoryFormat::ChannelsLast => Self::Whole,
            MemoryFormat::Contiguous => Self::Samples { len: per_part(n) },
        }
    }

    /// How many parts a tensor of `model`'s batch has.
    pub(super) fn num(self, model: &Tensor) -> i64 {
        let size = model.size();
        match self {
            Self::Whole => 1,
            Self::Samples { len } => (size[0] + len - 1) / len,
            Self::Rows { len } => (size[0] * size[2] + len - 1) / len,
        }
    }

    /// Part `index` of `tensor`, as a view. `halved`: `tensor` has half as many rows as the model.
    pub(super) fn view(self, tensor: &Tensor, index: i64, halved: bool) -> Result<Tensor> {
        Ok(match self {
            Self::Whole => tensor.shallow_clone(),
            Self::Samples { len } => {
                let from = index * len;
                tensor.f_narrow(0, from, len.min(tensor.size()[0] - from))?
            }
            Self::Rows { len } => {
                if !is_contiguous_in(tensor, MemoryFormat::ChannelsLast) {
                    return Err(Error::InvalidArgument(format!(
                        "cannot cut rows of a tensor that is not channels-last: {:?}, strides {:?}",
                        tensor.size(),
                        tensor.stride()
                    )));
                }
                let size = tensor.size();
                let len = if halved { len / 2 } else { len };
                let (from, rows) = (index * len, size[0] * size[2]);
                let (channels, width) = (size[1], size[3]);
                let row = width * channels;
                let shape = [1, channels, rows, width];
                let strides = [rows * row, 1, row, channels];
                tensor.f_as_strided(shape, strides, None::<i64>)?.f_narrow(
                    2,
                    from,
                    len.min(rows - from),
                )?
            }
        })
    }
}
