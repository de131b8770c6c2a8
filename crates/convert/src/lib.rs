//! Migration from Python: settings and weights of U-Nets, converted to Snug's.
//!
//! [`settings`] reads a script's `CFG`, its command line or a page that shows such blocks, and makes a TOML file
//! for `--config`. [`weights`] renames and rearranges the tensors of other U-Nets, both ways. Python is parsed and
//! never run. This crate opens no file and knows no libtorch: it turns text into text, and tensors into tensors.
//!
//! ```
//! let script = r#"
//! CFG = {
//!     "IMG_SIZE": (384, 512),
//!     "BATCH": 2 * 4,
//!     "ROOT": "pages",
//!     "NUM_WORKERS": 4,
//! }
//! "#;
//! let [converted] = convert::settings(script, "train.py")?.try_into().expect("one block");
//! assert_eq!(converted.toml, "schema_version = 1\nimg_size = [384, 512]\nbatch = 8\n");
//! assert_eq!(converted.command, ["snug", "train", "pages", "--config", "train.toml"]);
//! let last = converted.notes.last().map(ToString::to_string).unwrap_or_default();
//! assert!(last.starts_with("line 6: `NUM_WORKERS = 4`: Snug chooses"));
//! # Ok::<(), convert::Error>(())
//! ```

mod error;
mod settings;
pub mod weights;

pub use error::{Error, Result};
pub use settings::{Converted, Note, settings};
