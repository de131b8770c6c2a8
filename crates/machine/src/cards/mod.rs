//! What NVIDIA cards can do at best: memory, bandwidth, floating-point rates.
//!
//! Peaks, not what a program reaches. The rows stand in `rows.rs`; a card that is not among them
//! is estimated from its architecture ([`Hardware::estimate`]).

mod estimate;
mod lookup;
mod rows;

use config::Bytes;

pub use estimate::{Observed, cores_per_sm};

/// The table of cards.
///
/// ```
/// use config::Bytes;
/// use machine::Hardware;
///
/// let card = Hardware::lookup("rtx 3060").expect("in the table");
/// assert_eq!(card.name, "NVIDIA GeForce RTX 3060");
/// assert_eq!(card.memory, Bytes(12 * Bytes::GIB));
/// assert!(card.rates.bf16_flops.is_some());
/// assert!(Hardware::lookup("A100").is_none()); // 40 or 80 GiB, two forms
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hardware;

/// One kind of card.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Name as NVML gives it. Those of the GTX 10 to RTX 20 series in laptops are not told apart
    /// by it, and are not in the table.
    pub name: &'static str,
    /// Memory that it is sold with; NVML says somewhat less.
    pub memory: Bytes,
    /// Compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub num_sms: u32,
    /// The boost clock that NVIDIA states, at which the rates are counted.
    pub boost_clock_mhz: u32,
    /// Peak rates.
    pub rates: Rates,
    /// Where the rates are from, and what of it is unverified.
    pub source: &'static str,
}

/// Peak rates of a card: dense, a multiplication and an addition being two operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Bytes per second between the chip and its memory.
    pub memory_bytes_per_second: f64,
    /// FLOP/s in fp32 on the CUDA cores.
    pub fp32_flops: f64,
    /// FLOP/s in TF32 on tensor cores; `None` where there are none for it.
    pub tf32_flops: Option<f64>,
    /// FLOP/s in fp16 on tensor cores that sum in fp32, as libtorch's convolutions ask for.
    /// `GeForce` cards of Turing and since do so at half the rate of sums in fp16.
    pub fp16_flops: Option<f64>,
    /// FLOP/s in bf16 on tensor cores.
    pub bf16_flops: Option<f64>,
}

impl Hardware {
    /// Every row.
    pub fn cards() -> &'static [Card] {
        rows::CARDS
    }

    /// The card of that name: in any case, with or without `NVIDIA`, `GeForce`, `RTX`, spaces, or
    /// with its size behind it (`rtx 3080 12gb`). `None` where no card or several may be meant.
    /// Of cards that differ in memory alone it is the commoner one.
    pub fn lookup(name: &str) -> Option<&'static Card> {
        lookup::lookup(rows::CARDS, name)
    }

    /// The card of that name whose memory is nearest: NVML gives some cards of different size, and
    /// so of different bandwidth, one name.
    pub fn lookup_with_memory(name: &str, memory: Bytes) -> Option<&'static Card> {
        let found = Self::lookup(name)?;
        let same = rows::CARDS.iter().filter(|card| card.name == found.name);
        same.min_by_key(|card| card.memory.0.abs_diff(memory.0))
    }

    /// Names of up to five cards that may have been meant, the likeliest first; none where nothing
    /// is like it.
    pub fn near(name: &str) -> Vec<&'static str> {
        lookup::near(rows::CARDS, name)
    }

    /// Peak rates from what NVML says of a card; `None` for an architecture that is not known
    /// (before Pascal, or after this was written).
    pub fn estimate(observed: &Observed<'_>) -> Option<Rates> {
        estimate::estimate(observed)
    }
}
