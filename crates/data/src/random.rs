//! One random stream per purpose and position, so that results do not depend on the order
//! in which threads ask.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// The purpose of a stream. Two purposes never share numbers, whatever the seeds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RandomUse {
    Order = 1,
    Augment = 2,
    Page = 3,
    Window = 4,
}

/// The stream of `purpose` at (`seed`, `a`, `b`). The four words are the key of the cipher,
/// so that neighbouring positions are as unrelated as distant ones.
pub(crate) fn stream(purpose: RandomUse, seed: u64, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([purpose as u64, seed, a, b]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
