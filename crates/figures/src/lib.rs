//! Shows numbers: as tables, as charts and as formatted text.
//!
//! This crate turns plain data into text. It measures nothing, predicts nothing and writes no file: the caller
//! knows what a number means and where the text goes.
//!
//! ```
//! use figures::Table;
//!
//! let mut table = Table::new(&["policy", "peak, MiB"]);
//! table.row(["off", "860"]);
//! table.row(["selective", "430"]);
//! assert_eq!(
//!     table.to_text(1),
//!     "  policy     peak, MiB\n  off        860\n  selective  430\n"
//! );
//! ```

pub mod numbers;
pub mod scale;
pub mod scatter;
pub mod svg;
mod table;
pub mod timeline;

pub use locale::Language;
pub use svg::Color;
pub use table::Table;
