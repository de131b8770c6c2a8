//! Flags that set keys of the configuration, shared by the subcommands.

use std::path::PathBuf;

use clap::Args;
use config::{AmpFlag, CheckpointFlag, ImageSize, Overrides, PlanFlag, Resolved, Switch, resolve};

use crate::device::DeviceChoice;
use crate::error::Result;

/// Where values come from: default < preset < file < flag.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ConfigFlags {
    /// Start from a preset: best-balance, max-memory or speed.
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// Take keys from this TOML file.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Channels of the first level; 64 is the guide's network.
    #[arg(long, value_name = "N")]
    pub(super) width: Option<u32>,
    /// Image size, height x width, in multiples of 16.
    #[arg(long, value_name = "HxW")]
    pub(super) img_size: Option<ImageSize>,
    /// Classes of the masks; 1 is foreground against background.
    #[arg(long, value_name = "N")]
    pub(super) classes: Option<u32>,
    /// Images per step.
    #[arg(long, value_name = "N")]
    pub(super) batch: Option<u32>,
    /// Mixed precision: off, auto, fp16 or bf16.
    #[arg(long, value_name = "DTYPE")]
    pub(super) amp: Option<AmpFlag>,
    /// Channels-last memory format: on or off.
    #[arg(long, value_name = "SWITCH")]
    pub(super) channels_last: Option<Switch>,
    /// Percent of a flat folder's images held out for validation.
    #[arg(long, value_name = "PERCENT")]
    pub(super) val_percent: Option<f64>,
    /// Threads that read images; 0 chooses.
    #[arg(long, value_name = "N")]
    pub(super) workers: Option<u32>,
    /// Seed of weights, order, augmentation and built-in pages.
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
}

/// Flags of training alone.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TrainingFlags {
    /// Passes over the training images.
    #[arg(long, value_name = "N")]
    pub(super) epochs: Option<u32>,
    /// Stop after this many optimizer steps.
    #[arg(long, value_name = "N")]
    pub(super) max_steps: Option<u64>,
    /// Learning rate at the start.
    #[arg(long, value_name = "X")]
    pub(super) lr: Option<f64>,
    /// Epochs without a better validation IoU before the run stops; 0 never stops early.
    #[arg(long, value_name = "N")]
    pub(super) patience: Option<u32>,
    /// Gradient checkpointing: off, selective (convolution outputs are kept: half the memory for
    /// almost no time), block (each double convolution, as in the guide), stage, mixed (the
    /// least memory), or auto (in `fit`: the fastest that fits the memory that is free).
    #[arg(long, value_name = "POLICY")]
    pub(super) grad_checkpoint: Option<CheckpointFlag>,
    /// For `mixed`: what each of the nine stages keeps (everything, convs, last-conv or nothing),
    /// commas between.
    #[arg(long, value_name = "STAGES")]
    pub(super) grad_checkpoint_plan: Option<PlanFlag>,
    /// Convolve the halves of each concatenation apart, without a buffer of both: on or off.
    /// Results are equal within rounding, not bit for bit.
    #[arg(long, value_name = "SWITCH")]
    pub(super) split_concat: Option<Switch>,
    /// The reentrant form of gradient checkpointing: on or off.
    #[arg(long, value_name = "SWITCH")]
    pub(super) use_reentrant: Option<Switch>,
    /// First scale of the gradient scaler (fp16).
    #[arg(long, value_name = "X")]
    pub(super) init_scale: Option<f64>,
    /// Forward passes per optimizer step.
    #[arg(long, value_name = "N")]
    pub(super) accumulation: Option<u32>,
    /// Random flips, turns and brightness: on or off.
    #[arg(long, value_name = "SWITCH")]
    pub(super) augment: Option<Switch>,
    /// Weight decay of AdamW.
    #[arg(long, value_name = "X")]
    pub(super) weight_decay: Option<f64>,
    /// On CUDA, no search for the fastest algorithm, which may differ from run to run. On the CPU a
    /// seed gives the same bits anyway.
    #[arg(long)]
    pub(super) deterministic: bool,
}

/// Where to compute.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct DeviceFlag {
    /// auto, cpu or cuda[:N].
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: DeviceChoice,
}

/// Merges preset, file and flags, and validates.
pub(super) fn resolved(config: &ConfigFlags, training: &TrainingFlags) -> Result<Resolved> {
    let mut overrides = Overrides {
        img_size: config.img_size,
        batch: config.batch,
        use_channels_last: config.channels_last.map(Switch::is_on),
        epochs: training.epochs,
        lr: training.lr,
        patience: training.patience,
        seed: config.seed,
        width: config.width,
        classes: config.classes,
        init_scale: training.init_scale,
        use_reentrant: training.use_reentrant.map(Switch::is_on),
        grad_checkpoint_plan: training.grad_checkpoint_plan.clone().map(|plan| plan.0),
        split_concat: training.split_concat.map(Switch::is_on),
        accumulation: training.accumulation,
        augment: training.augment.map(Switch::is_on),
        workers: config.workers,
        max_steps: training.max_steps,
        weight_decay: training.weight_decay,
        val_percent: config.val_percent,
        deterministic: training.deterministic.then_some(true),
        ..Overrides::default()
    };
    if let Some(flag) = config.amp {
        flag.apply(&mut overrides);
    }
    if let Some(flag) = training.grad_checkpoint {
        flag.apply(&mut overrides);
    }
    Ok(resolve(
        config.preset.as_deref(),
        config.config.as_deref(),
        overrides,
    )?)
}
