//! The parts that the command lines of `train` and `advisor` share (feature `cli`): the flags of
//! the keys, the handling of a flag that is given twice, the console, and the exit codes.

mod check;
pub mod console;
mod exit;
mod help;
mod keys;
mod parse;
pub mod program;
mod repeats;

pub use check::faults;
pub use exit::Exit;
pub use keys::{Evaluate, Explain, Fit, Inspect, KeyFlags, Memory, Offers, Pareto, Suggest};
pub use parse::{parse, reworded, spoken};
pub use repeats::repeats;
