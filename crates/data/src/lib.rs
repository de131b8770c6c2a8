//! Training data: images and masks as bytes, read from files or drawn, ahead of each step.
//!
//! A folder is understood in three steps: [`folder`] finds the images and their masks by name, a
//! [`Survey`] reads every file once ([`decode`]), and [`masks`] decides over all of them what their
//! values mean. The result, a [`FolderSource`], and the built-in comic pages ([`synth`]) are both a
//! [`Source`]. A [`Loader`] turns a source into batches on worker threads.
//! [`import`](import::import) makes such a folder of [`annotations`].
//!
//! With [`windows`], samples are cut from images at their own resolution instead of images resized.
//!
//! This crate knows no tensors. Pixels stay `u8` in `[H, W, C]` order until the training
//! loop copies them to the device, where they are cast.
//!
//! Everything random is a function of (seed, epoch, sample index). It never depends on the
//! thread that did the work or on the order of the work.

pub mod alignment;
pub mod annotations;
pub mod augment;
pub mod baseline;
mod cache;
pub mod decode;
pub mod encode;
mod error;
pub mod folder;
pub mod import;
mod loader;
pub mod masks;
mod parallel;
mod random;
pub mod resize;
mod source;
mod survey;
pub mod synth;
mod thin;
mod verify;
pub mod windows;

pub use error::DataError;
pub use loader::{Batch, EpochIter, Loader, LoaderConfig, Loading, default_workers, sample_order};
pub use source::{DEFAULT_CACHE_BYTES, FolderSource, Reading, Sample, Source, SynthSource};
pub use survey::{Oddities, PartSurvey, Survey};
pub use thin::Thin;
pub use verify::{Verified, verify};
pub use windows::WindowSource;
