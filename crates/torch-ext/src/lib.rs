//! The C++ shim over libtorch 2.11 and its safe face: what `tch` does not bind and
//! Snug needs. The only crate of the workspace with `unsafe` code and C++.
//!
//! It is not a second `tch`: tensors are [`tch::Tensor`], operators are `tch`'s
//! `f_` operators, and nothing here knows about a network.
//!
//! | module | what |
//! |---|---|
//! | [`library`] | versions, run-time opening of the CUDA half, what the CPU can do |
//! | [`meter`] | the counting CPU allocator: bytes, peak, limit |
//! | [`record`] | every allocation of a stretch of time, with its operator |
//! | [`cuda`] | the CUDA allocator's statistics |
//! | [`cudnn`] | which algorithms cuDNN may choose from |
//! | [`device_info`] | versions of CUDA and cuDNN, compute capability, PCI bus id |
//! | [`autocast`] | the thread's autocast state as a guard |
//! | [`ops`] | fused `AdamW`, gradient unscaling, gradients set to none, memory format |
//! | [`backward()`] | backward with typed errors that leaves nothing behind |
//! | [`norm`] | BatchNorm that knows which pass it is in, and its parts |
//! | [`conv`] | the two halves of a convolution's backward |
//! | [`function`] | a graph node whose backward is a Rust closure |
//! | [`segment`] | parts of the forward pass that backward runs again |
//! | [`probe`] | counts of operators and of their outputs' memory format |
//!
//! ```
//! use tch::{Device, Kind, Tensor};
//!
//! torch_ext::init()?;
//! let before = torch_ext::meter::read().allocated_bytes;
//! let t = Tensor::zeros([4, 3, 8, 6], (Kind::Float, Device::Cpu));
//! assert_eq!(torch_ext::meter::read().allocated_bytes - before, 4 * 3 * 8 * 6 * 4);
//! # drop(t);
//! # Ok::<(), torch_ext::Error>(())
//! ```

#![expect(unsafe_code, reason = "this crate is where the workspace keeps it")]

mod abi;
pub mod autocast;
mod backward;
pub mod conv;
pub mod cuda;
pub mod cudnn;
pub mod device_info;
mod error;
mod ffi;
pub mod function;
pub mod library;
pub mod meter;
pub mod norm;
pub mod ops;
pub mod probe;
pub mod record;
pub mod segment;

pub use backward::{backward, backward_with};
pub use error::{BoxError, Error, Result};

/// Prepares the process: checks the version of the linked libtorch, installs the
/// counting CPU allocator and opens the CUDA half where it is installed. Call it
/// before the first tensor is made; calling it again does nothing.
///
/// # Errors
/// [`Error::Version`] where another libtorch than the one built for is loaded.
pub fn init() -> Result<()> {
    library::check_version()?;
    meter::install()?;
    library::open_cuda();
    Ok(())
}
