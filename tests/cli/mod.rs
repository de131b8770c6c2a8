//! Runs the real binary as a user would.
