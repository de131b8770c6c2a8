//! Processes that train together, by libtorch's c10d: a [`Store`] that they share, a [`Group`] of them, and an
//! operation under way ([`Work`]). Who calls what and when is for others to decide.
//!
//! Each process makes its own [`Store`] and [`Group`]. Neither has any authentication, and a store listens on all
//! network interfaces: both belong on a trusted network.
//!
//! ```
//! use std::thread;
//! use std::time::Duration;
//! use tch::Tensor;
//! use torch_ext::distributed::{Group, Member, Store};
//!
//! let timeout = Duration::from_secs(10);
//! let served = Store::serve("127.0.0.1", 0, timeout)?;
//! let port = served.port().ok_or("a store over TCP has a port")?;
//! let run = move |rank: usize| -> torch_ext::Result<Tensor> {
//!     let store = Store::connect("127.0.0.1", port, timeout)?;
//!     let group = Group::gloo(&store, &Member { prefix: "step", rank, size: 2, timeout }, Some("lo"))?;
//!     let mut sum = Tensor::from_slice(&[1.0, rank as f32]);
//!     group.all_reduce_sum(&mut sum)?.wait(None)?;
//!     Ok(sum)
//! };
//! let other = thread::spawn(move || run(1));
//! assert_eq!(run(0)?, Tensor::from_slice(&[2.0_f32, 1.0]));
//! assert_eq!(other.join().map_err(|_| "a panic")??, Tensor::from_slice(&[2.0_f32, 1.0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod failure;
mod group;
mod store;
#[cfg(test)]
mod tests;

pub use failure::Failure;
pub use group::{Group, Member, Work, flat_view};
pub use store::Store;

use std::ffi::CString;
use std::ptr::NonNull;
use std::time::Duration;

use crate::{Error, Result};

/// The shim's form of a time: for c10d, zero would be none.
fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1)
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_nul| {
        Error::InvalidArgument(format!("`{}` contains a NUL byte", text.escape_debug()))
    })
}

/// What the shim made.
fn made<T>(raw: *mut T) -> Result<NonNull<T>> {
    NonNull::new(raw).ok_or_else(|| Error::Torch("c10d returned nothing".to_owned()))
}
