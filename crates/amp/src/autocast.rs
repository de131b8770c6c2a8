//! `torch.autocast` as an RAII guard.

use tch::{Device, Kind};
use torch_ext::Result;
use torch_ext::autocast::{AutocastGuard, State};

/// Settings of an autocast scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutocastConfig {
    /// The device type whose operators cast.
    pub device: Device,
    /// The lower precision: [`Kind::Half`] or [`Kind::BFloat16`].
    pub dtype: Kind,
    /// `false`: operators in the scope do not cast.
    pub enabled: bool,
    /// Whether the casts of weights are kept until the outermost scope ends. This pays if
    /// a weight is used more than once in a forward. Inside checkpointed segments the
    /// cache is always off.
    pub cache_enabled: bool,
}

/// A scope in which convolutions and matrix products run in a lower precision.
///
/// Dropping it, also by a panic, restores the earlier state. Run backward outside of the
/// scope: it uses the precision that the forward recorded.
#[derive(Debug)]
#[must_use = "autocast ends when this is dropped"]
pub struct Autocast {
    _guard: AutocastGuard,
}

impl Autocast {
    /// Enters the scope on this thread.
    ///
    /// # Errors
    /// For a device without autocast, or a dtype that is neither fp16 nor bf16.
    pub fn enter(config: AutocastConfig) -> Result<Self> {
        let state = State {
            enabled: config.enabled,
            dtype: config.dtype,
            cache_enabled: config.cache_enabled,
        };
        Ok(Self {
            _guard: AutocastGuard::enter(config.device, state)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use torch_ext::autocast::state;

    use super::*;

    const BF16: AutocastConfig = AutocastConfig {
        device: Device::Cpu,
        dtype: Kind::BFloat16,
        enabled: true,
        cache_enabled: true,
    };

    #[test]
    fn scopes_nest_and_restore() {
        let before = state(Device::Cpu).unwrap();
        let outer = Autocast::enter(BF16).unwrap();
        let inner = Autocast::enter(AutocastConfig {
            dtype: Kind::Half,
            cache_enabled: false,
            ..BF16
        })
        .unwrap();
        assert_eq!(
            state(Device::Cpu).unwrap(),
            State {
                enabled: true,
                dtype: Kind::Half,
                cache_enabled: false
            }
        );
        drop(inner);
        assert_eq!(
            state(Device::Cpu).unwrap(),
            State {
                enabled: true,
                dtype: Kind::BFloat16,
                cache_enabled: true
            }
        );
        drop(outer);
        assert_eq!(state(Device::Cpu).unwrap(), before);
    }

    #[test]
    fn a_panic_restores() {
        let before = state(Device::Cpu).unwrap();
        let result = catch_unwind(|| {
            let _scope = Autocast::enter(BF16).unwrap();
            panic!("inside autocast");
        });
        assert!(result.is_err());
        assert_eq!(state(Device::Cpu).unwrap(), before);
    }

    #[test]
    fn a_disabled_scope_hides_an_outer_one() {
        let a = tch::Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        let _outer = Autocast::enter(BF16).unwrap();
        let _inner = Autocast::enter(AutocastConfig {
            enabled: false,
            ..BF16
        })
        .unwrap();
        assert_eq!(a.matmul(&a).kind(), Kind::Float);
    }

    #[test]
    fn other_dtypes_and_devices_are_refused() {
        let error = Autocast::enter(AutocastConfig {
            dtype: Kind::Int64,
            ..BF16
        })
        .unwrap_err();
        assert!(error.to_string().contains("Half or BFloat16"), "{error}");
        assert!(
            Autocast::enter(AutocastConfig {
                device: Device::Mps,
                ..BF16
            })
            .is_err()
        );
    }
}
