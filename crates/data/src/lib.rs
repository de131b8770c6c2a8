//! What the network learns from: samples of bytes, read or drawn, ahead of the step.
//!
//! Folders of images and masks ([`folder`], [`decode`], [`resize`]) and the
//! built-in comic pages ([`synth`]) are both a [`Source`]; a [`Loader`] turns a
//! source into batches on worker threads, and [`verify`](fn@verify) reads all
//! of it once before a run so that bad files surface at the start.
//!
//! What it is not: there is no tensor here. Pixels stay `u8` in `[H, W, C]`
//! order until the training loop hands them to the device, where they are cast.
//!
//! Everything random is a function of (seed, epoch, sample index), never of the
//! thread that did the work or of the order in which it was done.

pub mod augment;
pub mod baseline;
mod cache;
pub mod decode;
mod error;
pub mod folder;
mod loader;
mod random;
pub mod resize;
mod source;
pub mod synth;
mod verify;

pub use error::DataError;
pub use loader::{Batch, EpochIter, Loader, LoaderConfig, default_workers, sample_order};
pub use source::{DEFAULT_CACHE_BYTES, FolderSource, Sample, Source, SynthSource};
pub use verify::{Summary, verify};
