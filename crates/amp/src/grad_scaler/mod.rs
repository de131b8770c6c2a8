//! `torch.amp.GradScaler`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::ops::one_value;

use crate::{Optimizer, OptimizerId};

/// Why a call of the scaler failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `unscale_` was called twice for one optimizer between two updates.
    #[error("`unscale_` has already been called on this optimizer since the last `update`")]
    AlreadyUnscaled,
    /// `unscale_` or `step` was called after `step`.
    #[error("`{0}` was called after `step` without an `update` between them")]
    AlreadyStepped(&'static str),
    /// `step` found no gradient, or `update` no step.
    #[error("no inf checks were recorded before `{0}`: no parameter had a gradient")]
    NothingChecked(&'static str),
    /// A setting is out of its range.
    #[error("`{name}` = {value} is out of range: {expected}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The accepted range.
        expected: &'static str,
    },
    /// An operator failed.
    #[error(transparent)]
    Tensor(#[from] torch_ext::Error),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Tensor(error.into())
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;

/// Settings of a [`GradScaler`]; `Default` has PyTorch's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalerConfig {
    /// First scale: 2^16.
    pub init_scale: f64,
    /// Factor after `growth_interval` good steps: 2.
    pub growth_factor: f64,
    /// Factor after a step with an infinity or NaN: 0.5.
    pub backoff_factor: f64,
    /// Good steps between two growths: 2000.
    pub growth_interval: i64,
    /// `false`: every method does what a run without a scaler would do.
    pub enabled: bool,
    /// Lower bound of the scale. PyTorch has no bound (0), so its scale can sink to zero
    /// (issue 40497).
    pub min_scale: f64,
}

impl Default for ScalerConfig {
    fn default() -> Self {
        Self {
            init_scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            enabled: true,
            min_scale: 0.0,
        }
    }
}

impl ScalerConfig {
    fn validate(&self) -> Result<()> {
        let fail = |name, value, expected| {
            Err(Error::Setting {
                name,
                value,
                expected,
            })
        };
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if !positive(self.init_scale) {
            return fail("init_scale", self.init_scale, "positive and finite");
        }
        if !(self.growth_factor > 1.0 && self.growth_factor.is_finite()) {
            return fail("growth_factor", self.growth_factor, "more than 1");
        }
        if !(positive(self.backoff_factor) && self.backoff_factor < 1.0) {
            return fail("backoff_factor", self.backoff_factor, "between 0 and 1");
        }
        if self.growth_interval < 1 {
            return fail("growth_interval", self.growth_interval as f64, "at least 1");
        }
        if !(self.min_scale >= 0.0 && self.min_scale <= self.init_scale) {
            return fail("min_scale", self.min_scale, "between 0 and `init_scale`");
        }
        Ok(())
    }
}

/// The state of a scaler to save and load, with the keys of PyTorch's `state_dict()`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalerState {
    /// The current scale.
    pub scale: f64,
    /// Factor after `growth_interval` good steps.
    pub growth_factor: f64,
    /// Factor after a bad step.
    pub backoff_factor: f64,
    /// Good steps between two growths.
    pub growth_interval: i64,
    /// Good steps since the last growth or bad step.
    #[serde(rename = "_growth_tracker")]
    pub growth_tracker: i64,
}

/// What has been called on an optimizer since the last update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Ready,
    Unscaled,
    Stepped,
}

#[derive(Debug, Default)]
struct PerOptimizer {
    stage: Stage,
    /// fp32, one element: 1 if a gradient held an infinity or NaN.
    found_inf: Option<Tensor>,
}

/// Multiplies the loss so that small fp16 gradients do not vanish, divides the gradients by
/// the same scale, skips steps whose gradients overflowed, and adapts the scale.
///
/// ```text
/// backward(scaler.scale(&loss)?) ; scaler.step(&mut optimizer)? ; scaler.update(None)?
/// ```
#[derive(Debug)]
pub struct GradScaler {
    config: ScalerConfig,
    scale: Tensor,
    growth_tracker: Tensor,
    /// The least scale. It exists before the first update: no memory may be needed between an optimizer's
    /// step and the update, which cannot be undone.
    min_scale: Tensor,
    per_optimizer: HashMap<OptimizerId, PerOptimizer>,
}

impl GradScaler {
    /// Makes a scaler whose state lives on `device`, CPU or CUDA.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(device: Device, config: ScalerConfig) -> Result<Self> {
        config.validate()?;
        let scale = one_value(config.init_scale, device)?;
        let growth_tracker = Tensor::f_zeros([1], (Kind::Int, device))?;
        let min_scale = one_value(config.min_scale, device)?;
        Ok(Self {
            config,
            scale,
            growth_tracker,
            min_scale,
            per_optimizer: HashMap::new(),
        })
    }

    /// Whether the scaler is enabled.
    pub fn is_enabled(&self) -> bool {
        self.config.enabled
    }

    /// Returns `loss` (any shape) times the scale.
    ///
    /// # Errors
    /// If the multiplication fails.
    pub fn scale(&self, loss: &Tensor) -> Result<Tensor> {
        if !self.config.enabled {
            return Ok(loss.shallow_clone());
        }
        // The scale has the shape `[1]`; the loss keeps its own shape.
        Ok(loss.f_mul(&self.scale.f_view(&loss_shape(loss)[..])?)?)
    }

    /// Divides the optimizer's gradients by the scale in place, for clipping before
    /// [`GradScaler::step`].
    ///
    /// # Errors
    /// [`Error::AlreadyUnscaled`], [`Error::AlreadyStepped`].
    pub fn unscale_(&mut self, optimizer: &dyn Optimizer) -> Result<()> {
        if !self.config.enabled {
            return Ok(());
        }
        match self.stage(optimizer) {
            Stage::Unscaled => return Err(Error::AlreadyUnscaled),
            Stage::Stepped => return Err(Error::AlreadyStepped("unscale_")),
            Stage::Ready => {}
        }
        // In fp64, because the reciprocal of a large scale is inexact in fp32.
        let inverse = self
            .scale
            .f_to_kind(Kind::Double)?
            .f_reciprocal()?
            .f_to_kind(Kind::Float)?;
        self.check(optimizer, &inverse)?;
        self.state_of(optimizer).stage = Stage::Unscaled;
        Ok(())
    }

    /// Unscales, unless [`GradScaler::unscale_`] was called before, and steps, unless a
    /// gradient overflowed. An optimizer that supports it takes this decision on the device,
    /// so that the host does not wait.
    ///
    /// # Errors
    /// [`Error::AlreadyStepped`]; [`Error::NothingChecked`] if no parameter has a
    /// gradient; errors of the optimizer's step.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer) -> Result<()> {
        if !self.config.enabled {
            return Ok(optimizer.step(None, None)?);
        }
        let stage = self.stage(optimizer);
        if stage == Stage::Stepped {
            return Err(Error::AlreadyStepped("step"));
        }
        if optimizer.step_supports_amp_scaling() {
            if stage == Stage::Ready {
                let one = self.scale.f_ones_like()?;
                self.check(optimizer, &one)?;
            }
            let found_inf = self.found_inf(optimizer)?;
            let grad_scale = (stage == Stage::Ready).then_some(&self.scale);
            optimizer.step(grad_scale, Some(&found_inf))?;
        } else {
            if stage == Stage::Ready {
                self.unscale_(optimizer)?;
            }
            if self.found_inf(optimizer)?.f_double_value(&[0])? == 0.0 {
                optimizer.step(None, None)?;
            }
        }
        self.state_of(optimizer).stage = Stage::Stepped;
        Ok(())
    }

    /// Adapts the scale to the steps since the last update, or sets it to `new_scale`.
    ///
    /// # Errors
    /// [`Error::NothingChecked`] without a step since the last update;
    /// [`Error::Setting`] for a `new_scale` out of range.
    pub fn update(&mut self, new_scale: Option<f64>) -> Result<()> {
        if !self.config.enabled {
            return Ok(());
        }
        if let Some(value) = new_scale {
            self.set_scale(value)?;
        } else {
            let mut found_inf = self
                .per_optimizer
                .values()
                .filter_map(|s| s.found_inf.as_ref())
                .map(Tensor::shallow_clone);
            let mut combined = found_inf.next().ok_or(Error::NothingChecked("update"))?;
            for other in found_inf {
                combined = combined.f_add(&other)?;
            }
            let growth_tracker = self.growth_tracker.shallow_clone();
            let _updated = self.scale.f_internal_amp_update_scale_(
                &growth_tracker,
                &combined,
                self.config.growth_factor,
                self.config.backoff_factor,
                self.config.growth_interval,
            )?;
            if self.config.min_scale > 0.0 {
                let _clamped = self.scale.f_clamp_min_tensor_(&self.min_scale)?;
            }
        }
        self.per_optimizer.clear();
        Ok(())
    }

    /// Forgets what was called since the last [`GradScaler::update`], after a step that failed.
    pub fn forget_step(&mut self) {
        self.per_optimizer.clear();
    }

    /// The current scale (1 if disabled). Waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn get_scale(&self) -> Result<f64> {
        if self.config.enabled {
            Ok(self.scale.f_double_value(&[0])?)
        } else {
            Ok(1.0)
        }
    }

    /// The state to save. Waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    #[doc(alias = "state_dict")]
    pub fn state(&self) -> Result<ScalerState> {
        Ok(ScalerState {
            scale: self.scale.f_double_value(&[0])?,
            growth_factor: self.config.growth_factor,
            backoff_factor: self.config.backoff_factor,
            growth_interval: self.config.growth_interval,
            growth_tracker: self.growth_tracker.f_int64_value(&[0])?,
        })
    }

    /// Restores a saved state.
    ///
    /// # Errors
    /// If a value is out of its range. The scaler then stays unchanged.
    #[doc(alias = "load_state_dict")]
    pub fn load_state(&mut self, state: &ScalerState) -> Result<()> {
        let config = ScalerConfig {
            init_scale: state.scale,
            growth_factor: state.growth_factor,
            backoff_factor: state.backoff_factor,
            growth_interval: state.growth_interval,
            min_scale: self.config.min_scale.min(state.scale),
            ..self.config
        };
        config.validate()?;
        self.config = ScalerConfig {
            init_scale: self.config.init_scale,
            min_scale: self.config.min_scale,
            ..config
        };
        self.set_scale(state.scale)?;
        let _filled = self.min_scale.f_fill_(self.config.min_scale)?;
        let _filled = self.growth_tracker.f_fill_(state.growth_tracker)?;
        self.per_optimizer.clear();
        Ok(())
    }

    fn set_scale(&mut self, value: f64) -> Result<()> {
        if !(value.is_finite() && value > 0.0) {
            let expected = "positive and finite";
            return Err(Error::Setting {
                name: "new_scale",
                value,
                expected,
            });
        }
        let _filled = self.scale.f_fill_(value)?;
        Ok(())
    }

    fn stage(&self, optimizer: &dyn Optimizer) -> Stage {
        self.per_optimizer
            .get(&optimizer.id())
            .map(|s| s.stage)
            .unwrap_or_default()
    }

    fn state_of(&mut self, optimizer: &dyn Optimizer) -> &mut PerOptimizer {
        self.per_optimizer.entry(optimizer.id()).or_default()
    }

    /// Whether a gradient of `optimizer` held an infinity or NaN since the last update: 1 or 0 (fp32, one
    /// element, on the device). Does not wait for the device.
    ///
    /// # Errors
    /// [`Error::NothingChecked`] if the scaler is disabled, or no gradient was checked.
    #[doc(alias = "_found_inf_per_device")]
    pub fn found_inf(&self, optimizer: &dyn Optimizer) -> Result<Tensor> {
        self.per_optimizer
            .get(&optimizer.id())
            .and_then(|s| s.found_inf.as_ref())
            .map(Tensor::shallow_clone)
            .ok_or(Error::NothingChecked("step"))
    }

    /// Multiplies the gradients by `inverse` and notes whether any is non-finite.
    fn check(&mut self, optimizer: &dyn Optimizer, inverse: &Tensor) -> Result<()> {
        let gradients = optimizer.gradients();
        if gradients.is_empty() {
            return Ok(());
        }
        let found_inf = self.scale.f_zeros_like()?;
        torch_ext::ops::amp_non_finite_check_and_unscale(&gradients, &found_inf, inverse)?;
        self.state_of(optimizer).found_inf = Some(found_inf);
        Ok(())
    }
}

/// A shape of ones, with as many dimensions as the loss.
fn loss_shape(loss: &Tensor) -> Vec<i64> {
    vec![1; loss.dim()]
}

#[cfg(test)]
mod tests;
