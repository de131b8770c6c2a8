//! What the bytes of a training step are for.

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Weights and the buffers of batch norm.
    Parameters,
    /// Moments of the optimizer.
    Optimizer,
    /// Gradients of parameters, from when they are made to the end of the step.
    Gradients,
    /// Made in forward and still needed when backward begins, and the batch.
    Activations,
    /// Made and freed within forward, within backward or within the update; what backward rebuilds is
    /// among these.
    Transients,
    /// What cuDNN works in; on a CPU that is among the transients.
    Workspace,
}

/// Bytes by category, in the order of [`Category::ALL`].
pub type BytesByCategory = [u64; Category::ALL.len()];

impl Category {
    /// All, in the order in which charts stack them.
    pub const ALL: [Self; 6] = [
        Self::Parameters,
        Self::Optimizer,
        Self::Gradients,
        Self::Activations,
        Self::Transients,
        Self::Workspace,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Optimizer => "optimizer",
            Self::Gradients => "gradients",
            Self::Activations => "activations",
            Self::Transients => "transients",
            Self::Workspace => "workspace",
        }
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}
