//! Training data: images and masks as bytes, read from files or drawn, ahead of each step.
//!
//! Folders of images and masks ([`folder`], [`decode`], [`resize`]) and the built-in comic
//! pages ([`synth`]) are both a [`Source`]. A [`Loader`] turns a source into batches on
//! worker threads. [`import`](import::import) makes such a folder of [`annotations`]. [`verify`](fn@verify) reads the whole source once before a run, so that
//! bad files are reported at the start.
//!
//! This crate knows no tensors. Pixels stay `u8` in `[H, W, C]` order until the training
//! loop copies them to the device, where they are cast.
//!
//! Everything random is a function of (seed, epoch, sample index). It never depends on the
//! thread that did the work or on the order of the work.

pub mod annotations;
pub mod augment;
pub mod baseline;
mod cache;
pub mod decode;
mod encode;
mod error;
pub mod folder;
pub mod import;
mod loader;
mod parallel;
mod random;
pub mod resize;
mod source;
pub mod synth;
mod verify;

pub use error::DataError;
pub use loader::{Batch, EpochIter, Loader, LoaderConfig, default_workers, sample_order};
pub use source::{DEFAULT_CACHE_BYTES, FolderSource, Sample, Source, SynthSource};
pub use verify::{Verified, verify};
