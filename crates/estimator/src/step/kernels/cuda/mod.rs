//! What libtorch 2.11 allocates for an operation on an NVIDIA GPU, beside its result. From the
//! sources of that line, and nothing measured yet: each rule names where it is from.
//!
//! No operation of this network asks for cuBLAS, whose workspace would come on top: convolutions go
//! to cuDNN, the 1x1 of the head as well (`use_cudnn` of `Convolution.cpp`), and the loss has sums
//! alone.

mod workspace;

pub use workspace::Workspace;

use schedule::Element;

use super::super::sizes::{ConvSize, Sizes};
#[cfg(doc)]
use crate::EstimateError;

/// Which number autocast computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HalfPrecision {
    Fp16,
    Bf16,
}

/// The NVIDIA GPU that a step runs on, and how libtorch uses it.
///
/// A step is walked twice: the figures are of the second one, which finds the cache of the
/// allocator as the first has left it. With `torch.backends.cudnn.benchmark` the very first step
/// tries every algorithm that fits what is free, in a workspace as large, and empties the cache
/// after it (`run_single_conv` of `Conv_v8.cpp`): that passing peak is no part of the figures, and
/// no need either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuda {
    /// Major and minor, as `nvidia-smi --query-gpu=compute_cap` has it.
    pub compute_capability: (u32, u32),
    /// What [`Element::Half`] is. cuDNN's batch norm is not for bf16.
    pub half: HalfPrecision,
    /// Images and weights channels-last.
    pub channels_last: bool,
    /// What cuDNN's convolutions work in.
    pub workspace: Workspace,
    /// The most that the allocator may take: memory that is free, less [`Self::context_bytes`].
    /// Where it is short the allocator gives back what it has cached, and cuDNN does with less; a
    /// step for which that is not enough is an [`EstimateError::OutOfMemory`]. `None` for no limit,
    /// as on a card with room to spare.
    pub cap_bytes: Option<u64>,
}

impl Cuda {
    /// In fp16 where AMP is on, channels-last.
    pub const fn new(compute_capability: (u32, u32)) -> Self {
        Self {
            compute_capability,
            half: HalfPrecision::Fp16,
            channels_last: true,
            workspace: Workspace::DERIVED,
            cap_bytes: None,
        }
    }

    /// Device memory that is none of the allocator's: the CUDA context with the kernels loaded into
    /// it, lazily (`CUDA_MODULE_LOADING=LAZY`, which a program on libtorch sets itself; eagerly it
    /// is 380 MB more, PyTorch pull request 86509).
    ///
    /// Published: 274 MiB with CUDA 11.7 (the same request), 300 to 400 MB (PyTorch issues 107667
    /// and 109888), 426 MiB on an RTX 6000 Ada with CUDA 13 (unsloth-zoo pull request 1053). The
    /// figures for other architectures are put between and above these. NOT MEASURED here, and what
    /// cuDNN loads for this network is not in the published ones.
    pub const fn context_bytes(self) -> u64 {
        let mib = match self.compute_capability {
            (..=7, _) => 330,
            (8, ..=8) => 400,
            (8, _) => 430,
            (9, _) => 520,
            _ => 560,
        };
        mib << 20
    }

    /// Whether cuDNN takes batch norm (`_select_batch_norm_backend` of `Normalization.cpp`; that
    /// 2.11 leaves bf16 out is read off its machine code).
    fn has_cudnn_norm(self, sizes: &Sizes, stage: usize) -> bool {
        let is_bf16 = sizes.element == Element::Half && self.half == HalfPrecision::Bf16;
        let numbers = sizes.output_map(stage) / sizes.element.bytes();
        !is_bf16 && numbers < i32::MAX.unsigned_abs().into()
    }

    /// A part in which what a stage hands on is worked on (`checkpoint`'s `Parts`): all of it where
    /// cuDNN has to rebuild it, since its statistics are of the whole batch.
    pub(super) fn part(self, sizes: &Sizes, stage: usize, is_rebuilt: bool) -> u64 {
        const PART_BYTES: u64 = 128 << 20;
        if is_rebuilt && self.has_cudnn_norm(sizes, stage) {
            return sizes.output_map(stage);
        }
        if self.channels_last {
            return sizes.part(stage, PART_BYTES);
        }
        let image = sizes.output_map(stage) / sizes.batch.max(1);
        let images = PART_BYTES / image.max(1);
        image.saturating_mul(images.clamp(1, sizes.batch.max(1)))
    }

    /// Forward, or gradient of the input, which is the other's transposed: cuDNN has the same
    /// algorithms for both.
    pub(super) fn convolution(self, conv: &ConvSize) -> u64 {
        self.workspace.convolution(self, conv)
    }

    pub(super) fn weight_gradient(self, conv: &ConvSize) -> u64 {
        self.workspace.weight_gradient(self, conv)
    }

    /// Whether convolutions run on tensor cores: fp16 from Volta on, bf16 and TF32 (on by default
    /// for cuDNN: `allow_tf32_cudnn` of `Context.h`) from Ampere on.
    fn has_tensor_cores(self, conv: &ConvSize) -> bool {
        let is_fp16 = conv.element_bytes == 2 && self.half == HalfPrecision::Fp16;
        self.compute_capability.0 >= if is_fp16 { 7 } else { 8 }
    }
}
