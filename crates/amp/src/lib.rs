//! Automatic mixed precision for `tch`: an autocast guard and a gradient scaler.
//!
//! [`Autocast`] mirrors `torch.autocast` (fp16 and bf16, CPU and CUDA), and [`GradScaler`]
//! mirrors `torch.amp.GradScaler`: names, defaults and state machine are the same. Master
//! weights stay fp32. If a guard or scaler is disabled it does nothing, so that a training
//! loop needs no branches.
//!
//! fp16 needs the scaler, because small gradients would vanish. bf16 has the range of fp32 and
//! needs only the guard. This crate is neither a model nor an optimizer: the scaler drives any
//! type that implements [`Optimizer`]. Call [`torch_ext::init`] before the first tensor is made.
//!
//! ```
//! use amp::{Autocast, AutocastConfig, GradScaler, Optimizer, OptimizerId, ScalerConfig};
//! use tch::{Device, Kind, Tensor};
//!
//! /// Gradient descent on one weight.
//! struct Sgd(OptimizerId, Tensor);
//!
//! impl Optimizer for Sgd {
//!     fn id(&self) -> OptimizerId {
//!         self.0
//!     }
//!     fn gradients(&self) -> Vec<Tensor> {
//!         vec![self.1.grad()]
//!     }
//!     fn step(&mut self, _: Option<&Tensor>, _: Option<&Tensor>) -> torch_ext::Result<()> {
//!         let change = self.1.grad() * 0.1;
//!         tch::no_grad(|| self.1 -= change);
//!         Ok(())
//!     }
//! }
//!
//! torch_ext::init()?;
//! let weight = Tensor::ones([4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
//! let mut optimizer = Sgd(OptimizerId::unique(), weight.shallow_clone());
//! let mut scaler = GradScaler::new(Device::Cpu, ScalerConfig::default())?;
//! let images = Tensor::ones([2, 4], (Kind::Float, Device::Cpu));
//!
//! let loss = {
//!     let _autocast = Autocast::enter(AutocastConfig {
//!         device: Device::Cpu,
//!         dtype: Kind::BFloat16,
//!         enabled: true,
//!         cache_enabled: true,
//!     })?;
//!     let outputs = images.matmul(&weight);
//!     assert_eq!(outputs.kind(), Kind::BFloat16);
//!     outputs.sum(Kind::Float)
//! };
//! // Backward runs outside of the guard.
//! torch_ext::backward(&scaler.scale(&loss)?)?;
//! scaler.step(&mut optimizer)?;
//! scaler.update(None)?;
//! assert!((weight.mean(Kind::Float).double_value(&[]) - 0.8).abs() < 1e-6);
//! # Ok::<(), amp::Error>(())
//! ```

mod autocast;
mod grad_scaler;
mod optimizer;

pub use autocast::{Autocast, AutocastConfig};
pub use grad_scaler::{Error, GradScaler, ScalerConfig, ScalerState};
pub use optimizer::{Optimizer, OptimizerId};
