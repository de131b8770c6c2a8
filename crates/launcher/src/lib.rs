//! Finds a libtorch, judges it, and starts a program with it.
//!
//! A program that is linked to libtorch cannot search for it: the dynamic loader needs it before
//! `main`. The `train` of a distribution and the `snug` of the wheel are therefore the small program of
//! this package. It looks in `LIBTORCH`, in the active Python (or in the one of `SNUG_PYTHON` alone) and in its own
//! folder, and then replaces
//! itself with the real program. `cargo xtask setup` queries Pythons and judges folders with the same code.
//!
//! This crate neither links, opens nor installs libtorch.
//!
//! ```
//! use launcher::{Flaw, Use, inspect};
//!
//! let flaw = inspect("no/such/torch".as_ref(), Use::Run).unwrap_err();
//! assert!(matches!(flaw, Flaw::Missing(_)));
//! ```

pub mod program;

mod error;
mod launch;
mod loader;
mod python;
mod search;
mod torch;

pub use error::{Error, Result, said};
pub use launch::{launch, own_path};
pub use python::{Python, PythonAnswer, candidates};
pub use search::{LibtorchSearch, SearchPlace, Tried, Why};
pub use torch::{Flaw, Torch, Use, VERSION, inspect};
