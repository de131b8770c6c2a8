//! The bytes that are held, moment by moment: the level of tensor bytes and the moment of the peak.

use config::{BytesByCategory, Category};
use schedule::Op;

use crate::caching_allocator::{BlockId, CachingAllocator, OutOfMemory};
use crate::{EstimateError, Machine};

/// What a step is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// An operation of the network's forward.
    Forward(Op),
    /// An operation of its backward, which may be a forward operation that is run again.
    Backward(Op),
    /// The loss, or its backward.
    Loss,
    /// The conversion of bytes to images, before an evaluation.
    Upload,
    /// Scores or answers, after an evaluation.
    Scores,
    /// The optimizer's step.
    Update,
    /// No operation: before a step or between steps.
    Between,
}

impl At {
    /// The part of a step that this belongs to, as memory charts name it.
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Forward(_) => "forward",
            Self::Backward(_) => "backward",
            Self::Loss => "loss",
            Self::Upload => "upload",
            Self::Scores => "scores",
            Self::Update => "update",
            Self::Between => "between",
        }
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forward(op) | Self::Backward(op) => op.fmt(f),
            Self::Loss => f.write_str("loss"),
            Self::Upload => f.write_str("upload"),
            Self::Scores => f.write_str("scores"),
            Self::Update => f.write_str("optimizer step"),
            Self::Between => f.write_str("between steps"),
        }
    }
}

/// Bytes by category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Breakdown {
    pub parameters_bytes: u64,
    pub optimizer_bytes: u64,
    pub gradients_bytes: u64,
    pub activations_bytes: u64,
    pub transients_bytes: u64,
    /// cuDNN's workspace; on a CPU, workspaces are among the transients.
    pub workspace_bytes: u64,
}

/// The most that a step holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// Allocated bytes: tensor bytes on a CPU, bytes of blocks on CUDA, like
    /// `torch.cuda.max_memory_allocated`.
    pub bytes: u64,
    /// Bytes that the CUDA caching allocator has taken from the device once its cache is warm;
    /// `None` on a CPU, whose allocator does not cache.
    pub reserved_bytes: Option<u64>,
    /// The peak by category.
    pub breakdown: Breakdown,
    /// The operation during which the peak occurs.
    pub at: At,
}

impl Peak {
    /// The memory that the device must have: the allocator's segments and the context. Compare it
    /// with the memory that NVML reports for a process.
    #[doc(alias = "nvmlDeviceGetMemoryInfo")]
    pub fn total_bytes(&self, machine: impl Into<Machine>) -> u64 {
        let of_tensors = self.reserved_bytes.unwrap_or(self.bytes);
        of_tensors.saturating_add(machine.into().context_bytes())
    }
}

/// The most that one operation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The operation.
    pub at: At,
    /// Tensor bytes.
    pub bytes: u64,
    /// The bytes by category, in the order of [`Category::ALL`].
    pub by: BytesByCategory,
}

/// A step, operation by operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepMemory {
    /// The most that it holds.
    pub peak: Peak,
    /// The operations, in order.
    pub timeline: Vec<Moment>,
}

/// A tensor on the tape; [`Tape::release`] removes it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a tensor that is dropped is still on the tape"]
pub(super) struct Held {
    /// Bytes of the tensor, or of its block if there is an allocator.
    bytes: u64,
    category: Category,
    block: BlockId,
}

/// The level and its maximum.
#[derive(Debug)]
pub(super) struct Tape {
    by: BytesByCategory,
    peak: Peak,
    timeline: Vec<Moment>,
    /// Whether a sum exceeded 64 bits.
    overflow: bool,
    /// Allocates blocks for tensors; without an allocator a tensor takes exactly its own bytes.
    allocator: Option<CachingAllocator>,
    /// The request that the allocator could not serve.
    refused: Option<OutOfMemory>,
}

impl Tape {
    pub(super) const fn new(allocator: Option<CachingAllocator>) -> Self {
        Self {
            by: [0; Category::ALL.len()],
            peak: Peak {
                bytes: 0,
                reserved_bytes: None,
                breakdown: Breakdown {
                    parameters_bytes: 0,
                    optimizer_bytes: 0,
                    gradients_bytes: 0,
                    activations_bytes: 0,
                    transients_bytes: 0,
                    workspace_bytes: 0,
                },
                at: At::Between,
            },
            timeline: Vec::new(),
            overflow: false,
            allocator,
            refused: None,
        }
    }

    /// Forgets the moments so far, but neither the tensors that are held nor the allocator's cache.
    pub(super) fn begin_again(&mut self) {
        self.timeline.clear();
        self.peak.bytes = 0;
    }

    /// Whether tensors are blocks of an allocator.
    pub(super) const fn has_blocks(&self) -> bool {
        self.allocator.is_some()
    }

    /// Bytes held now.
    pub(super) fn level(&self) -> u64 {
        self.by.iter().sum()
    }

    /// Bytes of segments now.
    #[cfg(test)]
    pub(super) fn reserved_bytes(&self) -> u64 {
        let allocator = self.allocator.as_ref();
        allocator.map_or(0, CachingAllocator::reserved_bytes)
    }

    pub(super) fn enter(&mut self, at: At) {
        self.timeline.push(Moment {
            at,
            bytes: 0,
            by: self.by,
        });
        self.measure();
    }

    pub(super) fn hold(&mut self, bytes: u64, category: Category) -> Held {
        let held = self.put(bytes, category);
        self.measure();
        held
    }

    fn put(&mut self, bytes: u64, category: Category) -> Held {
        let (bytes, block) = self.block(bytes, category);
        let sum = self.by[category.index()].checked_add(bytes);
        self.overflow |= sum.is_none();
        self.by[category.index()] = sum.unwrap_or(u64::MAX);
        Held {
            bytes,
            category,
            block,
        }
    }

    /// A block for a tensor, and its bytes: a multiple of 512, including a rest that is not worth
    /// splitting off.
    fn block(&mut self, bytes: u64, category: Category) -> (u64, BlockId) {
        let Some(allocator) = &mut self.allocator else {
            return (bytes, BlockId::default());
        };
        let before = allocator.allocated_bytes();
        match allocator.allocate(bytes) {
            Ok(block) => return (allocator.allocated_bytes() - before, block),
            // cuDNN skips the plan for one that needs less.
            Err(_no_room) if category == Category::Workspace => {}
            Err(refused) => {
                self.refused.get_or_insert(refused);
            }
        }
        (0, BlockId::default())
    }

    /// Holds bytes until the end of the step.
    pub(super) fn keep(&mut self, bytes: u64, category: Category) {
        let Held { .. } = self.hold(bytes, category);
    }

    pub(super) fn release(&mut self, held: Held) {
        let level = &mut self.by[held.category.index()];
        *level = level.saturating_sub(held.bytes);
        if let Some(allocator) = &mut self.allocator {
            allocator.free(held.block);
        }
    }

    /// Holds bytes for a moment, in addition to everything else.
    pub(super) fn touch(&mut self, transient: u64) {
        self.touch_all([transient], 0);
    }

    /// Holds several tensors and a library's workspace together for a moment.
    pub(super) fn touch_all<const N: usize>(&mut self, tensors: [u64; N], workspace: u64) {
        if self.allocator.is_none() {
            let sum = tensors.iter().fold(workspace, |a, b| a.saturating_add(*b));
            let held = self.put(sum, Category::Transients);
            self.measure();
            self.release(held);
            return;
        }
        let held = tensors.map(|bytes| self.put(bytes, Category::Transients));
        let workspace = self.put(workspace, Category::Workspace);
        self.measure();
        self.release(workspace);
        for held in held {
            self.release(held);
        }
    }

    /// Records the level if it is the highest so far.
    fn measure(&mut self) {
        let [
            parameters,
            optimizer,
            gradients,
            activations,
            transients,
            workspace,
        ] = self.by;
        let sum = self
            .by
            .iter()
            .try_fold(0_u64, |sum, bytes| sum.checked_add(*bytes));
        let Some(bytes) = sum else {
            self.overflow = true;
            return;
        };
        let mut at = At::Between;
        if let Some(moment) = self.timeline.last_mut() {
            if bytes > moment.bytes {
                (moment.bytes, moment.by) = (bytes, self.by);
            }
            at = moment.at;
        }
        if bytes > self.peak.bytes {
            self.peak = Peak {
                bytes,
                reserved_bytes: None,
                breakdown: Breakdown {
                    parameters_bytes: parameters,
                    optimizer_bytes: optimizer,
                    gradients_bytes: gradients,
                    activations_bytes: activations,
                    transients_bytes: transients,
                    workspace_bytes: workspace,
                },
                at,
            };
        }
    }

    /// The highest level since the last [`Self::forget_peak`].
    pub(super) const fn peak_bytes(&self) -> u64 {
        self.peak.bytes
    }

    pub(super) fn forget_peak(&mut self) {
        self.peak.bytes = 0;
        self.touch(0);
    }

    pub(super) fn finish(self, width: u32) -> Result<StepMemory, EstimateError> {
        Ok(StepMemory {
            peak: self.peak(width)?,
            timeline: self.timeline,
        })
    }

    /// The peak since the last [`Self::begin_again`]; segments count from the first tensor on.
    pub(super) fn peak(&self, width: u32) -> Result<Peak, EstimateError> {
        // Without a cap, 1 EiB is available.
        let too_large = |refused: &OutOfMemory| {
            refused.free_bytes.saturating_add(refused.reserved_bytes) >= 1 << 60
        };
        if self.overflow || self.refused.as_ref().is_some_and(too_large) {
            return Err(EstimateError::TooLarge {
                what: "bytes",
                width,
            });
        }
        if let Some(refused) = &self.refused {
            return Err((*refused).into());
        }
        let allocator = self.allocator.as_ref();
        Ok(Peak {
            reserved_bytes: allocator.map(CachingAllocator::peak_reserved_bytes),
            ..self.peak
        })
    }
}
