//! The memory that libtorch 2.11 allocates for an operation on an NVIDIA GPU, in addition to the
//! result. The rules come from the sources of that release, and nothing is measured yet: each rule
//! names its source.
//!
//! No operation of this network uses cuBLAS, whose workspace would be added: convolutions go to
//! cuDNN, including the 1x1 convolution of the head (`use_cudnn` of `Convolution.cpp`), and the
//! loss has only sums.

mod table;
mod workspace;

use workspace::Operation;
pub use workspace::Workspace;

use config::{MemoryFormat, Precision};
use kernels::cuda::{Elements, Kernel, Shape, TABLE_ROWS};
use machine::Segments;

use super::super::sizes::{ConvSize, Sizes};
use super::NormBytes;
#[cfg(doc)]
use crate::EstimateError;

/// The NVIDIA GPU that a step runs on, and how libtorch uses it.
///
/// A step is walked twice: the figures describe the second walk, which finds the allocator's cache
/// as the first has left it. With `torch.backends.cudnn.benchmark`, the very first step tries every
/// algorithm whose workspace fits the free memory, and then empties the cache (`run_single_conv` of
/// `Conv_v8.cpp`): that temporary peak is not part of the figures, and it is not a requirement
/// either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuda {
    /// Major and minor, as `nvidia-smi --query-gpu=compute_cap` shows them.
    pub compute_capability: (u32, u32),
    /// The memory format of images and weights.
    pub memory_format: MemoryFormat,
    /// How the allocator takes memory.
    pub segments: Segments,
    /// Whether batch norm, ReLU and pooling are libtorch's operators also in channels-last.
    pub exact_kernels: bool,
    /// Whether cuDNN may only use deterministic engines.
    pub is_deterministic: bool,
    /// The workspace of cuDNN's convolutions.
    pub workspace: Workspace,
    /// The most that the allocator may take: free memory minus [`Self::context_bytes`]. If that
    /// runs short, the allocator releases its cache and cuDNN uses less workspace; a step that
    /// still does not fit is an [`EstimateError::OutOfMemory`]. `None` means no limit, as on a card
    /// with memory to spare.
    pub cap_bytes: Option<u64>,
}

impl Cuda {
    /// Channels-last, with the workspaces of cuDNN's first choices.
    pub const fn new(compute_capability: (u32, u32)) -> Self {
        Self {
            compute_capability,
            memory_format: MemoryFormat::ChannelsLast,
            segments: Segments::Expandable,
            exact_kernels: false,
            is_deterministic: false,
            workspace: Workspace::Heuristics,
            cap_bytes: None,
        }
    }

    /// Device memory outside the allocator: the CUDA context with the kernels that are loaded into
    /// it lazily (`CUDA_MODULE_LOADING=LAZY`, which a libtorch program sets itself; eager loading
    /// takes 380 MB more, PyTorch pull request 86509).
    ///
    /// Published figures are 274 MiB with CUDA 11.7 (the same pull request), 300 to 400 MB (PyTorch
    /// issues 107667 and 109888), and 426 MiB on an RTX 6000 Ada with CUDA 13 (unsloth-zoo pull
    /// request 1053). The figures for other architectures lie between and above these. They are NOT
    /// MEASURED here, and the published figures do not include what cuDNN loads for this network.
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

    /// Whether cuDNN runs batch norm (`_select_batch_norm_backend` of `Normalization.cpp`; the
    /// machine code of 2.11 shows that it excludes bf16).
    fn has_cudnn_norm(sizes: &Sizes, stage: usize) -> bool {
        let numbers = sizes.output_map(stage) / sizes.precision.activation_bytes();
        sizes.precision != Precision::Bf16 && numbers < i32::MAX.unsigned_abs().into()
    }

    /// The size of a part in which a stage's output is processed (`checkpoint`'s `Parts`): the
    /// whole output if cuDNN has to rebuild it, because its statistics cover the whole batch.
    pub(super) fn part(self, sizes: &Sizes, stage: usize, is_rebuilt: bool) -> u64 {
        const PART_BYTES: u64 = 128 << 20;
        if is_rebuilt && Self::has_cudnn_norm(sizes, stage) {
            return sizes.output_map(stage);
        }
        if self.memory_format.is_channels_last() {
            return sizes.part(stage, PART_BYTES);
        }
        let image = sizes.output_map(stage) / sizes.batch.max(1);
        let images = PART_BYTES / image.max(1);
        image.saturating_mul(images.clamp(1, sizes.batch.max(1)))
    }

    pub(super) fn convolution(self, conv: &ConvSize) -> u64 {
        self.workspace.bytes(self, conv, Operation::Forward)
    }

    /// The gradient of the input; of a transposed convolution, that is a convolution.
    pub(super) fn input_gradient(self, conv: &ConvSize) -> u64 {
        let operation = if conv.stride == 2 {
            Operation::Forward
        } else {
            Operation::InputGradient
        };
        self.workspace.bytes(self, conv, operation)
    }

    pub(super) fn transposed(self, conv: &ConvSize) -> u64 {
        self.workspace.bytes(self, conv, Operation::InputGradient)
    }

    pub(super) fn weight_gradient(self, conv: &ConvSize) -> u64 {
        self.workspace.bytes(self, conv, Operation::WeightGradient)
    }
}

/// What our own batch norm holds: its table, and the sums of parts.
pub(super) fn fused_norm(sizes: &Sizes, stage: usize) -> NormBytes {
    let elements = match sizes.precision {
        Precision::Fp16 => Elements::F16,
        Precision::Bf16 => Elements::Bf16,
        Precision::Fp32 | Precision::Tf32 => Elements::F32,
    };
    let channels = sizes.channels(stage);
    let numbers = sizes.output_map(stage) / sizes.precision.activation_bytes();
    let [rows, channels] = [numbers / channels.max(1), channels]
        .map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let Some(shape) = Shape::new(rows, channels, elements) else {
        return NormBytes::default();
    };
    let bytes = |numbers: usize| 4 * numbers as u64;
    NormBytes {
        statistics: bytes(TABLE_ROWS as usize * channels),
        forward_sums: bytes(shape.len_of_parts(Kernel::Moments)),
        backward_sums: bytes(shape.len_of_parts(Kernel::Sums)),
    }
}
