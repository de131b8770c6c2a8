//! Finds a libtorch, judges it, and starts a program with it.
//!
//! A program that is linked to libtorch cannot look for it: the dynamic loader has to have it
//! before `main`. The `train` of a distribution is therefore the small program of this package,
//! which looks in `LIBTORCH`, in the active Python and beside itself, and executes the real one
//! in its place. `cargo xtask setup` asks Pythons and judges folders by the same code.
//!
//! This crate links no libtorch, opens none and installs none.
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

pub use error::{Error, Result, with_causes};
pub use launch::{folder, launch};
pub use python::{Answer, Python, candidates};
pub use search::{Place, Search, Tried, Why};
pub use torch::{Flaw, Torch, Use, VERSION, inspect};
