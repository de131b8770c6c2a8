//! The time of several GPUs that take a step together: what each adds to a step by summing gradients with the others.
//!
//! Nothing here was measured: it is arithmetic on bandwidths that others measured ([`Link`]).

use config::{Bytes, Network};
use ranks::Buckets;

use super::Link;
use super::ready::Ready;
use crate::{EstimateError, StaticBytes};

/// A bucket travels while the next is packed.
const NUM_BUCKETS_HELD: u64 = 2;
/// What NCCL's communicator takes of a GPU, outside libtorch's allocator. It grows with the number of channels, and users
/// report 110 MB (nccl#34) to 1.6 GB (nccl#864): this is assumed.
const COMMUNICATOR_BYTES: u64 = 512 << 20;
/// Seconds in which all ranks agree on a step, over Gloo: assumed, for a local network.
const AGREEMENT_SECONDS: f64 = 1e-4;
/// The share of backward in a step that recomputes nothing: it has two of the three convolutions.
const BACKWARD_SHARE: f64 = 2.0 / 3.0;

/// The ranks of a run, one on each of several equal GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranks {
    /// The number of all ranks, at least 1.
    pub num: u32,
    /// The most ranks of one machine, at least 1.
    pub per_machine: u32,
    /// What connects the GPUs of a machine.
    pub inside: Link,
    /// What connects machines.
    pub between: Link,
}

/// One ring of an all-reduce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ring {
    /// The number of its members, at least 2.
    pub members: u32,
    /// What connects them.
    pub link: Link,
    /// What each member sends in a step, and receives as well.
    pub sent_bytes: f64,
    /// Seconds of a step.
    pub seconds: f64,
}

/// What summing the gradients takes in each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// All gradients, in fp32.
    pub gradients: Bytes,
    /// Buckets in which they travel.
    pub num_buckets: u64,
    /// Among the GPUs of a machine, if it has several.
    pub inside: Option<Ring>,
    /// Among machines, if there are several.
    pub between: Option<Ring>,
    /// Seconds until all ranks agree on the step.
    pub agreement_seconds: f64,
    /// The buckets that a rank holds besides the gradients.
    pub buckets: Bytes,
    /// What NCCL takes of each GPU.
    pub communicator: Bytes,
    ready: Vec<Ready>,
}

impl Ranks {
    /// The number of machines.
    pub const fn num_machines(&self) -> u32 {
        self.num.div_ceil(self.per_machine)
    }

    /// What summing the gradients of a network takes; nothing for a single rank.
    ///
    /// # Errors
    /// [`EstimateError::TooLarge`] if a figure does not fit 64 bits.
    pub fn exchange(&self, network: &Network) -> Result<Exchange, EstimateError> {
        let gradients = StaticBytes::of(network)?.gradients;
        let is_alone = self.num == 1;
        let buckets = Buckets::of(gradients.0);
        let num_buckets = buckets.num(gradients.0);
        let unless_alone = |bytes: u64| Bytes(if is_alone { 0 } else { bytes });
        Ok(Exchange {
            gradients,
            num_buckets,
            // A machine with all its ranks takes the longest.
            inside: Ring::of(
                self.num.min(self.per_machine),
                self.inside,
                gradients,
                num_buckets,
            ),
            between: Ring::of(self.num_machines(), self.between, gradients, num_buckets),
            agreement_seconds: if is_alone { 0.0 } else { AGREEMENT_SECONDS },
            buckets: unless_alone(NUM_BUCKETS_HELD * buckets.most.min(gradients.0)),
            communicator: unless_alone(COMMUNICATOR_BYTES),
            ready: Ready::all(network),
        })
    }
}

impl Ring {
    /// A ring all-reduce sends each byte, but one share of it, twice: each member sends `2 (n - 1) / n` of all bytes. The
    /// latency is that of NCCL's tree over the members, there and back, for each bucket.
    fn of(members: u32, link: Link, all: Bytes, num_buckets: u64) -> Option<Self> {
        let (n, hops) = (
            f64::from(members),
            members.checked_next_power_of_two()?.ilog2(),
        );
        let sent_bytes = 2.0 * (n - 1.0) / n * all.0 as f64;
        let latency = 2.0 * f64::from(hops) * link.hop_seconds * num_buckets as f64;
        (members > 1).then_some(Self {
            members,
            link,
            sent_bytes,
            seconds: sent_bytes / link.bytes_per_second + latency,
        })
    }
}

impl Exchange {
    /// The rings of a step, one after the other: first inside each machine, then between machines.
    pub fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.inside.iter().chain(&self.between)
    }

    /// Seconds that gradients travel in a step.
    pub fn travel_seconds(&self) -> f64 {
        self.rings().map(|ring| ring.seconds).sum()
    }

    /// Seconds of a step that computes for `step_seconds`. Gradients travel after backward, so nothing overlaps.
    pub fn step_seconds(&self, step_seconds: f64) -> f64 {
        step_seconds + self.travel_seconds() + self.agreement_seconds
    }

    /// A lower bound on the same, if each gradient travelled as soon as the backward of the last of `micro_batches` has it.
    pub fn overlapped_seconds(&self, step_seconds: f64, micro_batches: u32) -> f64 {
        let backward = BACKWARD_SHARE * step_seconds / f64::from(micro_batches.max(1));
        let travel = self.travel_seconds();
        let ends = self
            .ready
            .iter()
            .map(|it| it.begins * backward + it.left * travel);
        let after = ends.fold(backward, f64::max) - backward;
        step_seconds + after + self.agreement_seconds
    }

    /// The memory that each GPU needs beyond the step itself.
    pub const fn memory(&self) -> Bytes {
        Bytes(self.buckets.0 + self.communicator.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(text: &str) -> Link {
        text.parse().unwrap()
    }

    fn ranks(num: u32, per_machine: u32, inside: Link, between: Link) -> Exchange {
        let ranks = Ranks {
            num,
            per_machine,
            inside,
            between,
        };
        ranks.exchange(&Network::new(64, 1)).unwrap()
    }

    fn millis(num: u32, per_machine: u32, inside: &str, between: &str) -> f64 {
        1e3 * ranks(num, per_machine, link(inside), link(between)).travel_seconds()
    }

    /// 124.2 MB: by hand, without latency.
    #[test]
    fn all_gradients_of_the_guides_network() {
        const LATENCY_MS: f64 = 0.8;
        for (inside, between, [num, per_machine], wanted) in [
            ("nvlink4", "100GbE", [2, 8], 124.2 / 450.0),
            ("nvlink3", "100GbE", [8, 8], 1.75 * 124.2 / 230.0),
            ("pcie4", "100GbE", [8, 8], 1.75 * 124.2 / 20.0),
            ("pcie4", "10GbE", [2, 1], 124.2 / 1.125),
            ("pcie4", "1GbE", [64, 1], 2.0 * 63.0 / 64.0 * 124.2 / 0.1125),
            // Eight machines with eight GPUs each.
            (
                "nvlink3",
                "10GbE",
                [64, 8],
                1.75 * 124.2 / 230.0 + 1.75 * 124.2 / 1.125,
            ),
        ] {
            let found = millis(num, per_machine, inside, between) - wanted;
            assert!(
                (0.0..LATENCY_MS).contains(&found),
                "{num} {inside} {between}: {found}"
            );
        }
    }

    #[test]
    fn one_rank_takes_its_own_time() {
        let alone = ranks(1, 8, link("1GbE"), link("1GbE"));
        assert_eq!(alone.step_seconds(0.1).to_bits(), 0.1_f64.to_bits());
        assert_eq!(
            alone.overlapped_seconds(0.1, 1).to_bits(),
            0.1_f64.to_bits()
        );
        assert_eq!(alone.memory(), Bytes(0));
    }

    #[test]
    fn a_small_network_has_small_buckets() {
        let ranks = Ranks {
            num: 2,
            per_machine: 8,
            inside: link("pcie4"),
            between: link("1GbE"),
        };
        let small = ranks.exchange(&Network::new(8, 1)).unwrap();
        assert_eq!((small.buckets.0, small.num_buckets), (2 << 20, 2));
        let large = ranks.exchange(&Network::new(64, 1)).unwrap();
        assert_eq!(
            (large.buckets.0, large.num_buckets),
            (2 * (large.gradients.0 / 6), 7)
        );
    }

    fn network() -> impl Strategy<Value = Link> {
        (1e6..1e12_f64).prop_map(|speed| Link {
            bytes_per_second: speed,
            ..link("1GbE")
        })
    }

    proptest! {
        /// Each GPU gets slower with the number of GPUs, and faster with the bandwidth.
        #[test]
        fn monotone(num in 1..500_u32, per_machine in 1..17_u32, inside in network(), between in network()) {
            let here = ranks(num, per_machine, inside, between).step_seconds(0.1);
            let more = ranks(num + 1, per_machine, inside, between).step_seconds(0.1);
            prop_assert!(here <= more);
            let faster = |link: Link| Link { bytes_per_second: 2.0 * link.bytes_per_second, ..link };
            let faster = ranks(num, per_machine, faster(inside), faster(between)).step_seconds(0.1);
            prop_assert!(faster < here || num == 1);
        }

        /// Overlap only helps, and cannot hide what is longer than backward.
        #[test]
        fn overlap_is_a_bound(num in 2..500_u32, between in network(), seconds in 1e-3..10.0_f64, micro_batches in 1..9_u32) {
            let exchange = ranks(num, 1, between, between);
            let bound = exchange.overlapped_seconds(seconds, micro_batches);
            prop_assert!(bound <= exchange.step_seconds(seconds) && bound >= seconds);
            prop_assert!(bound <= exchange.overlapped_seconds(seconds, micro_batches + 1));
        }
    }
}
