//! Runs of several processes: who takes part, who trains on what, and how all of them decide alike.
//!
//! - [`Launch`] reads from the environment which rank this process is, whoever started it.
//! - [`Shard`] and [`Epoch`] give each rank its part of every step.
//! - [`Status`] is what a rank says of its step before any gradient travels, and [`merge`] what all make of it.
//! - [`Buckets`] says in how many bytes at a time gradients travel.
//! - [`Reason`] is what a failing rank leaves for the others, and [`Rendezvous`] how they find each other.
//!
//! This crate opens no connection and starts no process: it turns values into values, so that every case can be tested
//! on one machine. Tensors, groups and stores belong to `torch-ext`.
//!
//! ```
//! use ranks::{Epoch, Launch, Shard, Status, Verdict, What, merge};
//!
//! let variables = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "29500")];
//! let variable = |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
//! let launch = Launch::of(&variable)?.expect("one of two ranks");
//!
//! // 10 images in batches of 4; a step takes 2 batches, one for each rank.
//! let epoch = Epoch { samples: 10, batch: 4, accumulation: 2 };
//! let mine: Vec<_> = launch.shard.micro_batches(epoch, 0).collect();
//! assert_eq!(mine, [1, 2]);
//! assert_eq!(Shard::new(0, 2)?.micro_batches(epoch, 0).collect::<Vec<_>>(), [0]);
//!
//! // Rank 0 lacks 1 MiB, so both undo the step.
//! let fine = Status {
//!     shard: launch.shard,
//!     step: 7,
//!     what: What::Fine,
//!     missing_bytes: None,
//!     interrupt: false,
//!     recipe: 0,
//! };
//! let short = Status { shard: Shard::new(0, 2)?, what: What::OutOfMemory, missing_bytes: Some(1 << 20), ..fine };
//! let verdict = merge(&[short, fine])?;
//! assert!(matches!(verdict, Verdict::Undo { rank: 0, what: What::OutOfMemory, .. }));
//! # Ok::<(), ranks::Error>(())
//! ```

mod agreement;
mod buckets;
mod error;
mod failure;
mod launch;
mod rendezvous;
mod shard;

pub use agreement::{NUM_WORDS, Status, Verdict, What, fingerprint, merge, merge_gathered};
pub use buckets::Buckets;
pub use error::{Error, Result};
pub use failure::Reason;
pub use launch::{Address, Launch, Launcher, Variable, advice, device_of};
pub use rendezvous::{Keys, Rendezvous};
pub use shard::{Epoch, Shard};
