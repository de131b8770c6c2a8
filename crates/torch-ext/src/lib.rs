//! A C++ shim over libtorch 2.11 with a safe Rust interface: it adds what Snug needs and
//! `tch` does not bind. No other crate of the workspace has `unsafe` code or C++.
//!
//! It is not a second `tch`: tensors are [`tch::Tensor`], operators are `tch`'s
//! `f_` operators, and nothing here knows about networks.
//!
//! | module | contents |
//! |---|---|
//! | [`library`] | versions, opening the CUDA half at run time, what the CPU can do |
//! | [`meter`] | the counting CPU allocator: bytes, peak, limit |
//! | [`record`] | every allocation over a stretch of time, with its operator |
//! | [`cuda`] | the CUDA allocator's statistics |
//! | [`cudnn`] | which algorithms cuDNN may choose from |
//! | [`device_info`] | versions of CUDA and cuDNN, compute capability, PCI bus id |
//! | [`distributed`] | processes that train together: store, group, operations |
//! | [`autocast`] | a guard for the thread's autocast state |
//! | [`nvrtc`] | CUDA's compiler at run time, opened where cuDNN finds it |
//! | [`ops`] | fused `AdamW`, gradient unscaling, clearing gradients, memory format |
//! | [`backward()`] | backward with typed errors that leaves nothing behind |
//! | [`norm`] | BatchNorm that knows whether it runs in forward or recompute, and its parts |
//! | [`conv`] | the two halves of a convolution's backward |
//! | [`function`] | a graph node whose backward is a Rust closure |
//! | [`graph`] | CUDA graphs: a step that is recorded once and started as a whole |
//! | [`segment`] | parts of the forward pass that backward runs again |
//! | [`probe`] | counts of operators and their outputs' memory formats, time of operators |
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

#![expect(
    unsafe_code,
    reason = "the workspace keeps its unsafe code in this crate"
)]

mod abi;
pub mod autocast;
mod backward;
pub mod conv;
pub mod cuda;
pub mod cudnn;
pub mod device_info;
pub mod distributed;
mod error;
mod ffi;
pub mod function;
pub mod graph;
mod launch;
pub mod library;
pub mod meter;
pub mod norm;
pub mod nvrtc;
pub mod ops;
mod parallel;
pub mod probe;
pub mod record;
mod rows;
pub mod segment;

pub use backward::{backward, backward_with};
pub use error::{BoxError, Error, Result};
pub use launch::{Emulation, Emulator, emulate};

/// Prepares the process: checks the version of the linked libtorch, installs the
/// counting CPU allocator and the autograd engine that segments need, and opens the CUDA half
/// where it is installed. Call it before the first tensor is made and before the first backward,
/// since libtorch starts its threads for the engine that it finds then; calling it again does
/// nothing.
///
/// # Errors
/// [`Error::Version`] if the loaded libtorch is not the version that this was built for.
pub fn init() -> Result<()> {
    library::check_version()?;
    meter::install()?;
    segment::install_engine();
    library::open_cuda();
    Ok(())
}
