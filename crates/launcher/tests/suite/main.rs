//! The program itself, with fake Pythons and a fake `libexec/train`.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test helpers fail as tests do")]

mod dist;
mod finds;
mod passes_on;
mod refuses;
