//! The meeting point of the three techniques: the only file that knows which features this
//! binary was built with. It offers the same API either way; a technique that is compiled out
//! is refused by name before a run that requests it starts ([`require_features`]).

use advisor::Freedom;
use config::{Precision, RunConfig};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::segment::Pass;
use torch_ext::{BoxError, Result};

use crate::optimizer::AdamW;

/// The techniques compiled in, by the names of their features.
pub const FEATURES: &[&str] = &[
    #[cfg(feature = "amp")]
    "amp",
    #[cfg(feature = "checkpoint")]
    "checkpoint",
    #[cfg(feature = "layout")]
    "layout",
];

/// The dtype of autocast in a precision; `None` without autocast.
pub const fn autocast_kind(precision: Precision) -> Option<Kind> {
    match precision {
        Precision::Fp32 | Precision::Tf32 => None,
        Precision::Fp16 => Some(Kind::Half),
        Precision::Bf16 => Some(Kind::BFloat16),
    }
}

/// The changes that the techniques compiled in allow.
pub fn means() -> Freedom {
    let has = |name| FEATURES.contains(&name);
    Freedom {
        policy: has("checkpoint"),
        amp: has("amp"),
        ..Freedom::ALL
    }
}

/// Refuses a configuration that needs a technique missing from this binary.
///
/// # Errors
/// [`Error::MissingFeature`](crate::Error::MissingFeature).
pub fn require_features(config: &RunConfig) -> crate::Result<()> {
    match missing_feature(config) {
        Some(feature) => Err(crate::Error::MissingFeature { feature }),
        None => Ok(()),
    }
}

/// The feature that `config` needs and this binary lacks, if any.
pub fn missing_feature(config: &RunConfig) -> Option<&'static str> {
    [
        ("amp", config.use_amp),
        ("checkpoint", config.use_grad_checkpoint),
        ("layout", config.use_channels_last),
    ]
    .into_iter()
    .find(|(name, wanted)| *wanted && !FEATURES.contains(name))
    .map(|(name, _)| name)
}

/// A scope of autocast; without the feature, or in fp32, a scope that does nothing.
#[derive(Debug)]
#[must_use = "autocast ends when this is dropped"]
pub struct Autocast {
    #[cfg(feature = "amp")]
    _scope: Option<amp::Autocast>,
}

impl Autocast {
    /// Enters the scope on this thread. The cast cache is off: no weight of this network is used
    /// twice in a forward pass, so a cached cast would waste memory.
    ///
    /// # Errors
    /// For a device without autocast.
    #[cfg(feature = "amp")]
    pub fn enter(device: Device, precision: Precision) -> Result<Self> {
        let scope = autocast_kind(precision)
            .map(|dtype| {
                let config = amp::AutocastConfig {
                    device,
                    dtype,
                    enabled: true,
                    cache_enabled: false,
                };
                amp::Autocast::enter(config)
            })
            .transpose()?;
        Ok(Self { _scope: scope })
    }

    /// Creates a scope that does nothing.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(feature = "amp"))]
    pub fn enter(_device: Device, _precision: Precision) -> Result<Self> {
        Ok(Self {})
    }
}

/// The scaler state that a run continues from; its other settings do not change in a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalerState {
    /// The present scale.
    pub scale: f64,
    /// Good steps since it last changed.
    pub growth_tracker: i64,
}

/// The gradient scaler: active for fp16, otherwise a no-op, so that the loop has no branches.
#[derive(Debug)]
pub struct Scaler {
    #[cfg(feature = "amp")]
    inner: amp::GradScaler,
}

#[cfg(feature = "amp")]
impl Scaler {
    /// A scaler on `device`.
    ///
    /// # Errors
    /// If `init_scale` is out of range.
    pub fn new(device: Device, precision: Precision, init_scale: f64) -> crate::Result<Self> {
        let config = amp::ScalerConfig {
            init_scale,
            enabled: precision == Precision::Fp16,
            ..amp::ScalerConfig::default()
        };
        Ok(Self {
            inner: amp::GradScaler::new(device, config)?,
        })
    }

    /// The loss to call backward on.
    ///
    /// # Errors
    /// If the multiplication fails.
    pub fn scale(&self, loss: &Tensor) -> crate::Result<Tensor> {
        Ok(self.inner.scale(loss)?)
    }

    /// One optimizer step, skipped on the device if a gradient is not finite: then the result is 1 (fp32,
    /// one element, on the device), otherwise 0.
    ///
    /// # Errors
    /// If the step fails.
    pub fn step(&mut self, optimizer: &mut AdamW) -> crate::Result<Tensor> {
        if !self.inner.is_enabled() {
            return Ok(optimizer.step_if_finite()?);
        }
        self.inner.step(optimizer)?;
        let found_inf = self.inner.found_inf(optimizer)?;
        self.inner.update(None)?;
        Ok(found_inf)
    }

    /// Forgets a step that was recorded and not taken.
    pub(crate) fn forget_step(&mut self) {
        self.inner.forget_step();
    }

    /// The present scale; `None` if no scaler is active. Waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn current(&self) -> crate::Result<Option<f64>> {
        if !self.inner.is_enabled() {
            return Ok(None);
        }
        Ok(Some(self.inner.get_scale()?))
    }

    /// The state to continue from; `None` if no scaler is active. Waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn state(&self) -> crate::Result<Option<ScalerState>> {
        if !self.inner.is_enabled() {
            return Ok(None);
        }
        let state = self.inner.state()?;
        Ok(Some(ScalerState {
            scale: state.scale,
            growth_tracker: state.growth_tracker,
        }))
    }

    /// Continues from `state`.
    ///
    /// # Errors
    /// If a value is out of its range.
    pub fn load_state(&mut self, state: ScalerState) -> crate::Result<()> {
        let state = amp::ScalerState {
            scale: state.scale,
            growth_tracker: state.growth_tracker,
            ..self.inner.state()?
        };
        Ok(self.inner.load_state(&state)?)
    }
}

#[cfg(feature = "amp")]
impl From<amp::Error> for crate::Error {
    fn from(error: amp::Error) -> Self {
        match error {
            amp::Error::Tensor(error) => Self::Tensor(error),
            other => Self::Scaler(Box::new(other)),
        }
    }
}

#[cfg(feature = "amp")]
impl amp::Optimizer for AdamW {
    fn id(&self) -> amp::OptimizerId {
        // A run has one optimizer, and the scaler belongs to the run.
        static ID: std::sync::OnceLock<amp::OptimizerId> = std::sync::OnceLock::new();
        *ID.get_or_init(amp::OptimizerId::unique)
    }

    fn gradients(&self) -> Vec<Tensor> {
        self.defined_gradients()
    }

    fn step(&mut self, grad_scale: Option<&Tensor>, found_inf: Option<&Tensor>) -> Result<()> {
        self.fused_step(grad_scale, found_inf)
    }

    fn step_supports_amp_scaling(&self) -> bool {
        true
    }
}

#[cfg(not(feature = "amp"))]
impl Scaler {
    /// A no-op.
    ///
    /// # Errors
    /// Never.
    pub fn new(_device: Device, _precision: Precision, _init_scale: f64) -> crate::Result<Self> {
        Ok(Self {})
    }

    /// The loss itself.
    ///
    /// # Errors
    /// Never.
    pub fn scale(&self, loss: &Tensor) -> crate::Result<Tensor> {
        Ok(loss.shallow_clone())
    }

    /// One optimizer step, skipped on the device if a gradient is not finite: then the result is 1 (fp32,
    /// one element, on the device), otherwise 0.
    ///
    /// # Errors
    /// If the step fails.
    pub fn step(&mut self, optimizer: &mut AdamW) -> crate::Result<Tensor> {
        Ok(optimizer.step_if_finite()?)
    }

    /// Does nothing.
    pub(crate) const fn forget_step(&mut self) {}

    /// `None`.
    ///
    /// # Errors
    /// Never.
    pub fn current(&self) -> crate::Result<Option<f64>> {
        Ok(None)
    }

    /// `None`.
    ///
    /// # Errors
    /// Never.
    pub fn state(&self) -> crate::Result<Option<ScalerState>> {
        Ok(None)
    }

    /// Does nothing: without the feature no run has a scaler.
    ///
    /// # Errors
    /// Never.
    pub fn load_state(&mut self, _state: ScalerState) -> crate::Result<()> {
        Ok(())
    }
}

/// Runs `body` as a checkpointed segment; without the feature, runs it plainly.
///
/// # Errors
/// The errors of `body`.
#[cfg(feature = "checkpoint")]
pub fn checkpointed<F>(use_reentrant: bool, inputs: &[&Tensor], body: F) -> Result<Vec<Tensor>>
where
    F: Fn(&[Tensor], Pass) -> std::result::Result<Vec<Tensor>, BoxError> + Send + 'static,
{
    checkpoint::Checkpoint::default()
        .use_reentrant(use_reentrant)
        // The network has no random operator.
        .preserve_rng_state(false)
        .run(inputs, body)
}

/// Runs `body` plainly.
///
/// # Errors
/// The errors of `body`.
#[cfg(not(feature = "checkpoint"))]
pub fn checkpointed<F>(_use_reentrant: bool, inputs: &[&Tensor], body: F) -> Result<Vec<Tensor>>
where
    F: Fn(&[Tensor], Pass) -> std::result::Result<Vec<Tensor>, BoxError> + Send + 'static,
{
    let inputs: Vec<Tensor> = inputs.iter().map(|t| t.shallow_clone()).collect();
    body(&inputs, Pass::Forward).map_err(torch_ext::Error::Segment)
}

/// Converts parameters to channels-last if `on`.
///
/// # Errors
/// If memory runs out.
#[cfg(feature = "layout")]
pub fn convert_parameters<'a>(
    parameters: impl IntoIterator<Item = &'a mut Tensor>,
    on: bool,
) -> Result<()> {
    if on {
        layout::convert_parameters(parameters, layout::MemoryFormat::ChannelsLast)?;
    }
    Ok(())
}

/// Leaves parameters unchanged.
///
/// # Errors
/// Never.
#[cfg(not(feature = "layout"))]
pub fn convert_parameters<'a>(
    _parameters: impl IntoIterator<Item = &'a mut Tensor>,
    _on: bool,
) -> Result<()> {
    Ok(())
}

/// Observations of the memory format of 4-D tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatSeen {
    /// Operator outputs whose strides identify the format.
    pub num_images: u64,
    /// Operators with outputs that were not channels-last, and how many of them.
    pub offenders: Vec<(String, u64)>,
}

/// Runs `body` and watches the memory format of its operators' outputs, backward included.
///
/// # Errors
/// The errors of `body`, and if another watch is active.
#[cfg(feature = "layout")]
pub fn watch_format(body: impl FnOnce() -> crate::Result<()>) -> crate::Result<FormatSeen> {
    let watch = layout::Watch::begin()?;
    body()?;
    let report = watch.finish()?;
    Ok(FormatSeen {
        num_images: report.num_images,
        offenders: report.offenders,
    })
}

/// Refuses.
///
/// # Errors
/// Always.
#[cfg(not(feature = "layout"))]
pub fn watch_format(_body: impl FnOnce() -> crate::Result<()>) -> crate::Result<FormatSeen> {
    Err(crate::Error::MissingFeature { feature: "layout" })
}
