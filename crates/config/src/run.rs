//! The validated configuration of one run.

use std::fmt::Write as _;

use serde::Serialize;

use crate::choices::{AmpDtype, CheckpointPolicy, Keep};
use crate::error::{ConfigError, Place};
use crate::file::{self, SCHEMA_VERSION};
use crate::image_size::ImageSize;
use crate::network::Network;
use crate::resolve::{self, Origins, Source};

/// What to run. [`resolve`](crate::resolve) makes it and validates it; whoever
/// changes a field afterwards keeps to the ranges of [`keys::KEYS`](crate::keys::KEYS).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the guide's switches, by the guide's names"
)]
pub struct RunConfig {
    /// The preset that the values started from.
    pub preset: Option<String>,
    /// Size at which images enter the network.
    pub img_size: ImageSize,
    /// Images per forward pass.
    pub batch: u32,
    /// Mixed precision.
    pub use_amp: bool,
    /// Gradient checkpointing; see [`Self::checkpoint_policy`].
    pub use_grad_checkpoint: bool,
    /// Channels-last memory format.
    pub use_channels_last: bool,
    /// Passes over the training images.
    pub epochs: u32,
    /// Learning rate at the start of the cosine.
    pub lr: f64,
    /// Epochs without a better validation IoU before the run stops; 0 never stops early.
    pub patience: u32,
    /// Seed of weights, order, augmentation and built-in data.
    pub seed: u64,
    /// Channels of the first level, doubled at each level below.
    pub width: u32,
    /// Output channels; 1 means a binary mask.
    pub classes: u32,
    /// Type of mixed precision.
    pub amp_dtype: AmpDtype,
    /// First scale of the gradient scaler.
    pub init_scale: f64,
    /// What gradient checkpointing recomputes; `None` leaves it to the switch.
    pub grad_checkpoint_policy: Option<CheckpointPolicy>,
    /// What each stage keeps under the policy `mixed`; `None` is the built-in plan.
    pub grad_checkpoint_plan: Option<Vec<Keep>>,
    /// The reentrant form of gradient checkpointing; without effect when it is off.
    pub use_reentrant: bool,
    /// Convolves the two halves of each concatenation apart, without a buffer of both. Equal
    /// within rounding, not bit for bit.
    pub split_concat: bool,
    /// Forward passes per optimizer step.
    pub accumulation: u32,
    /// Random flips, turns and brightness while training.
    pub augment: bool,
    /// Threads that decode images; 0 chooses for the machine.
    pub workers: u32,
    /// Optimizer steps after which the run ends, whatever the epoch.
    pub max_steps: Option<u64>,
    /// Weight decay of `AdamW`.
    pub weight_decay: f64,
    /// Share of a flat folder that is held out for validation, in percent.
    pub val_percent: f64,
    /// Algorithms that give the same bits each time, where there are such.
    pub deterministic: bool,
}

impl Default for RunConfig {
    /// The values of `best-balance`, without its name.
    fn default() -> Self {
        Self {
            preset: None,
            img_size: ImageSize::new(512, 512),
            batch: 12,
            use_amp: true,
            use_grad_checkpoint: false,
            use_channels_last: true,
            epochs: 50,
            lr: 1e-4,
            patience: 10,
            seed: 0,
            width: 64,
            classes: 1,
            amp_dtype: AmpDtype::Auto,
            init_scale: 65_536.0,
            grad_checkpoint_policy: None,
            grad_checkpoint_plan: None,
            use_reentrant: false,
            split_concat: false,
            accumulation: 1,
            augment: true,
            workers: 0,
            max_steps: None,
            weight_decay: 0.01,
            val_percent: 10.0,
            deterministic: false,
        }
    }
}

impl RunConfig {
    /// The policy in force: [`CheckpointPolicy::Off`] when the switch is off, the
    /// policy given, or else [`CheckpointPolicy::Block`], which is what the guide does.
    pub fn checkpoint_policy(&self) -> CheckpointPolicy {
        if self.use_grad_checkpoint {
            self.grad_checkpoint_policy
                .unwrap_or(CheckpointPolicy::Block)
        } else {
            CheckpointPolicy::Off
        }
    }

    /// The network that this run trains.
    pub const fn network(&self) -> Network {
        Network::new(self.width, self.classes)
    }

    /// Images per optimizer step.
    pub const fn effective_batch(&self) -> u64 {
        // The product of two `u32` always fits a `u64`; `From` is not const.
        (self.batch as u64) * (self.accumulation as u64)
    }

    /// A configuration that [`to_toml`](Self::to_toml) wrote. The preset in it is but a name here:
    /// its values stand beside it, and what does not is unset.
    ///
    /// # Errors
    /// As for a file of `--config`.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let layer = file::parse(text, |_line| Place::Unknown)?;
        let mut config = Self::default();
        let mut origins = Origins::default();
        layer
            .values
            .apply(&mut config, &mut origins, |_key| Source::Default);
        config.preset = layer.preset;
        resolve::agree(&config, &origins, |_key| None)?;
        Ok(config)
    }

    /// The whole configuration as TOML, ready for `--config`.
    pub fn to_toml(&self) -> String {
        let mut text = format!("schema_version = {SCHEMA_VERSION}\n");
        let mut put = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        };
        if let Some(preset) = &self.preset {
            // Of a file that nobody checked against the presets it may be any text.
            put("preset", &toml::Value::from(preset.as_str()));
        }
        put(
            "img_size",
            &format_args!("[{}, {}]", self.img_size.height, self.img_size.width),
        );
        put("batch", &self.batch);
        put("use_amp", &self.use_amp);
        put("use_grad_checkpoint", &self.use_grad_checkpoint);
        put("use_channels_last", &self.use_channels_last);
        put("epochs", &self.epochs);
        put("lr", &format_args!("{:?}", self.lr));
        put("patience", &self.patience);
        put("seed", &self.seed);
        put("width", &self.width);
        put("classes", &self.classes);
        put("amp_dtype", &format_args!("\"{}\"", self.amp_dtype));
        put("init_scale", &format_args!("{:?}", self.init_scale));
        if let Some(policy) = self.grad_checkpoint_policy {
            put("grad_checkpoint_policy", &format_args!("\"{policy}\""));
        }
        if let Some(plan) = &self.grad_checkpoint_plan {
            let stages: Vec<_> = plan.iter().map(|keep| format!("\"{keep}\"")).collect();
            put(
                "grad_checkpoint_plan",
                &format_args!("[{}]", stages.join(", ")),
            );
        }
        put("use_reentrant", &self.use_reentrant);
        put("split_concat", &self.split_concat);
        put("accumulation", &self.accumulation);
        put("augment", &self.augment);
        put("workers", &self.workers);
        if let Some(max_steps) = self.max_steps {
            put("max_steps", &max_steps);
        }
        put("weight_decay", &format_args!("{:?}", self.weight_decay));
        put("val_percent", &format_args!("{:?}", self.val_percent));
        put("deterministic", &self.deterministic);
        text
    }
}
