//! Mixed precision: the autocast guard and the gradient scaler.
//!
//! [`Autocast`] mirrors `torch.autocast` (fp16 and bf16, CPU and CUDA), [`GradScaler`]
//! mirrors `torch.amp.GradScaler`: names, defaults and state machine. Master weights stay
//! fp32; a disabled guard or scaler does nothing, so that a training loop has no branches.
//!
//! This crate has no optimizer: the scaler drives whatever implements [`Optimizer`].
//!
//! ```
//! use amp::{Autocast, AutocastConfig};
//! use tch::{Device, Kind, Tensor};
//!
//! torch_ext::init()?;
//! let a = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
//! let guard = Autocast::enter(AutocastConfig {
//!     device: Device::Cpu,
//!     dtype: Kind::BFloat16,
//!     enabled: true,
//!     cache_enabled: true,
//! })?;
//! assert_eq!(a.matmul(&a).kind(), Kind::BFloat16);
//! drop(guard);
//! assert_eq!(a.matmul(&a).kind(), Kind::Float);
//! # Ok::<(), torch_ext::Error>(())
//! ```

mod autocast;
mod grad_scaler;
mod optimizer;

pub use autocast::{Autocast, AutocastConfig};
pub use grad_scaler::{Error, GradScaler, ScalerConfig, ScalerState};
pub use optimizer::{Optimizer, OptimizerId};
