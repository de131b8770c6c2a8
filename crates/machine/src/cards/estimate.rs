//! Peak rates of a card that is missing from the table, estimated from what NVML reports.

use super::Rates;

/// What NVML reports about a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    /// Product name. It distinguishes `GeForce` cards, which accumulate in fp32 at half rate, and
    /// the GTX 16 series, which has no tensor cores, from other cards of the same compute
    /// capability.
    pub name: &'a str,
    /// Compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors: NVML's core count divided by [`cores_per_sm`].
    pub num_sms: u32,
    /// Highest SM clock that NVML reports (`nvmlDeviceGetMaxClockInfo`).
    pub max_sm_clock_mhz: u32,
    /// Highest memory clock that NVML reports.
    pub max_memory_clock_mhz: u32,
    /// Width of the memory bus.
    pub bus_width_bits: u32,
}

/// What an SM does per clock.
struct PerSm {
    /// CUDA cores; each does two FLOP per clock.
    cores: u32,
    /// FLOP in fp16 on tensor cores with fp32 accumulation; 0 without tensor cores.
    fp16: u32,
    /// The same figure for `GeForce` cards.
    fp16_geforce: u32,
    /// Whether the card has TF32, at half that rate, and bf16, at the same rate.
    since_ampere: bool,
}

/// Stated boost clock over NVML's highest clock, for cards that drive displays: from 0.74
/// (RTX 2080 Ti, 1545 of 2100 MHz) to 0.86 (RTX A6000, 1800 of 2100 MHz), on six cards from
/// memory. The clock that such a card sustains under load lies between the two. On data-centre
/// cards the two clocks are equal.
const BOOST_OF_MAX: f64 = 0.8;

/// Words that occur in the names of cards that drive displays.
const DISPLAY: [&str; 4] = ["GeForce", "RTX", "Quadro", "TITAN"];

/// Bytes that one bit of the bus carries per clock. NVML counts clocks so that each makes two
/// transfers, on GDDR5 to GDDR7 and on HBM alike (RTX 3090: 9751 MHz x 2 x 384 / 8 = 936 GB/s;
/// A100: 1215 MHz x 2 x 5120 / 8 = 1555 GB/s).
const BYTES_PER_BIT_AND_CLOCK: f64 = 2.0 / 8.0;

/// CUDA cores per SM, or `None` for an unknown architecture.
pub fn cores_per_sm(compute_capability: (u32, u32)) -> Option<u32> {
    per_sm(compute_capability).map(|sm| sm.cores)
}

/// For each architecture, the whitepaper's core count and fused multiply-adds per tensor core;
/// they reproduce the stated rates (A100: 108 SMs x 2048 x 1.41 GHz = 312 TFLOP/s).
fn per_sm(compute_capability: (u32, u32)) -> Option<PerSm> {
    let (cores, fp16, fp16_geforce, since_ampere) = match compute_capability {
        (6, 0) => (64, 0, 0, false),
        (6, 1) => (128, 0, 0, false),
        // Eight tensor cores, each with 64 multiply-adds.
        (7, 0) => (64, 1024, 1024, false),
        (7, 5) => (64, 1024, 512, false),
        // Four tensor cores with 256 each.
        (8, 0) => (64, 2048, 2048, true),
        // Four with 128 each; data-centre and workstation cards accumulate in fp32 at full rate.
        (8, 6 | 9) | (12, 0) => (128, 1024, 512, true),
        // Four with 512 each.
        (9, 0) => (128, 4096, 4096, true),
        // Four with 1024 each.
        (10, 0 | 3) => (128, 8192, 8192, true),
        _ => return None,
    };
    Some(PerSm {
        cores,
        fp16,
        fp16_geforce,
        since_ampere,
    })
}

pub(super) fn estimate(observed: &Observed<'_>) -> Option<Rates> {
    let sm = per_sm(observed.compute_capability)?;
    let clocks = [
        observed.num_sms,
        observed.max_sm_clock_mhz,
        observed.max_memory_clock_mhz,
        observed.bus_width_bits,
    ];
    if clocks.contains(&0) {
        return None;
    }
    let named = |word: &&str| observed.name.contains(*word);
    let boost = if DISPLAY.iter().any(named) {
        BOOST_OF_MAX
    } else {
        1.0
    };
    let clock = f64::from(observed.max_sm_clock_mhz) * 1e6 * boost;
    let rate = |per_clock: u32| f64::from(observed.num_sms) * f64::from(per_clock) * clock;
    let fp16 = if observed.name.contains("GTX") {
        0
    } else if observed.name.contains("GeForce") {
        sm.fp16_geforce
    } else {
        sm.fp16
    };
    let tensor = (fp16 > 0).then(|| rate(fp16));
    let later = tensor.filter(|_| sm.since_ampere);
    Some(Rates {
        memory_bytes_per_second: f64::from(observed.max_memory_clock_mhz)
            * 1e6
            * f64::from(observed.bus_width_bits)
            * BYTES_PER_BIT_AND_CLOCK,
        fp32_flops: rate(2 * sm.cores),
        tf32_flops: later.map(|rate| rate / 2.0),
        fp16_flops: tensor,
        bf16_flops: later,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hardware;

    /// Largest allowed error of the estimate, relative to the table.
    const TOLERANCE: f64 = 0.15;
    /// Largest allowed error at the table's own clock: the datasheets of H100 and B200 state tensor
    /// rates at a lower clock than fp32 rates.
    const TOLERANCE_OF_ROWS: f64 = 0.16;

    fn assert_near(what: &str, estimated: &Rates, stated: &Rates, tolerance: f64) {
        let pairs = [
            (Some(estimated.fp32_flops), Some(stated.fp32_flops)),
            (estimated.tf32_flops, stated.tf32_flops),
            (estimated.fp16_flops, stated.fp16_flops),
            (estimated.bf16_flops, stated.bf16_flops),
            (
                Some(estimated.memory_bytes_per_second),
                Some(stated.memory_bytes_per_second),
            ),
        ];
        for (estimated, stated) in pairs {
            assert_eq!(estimated.is_some(), stated.is_some(), "{what}");
            let error = estimated
                .zip(stated)
                .map_or(0.0, |(e, s)| (e / s - 1.0).abs());
            assert!(error <= tolerance, "{what}: {estimated:?} for {stated:?}");
        }
    }

    /// Highest clocks as NVML reports them, from memory; bus widths are from the database.
    #[test]
    fn within_tolerance_of_the_table() {
        for (name, max_sm_clock_mhz, max_memory_clock_mhz, bus_width_bits) in [
            ("NVIDIA GeForce GTX 1080 Ti", 1911, 5505, 352),
            ("Tesla P100-SXM2-16GB", 1480, 715, 4096),
            ("Tesla V100-SXM2-16GB", 1530, 877, 4096),
            ("Tesla T4", 1590, 5001, 256),
            ("NVIDIA GeForce GTX 1660 Ti", 2100, 6001, 192),
            ("NVIDIA GeForce RTX 2080 Ti", 2100, 7000, 352),
            ("NVIDIA A100-SXM4-40GB", 1410, 1215, 5120),
            ("NVIDIA A100-SXM4-80GB", 1410, 1593, 5120),
            ("NVIDIA GeForce RTX 3060", 2100, 7501, 192),
            ("NVIDIA GeForce RTX 3090", 2100, 9751, 384),
            ("NVIDIA RTX A6000", 2100, 8001, 384),
            ("NVIDIA A40", 1740, 7251, 384),
            ("NVIDIA GeForce RTX 4090", 3105, 10501, 384),
            ("NVIDIA L4", 2040, 6251, 192),
            ("NVIDIA L40S", 2520, 9001, 384),
            ("NVIDIA H100 80GB HBM3", 1980, 2619, 5120),
            ("NVIDIA GeForce RTX 5090", 3090, 14001, 512),
        ] {
            let card = Hardware::lookup(name).unwrap();
            let observed = Observed {
                name,
                compute_capability: card.compute_capability,
                num_sms: card.num_sms,
                max_sm_clock_mhz,
                max_memory_clock_mhz,
                bus_width_bits,
            };
            let estimated = Hardware::estimate(&observed).unwrap();
            assert_near(name, &estimated, &card.rates, TOLERANCE);
        }
    }

    /// A typing error in a row shows up as a rate that its architecture cannot explain.
    #[test]
    fn rows_agree_with_their_architecture() {
        assert!(Hardware::cards().len() > 100);
        for card in Hardware::cards() {
            let observed = Observed {
                name: card.name,
                compute_capability: card.compute_capability,
                num_sms: card.num_sms,
                max_sm_clock_mhz: card.boost_clock_mhz,
                max_memory_clock_mhz: 1,
                bus_width_bits: 1,
            };
            let mut estimated = Hardware::estimate(&observed).unwrap();
            // The row already states the boost clock, so undo the scaling.
            let display = DISPLAY.iter().any(|word| card.name.contains(word));
            let undo = if display { 1.0 / BOOST_OF_MAX } else { 1.0 };
            estimated.fp32_flops *= undo;
            for rate in [
                &mut estimated.tf32_flops,
                &mut estimated.fp16_flops,
                &mut estimated.bf16_flops,
            ] {
                *rate = rate.map(|rate| rate * undo);
            }
            estimated.memory_bytes_per_second = card.rates.memory_bytes_per_second;
            assert_near(card.name, &estimated, &card.rates, TOLERANCE_OF_ROWS);
            // From 12 GB/s per GiB (A16) to 76 (RTX 3080); anything else means a wrong unit.
            let per_gib = card.rates.memory_bytes_per_second / card.memory.as_gib();
            assert!((1e10..8e10).contains(&per_gib), "{}", card.name);
            assert!(!card.source.is_empty());
        }
    }

    #[test]
    fn what_cannot_be_estimated() {
        let observed = Observed {
            name: "NVIDIA",
            compute_capability: (8, 0),
            num_sms: 108,
            max_sm_clock_mhz: 1410,
            max_memory_clock_mhz: 1215,
            bus_width_bits: 5120,
        };
        assert!(Hardware::estimate(&observed).is_some());
        for compute_capability in [(5, 2), (0, 0), (99, 0)] {
            let unknown = Observed {
                compute_capability,
                ..observed
            };
            assert_eq!(Hardware::estimate(&unknown), None);
        }
        let no_sms = Observed {
            num_sms: 0,
            ..observed
        };
        assert_eq!(Hardware::estimate(&no_sms), None);
        assert_eq!(cores_per_sm((8, 6)), Some(128));
        assert_eq!(cores_per_sm((3, 5)), None);
    }
}
