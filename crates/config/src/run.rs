//! The validated configuration of one run.

use serde::Serialize;

use crate::choices::{AmpDtype, CheckpointPolicy, CudaGraph, Keep};
use crate::class_table::MaskValue;
use crate::image_size::ImageSize;
use crate::keys::with_rows;
use crate::network::Network;
use crate::overrides::Overrides;

macro_rules! stored {
    ($ty:ty) => { $ty };
    ($ty:ty, $option:ident) => { $option<$ty> };
}

macro_rules! run_config {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $option:ident)? = $default:expr => $rest:tt)+) => {
        /// What to run. [`resolve`](crate::resolve) creates and validates it; code that changes a
        /// field afterwards must keep to the ranges of the rows in [`keys`](crate::keys).
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct RunConfig {
            $($(#[$doc])* pub $name: stored!($ty $(, $option)?),)+
        }

        impl Default for RunConfig {
            /// The values of `best-balance`, without its name.
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl RunConfig {
            /// The keys whose values differ from those of `other`.
            #[expect(clippy::float_cmp, reason = "a different value counts as different, however near it is")]
            pub fn differences(&self, other: &Self) -> Vec<&'static str> {
                let mut keys = Vec::new();
                $(if self.$name != other.$name {
                    keys.push(stringify!($name));
                })+
                keys
            }
        }
    };
}
with_rows!(run_config);

impl RunConfig {
    /// The whole configuration as TOML, ready for `--config`.
    pub fn to_toml(&self) -> String {
        Overrides::from(self).to_toml()
    }

    /// The policy in force: [`CheckpointPolicy::Off`] if the switch is off, otherwise the
    /// given policy, or [`CheckpointPolicy::Block`], as in the guide, if none was given.
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
        Network {
            in_channels: self.in_channels,
            ..Network::new(self.width, self.classes)
        }
    }

    /// The keys that list classes, with the number of classes.
    pub(crate) fn listed_classes(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        let names = self.class_names.as_ref().map(Vec::len);
        let values = self.class_values.as_ref().map(Vec::len);
        [("class_values", values), ("class_names", names)]
            .into_iter()
            .filter_map(|(key, listed)| Some((key, listed?)))
    }

    /// Images per optimizer step.
    pub const fn effective_batch(&self) -> u64 {
        // The product of two `u32` always fits a `u64`; `From` is not const.
        (self.batch as u64) * (self.accumulation as u64)
    }

    /// Epochs of `images` that the run takes: fewer than [`Self::epochs`] if `max_steps` ends it.
    pub fn epochs_of(&self, images: u64) -> f64 {
        let all = f64::from(self.epochs);
        let per_epoch = images.div_ceil(self.effective_batch()).max(1) as f64;
        let until = self.max_steps.map(|max| max as f64 / per_epoch);
        until.map_or(all, |it| it.min(all))
    }
}
