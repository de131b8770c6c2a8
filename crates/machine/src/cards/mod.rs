//! What NVIDIA cards can do at best: memory, bandwidth, floating-point rates.
//!
//! These are peaks, not what a program reaches. The rows are in `rows.rs`; the rates of any other
//! card are estimated from its architecture ([`Hardware::estimate`]).

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
    /// Name as NVML reports it. Laptop cards of the GTX 10 to RTX 20 series cannot be told apart by
    /// it, so they are not in the table.
    pub name: &'static str,
    /// The memory that it is sold with; NVML reports somewhat less.
    pub memory: Bytes,
    /// Compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub num_sms: u32,
    /// The boost clock that NVIDIA states; the rates hold at this clock.
    pub boost_clock_mhz: u32,
    /// Peak rates.
    pub rates: Rates,
    /// Where the rates come from, and which of them are unverified.
    pub source: &'static str,
}

/// Peak dense rates of a card; a multiplication and an addition count as two operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Bytes per second between the chip and its memory.
    pub memory_bytes_per_second: f64,
    /// FLOP/s in fp32 on the CUDA cores.
    pub fp32_flops: f64,
    /// FLOP/s in TF32 on tensor cores; `None` if the tensor cores lack TF32.
    pub tf32_flops: Option<f64>,
    /// FLOP/s in fp16 on tensor cores that accumulate in fp32, as libtorch's convolutions request.
    /// `GeForce` cards since Turing do so at half the rate of fp16 accumulation.
    pub fp16_flops: Option<f64>,
    /// FLOP/s in bf16 on tensor cores.
    pub bf16_flops: Option<f64>,
}

impl Hardware {
    /// The card to assume if only a memory size is known: a card of the oldest generation whose
    /// tensor cores have all types.
    pub fn typical() -> Option<&'static Card> {
        Self::lookup("RTX 3060")
    }

    /// Every row.
    pub fn cards() -> &'static [Card] {
        rows::CARDS
    }

    /// The card with this name. Case, spaces, and the words `NVIDIA`, `GeForce` and `RTX` are
    /// optional, and the memory size may follow (`rtx 3080 12gb`). Returns `None` if the name
    /// matches no card or several. Among cards that differ only in memory, returns the commoner
    /// one.
    pub fn lookup(name: &str) -> Option<&'static Card> {
        let name = name.strip_suffix(crate::STAND_IN).unwrap_or(name);
        lookup::lookup(rows::CARDS, name)
    }

    /// The card with this name whose memory is nearest: NVML reports one name for some cards that
    /// differ in memory and therefore in bandwidth.
    pub fn lookup_with_memory(name: &str, memory: Bytes) -> Option<&'static Card> {
        let found = Self::lookup(name)?;
        let same = rows::CARDS.iter().filter(|card| card.name == found.name);
        same.min_by_key(|card| card.memory.0.abs_diff(memory.0))
    }

    /// Names of up to five cards that may have been meant, the likeliest first; empty if no name is
    /// similar.
    pub fn near(name: &str) -> Vec<&'static str> {
        lookup::near(rows::CARDS, name)
    }

    /// Peak rates estimated from what NVML reports about a card; `None` for an unknown architecture
    /// (older than Pascal, or newer than this table).
    pub fn estimate(observed: &Observed<'_>) -> Option<Rates> {
        estimate::estimate(observed)
    }
}
