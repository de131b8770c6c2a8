//! One layer of a configuration: what a preset, a file or the flags give.

use crate::choices::{AmpDtype, CheckpointPolicy, Keep};
use crate::error::{ConfigError, ConfigErrorKind, Place};
use crate::image_size::ImageSize;
use crate::keys;
use crate::network::Network;
use crate::resolve::Origins;
use crate::run::RunConfig;

/// Every key as an option: `None` leaves the layer below as it is.
///
/// The fields mean what those of [`RunConfig`] mean.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is documented once, in `RunConfig`")]
pub struct Overrides {
    pub img_size: Option<ImageSize>,
    pub batch: Option<u32>,
    pub use_amp: Option<bool>,
    pub use_grad_checkpoint: Option<bool>,
    pub use_channels_last: Option<bool>,
    pub epochs: Option<u32>,
    pub lr: Option<f64>,
    pub patience: Option<u32>,
    pub seed: Option<u64>,
    pub width: Option<u32>,
    pub classes: Option<u32>,
    pub amp_dtype: Option<AmpDtype>,
    pub init_scale: Option<f64>,
    pub grad_checkpoint_policy: Option<CheckpointPolicy>,
    pub grad_checkpoint_plan: Option<Vec<Keep>>,
    pub use_reentrant: Option<bool>,
    pub split_concat: Option<bool>,
    pub accumulation: Option<u32>,
    pub augment: Option<bool>,
    pub workers: Option<u32>,
    pub max_steps: Option<u64>,
    pub weight_decay: Option<f64>,
    pub val_percent: Option<f64>,
    pub deterministic: Option<bool>,
}

/// A value outside its range; the layer knows where it stands.
pub(crate) struct Violation {
    pub(crate) key: &'static str,
    pub(crate) found: String,
    pub(crate) hint: Option<String>,
}

impl Violation {
    pub(crate) fn new(key: &'static str, found: &impl ToString) -> Self {
        Self {
            key,
            found: found.to_string(),
            hint: None,
        }
    }

    /// The error of a value at `place`, named by its flag when it was one.
    pub(crate) fn at(self, place: Place) -> ConfigError {
        let subject = match place {
            Place::Flag(flag) => flag,
            _ => self.key,
        };
        let accepts = match (keys::find(self.key), &place) {
            (Some(key), Place::Flag(_)) if key.name == "img_size" => {
                "`HxW`, both multiples of 16 from 16 to 65536"
            }
            (Some(key), _) => key.accepts,
            // The only key outside the table.
            (None, _) => "the number of the schema, 1",
        };
        let kind = ConfigErrorKind::Value {
            subject: subject.to_owned(),
            accepts,
            found: self.found,
            hint: self.hint,
        };
        ConfigError::new(place, kind)
    }
}

/// TOML knows 64-bit signed integers only.
pub(crate) const MAX_INTEGER: u64 = i64::MAX.unsigned_abs();

impl Overrides {
    /// Refuses the first value that is outside its range.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        if let Some(size) = self.img_size.filter(|size| !size.is_valid()) {
            let (below, above) = size.nearest_valid();
            let hint = if below == above {
                format!("the nearest valid size is {below}")
            } else {
                format!("the nearest valid sizes are {below} and {above}")
            };
            return Err(Violation {
                hint: Some(hint),
                ..Violation::new("img_size", &size)
            });
        }
        let integer = |key, value: Option<u32>, min: u32, max: u32| match value {
            Some(value) if !(min..=max).contains(&value) => Err(Violation::new(key, &value)),
            _ => Ok(()),
        };
        let long = |key, value: Option<u64>, min: u64| match value {
            Some(value) if !(min..=MAX_INTEGER).contains(&value) => {
                Err(Violation::new(key, &value))
            }
            _ => Ok(()),
        };
        let real = |key, value: Option<f64>, accepted: fn(f64) -> bool| match value {
            Some(value) if !(value.is_finite() && accepted(value)) => {
                Err(Violation::new(key, &value))
            }
            _ => Ok(()),
        };
        integer("batch", self.batch, 1, 65_536)?;
        integer("epochs", self.epochs, 1, u32::MAX)?;
        real("lr", self.lr, |lr| lr > 0.0)?;
        long("seed", self.seed, 0)?;
        integer("width", self.width, 1, 1024)?;
        integer("classes", self.classes, 1, 256)?;
        real("init_scale", self.init_scale, |scale| scale > 0.0)?;
        if let Some(plan) = &self.grad_checkpoint_plan {
            let expected = Network::new(1, 1).num_stages();
            if plan.len() != expected {
                let found = format!("{} stages", plan.len());
                return Err(Violation::new("grad_checkpoint_plan", &found));
            }
        }
        integer("accumulation", self.accumulation, 1, 65_536)?;
        integer("workers", self.workers, 0, 1024)?;
        long("max_steps", self.max_steps, 1)?;
        real("weight_decay", self.weight_decay, |decay| decay >= 0.0)?;
        real("val_percent", self.val_percent, |percent| {
            percent > 0.0 && percent < 100.0
        })
    }

    /// Lays these values over `config` and records where each came from.
    pub(crate) fn apply(
        self,
        config: &mut RunConfig,
        origins: &mut Origins,
        source: impl Fn(&'static str) -> crate::Source,
    ) {
        // "No checkpointing" over a layer that names a policy means none at all.
        if self.use_grad_checkpoint == Some(false) && self.grad_checkpoint_policy.is_none() {
            config.grad_checkpoint_policy = None;
            origins.forget("grad_checkpoint_policy");
        }
        // A plan belongs to the policy that it was given with.
        let other_policy = self
            .grad_checkpoint_policy
            .is_some_and(|policy| policy != CheckpointPolicy::Mixed);
        if (self.use_grad_checkpoint == Some(false) || other_policy)
            && self.grad_checkpoint_plan.is_none()
        {
            config.grad_checkpoint_plan = None;
            origins.forget("grad_checkpoint_plan");
        }
        // `Option<T>` keys of the config take `Some`, the others take the value.
        macro_rules! lay {
            ($($key:ident $(as $wrap:path)?),+ $(,)?) => {
                $(if let Some(value) = self.$key {
                    config.$key = $($wrap)?(value);
                    origins.set(stringify!($key), source(stringify!($key)));
                })+
            };
        }
        lay!(
            img_size,
            batch,
            use_amp,
            use_grad_checkpoint,
            use_channels_last,
            epochs,
            lr,
            patience,
            seed,
            width,
            classes,
            amp_dtype,
            init_scale,
            grad_checkpoint_policy as Some,
            grad_checkpoint_plan as Some,
            use_reentrant,
            split_concat,
            accumulation,
            augment,
            workers,
            max_steps as Some,
            weight_decay,
            val_percent,
            deterministic,
        );
    }
}
