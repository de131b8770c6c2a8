//! The purposes of the bytes of a training step.

/// The purpose of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Weights and the buffers of batch norm.
    Parameters,
    /// Moments of the optimizer.
    Optimizer,
    /// Gradients of parameters, from their creation to the end of the step.
    Gradients,
    /// Tensors that are made in forward and still needed when backward begins, and the batch.
    Activations,
    /// Tensors that are made and freed within forward, within backward or within the update,
    /// including those that backward rebuilds.
    Transients,
    /// cuDNN's workspace; on a CPU, workspaces are among the transients.
    Workspace,
}

/// Bytes by category, in the order of [`Category::ALL`].
pub type BytesByCategory = [u64; Category::ALL.len()];

impl Category {
    /// All categories, in the order in which charts stack them.
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

    /// Its index in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}
