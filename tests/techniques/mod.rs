//! Proofs on the real network.
