//! What connects GPUs: the named links, and a bandwidth as people write it.

use std::fmt;
use std::str::FromStr;

use config::Bytes;

/// A link between GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Its name, if it is one of [`Self::named`].
    pub name: Option<&'static str>,
    /// Whether it connects machines, and not the GPUs of one.
    pub is_network: bool,
    /// The bandwidth that an all-reduce reaches on it ("bus bandwidth" in `nccl-tests`), in each direction.
    pub bytes_per_second: f64,
    /// Seconds of one hop of a ring.
    pub hop_seconds: f64,
}

/// Seconds of a hop of NCCL's ring with the protocol `Simple`, which large messages take (`hwLatencies` in NCCL's
/// `tuning.cc`).
const NVLINK_HOP: f64 = 3.4e-6;
const PCIE_HOP: f64 = 5.7e-6;
const NETWORK_HOP: f64 = 14e-6;

/// The share of a network's line rate that a ring reaches: assumed.
const LINE_SHARE: f64 = 0.9;

/// Bandwidths inside a machine are those of `nccl-tests`: H100 with `NVLink` 460 to 480 GB/s, A100 230 to 250, H100 on
/// `PCIe` 5 35 to 45. Those of `PCIe` 4, and of `PCIe` 3 or through the host's memory, are assumed.
const LINKS: [Link; 10] = [
    inside("nvlink4", 450e9, NVLINK_HOP),
    inside("nvlink3", 230e9, NVLINK_HOP),
    inside("pcie5", 40e9, PCIE_HOP),
    inside("pcie4", 20e9, PCIE_HOP),
    inside("pcie3", 8e9, PCIE_HOP),
    network("400GbIB", 400e9),
    network("100GbE", 100e9),
    network("25GbE", 25e9),
    network("10GbE", 10e9),
    network("1GbE", 1e9),
];

const fn inside(name: &'static str, bytes_per_second: f64, hop_seconds: f64) -> Link {
    Link {
        name: Some(name),
        is_network: false,
        bytes_per_second,
        hop_seconds,
    }
}

const fn network(name: &'static str, bits_per_second: f64) -> Link {
    Link {
        name: Some(name),
        is_network: true,
        bytes_per_second: LINE_SHARE * bits_per_second / 8.0,
        hop_seconds: NETWORK_HOP,
    }
}

impl Link {
    /// The links that have a name, from the fastest inside a machine to the slowest between machines.
    pub const fn named() -> &'static [Self] {
        &LINKS
    }

    /// The link inside a machine with cards of this name: `NVLink` for those that are sold in machines with it, otherwise
    /// `PCIe` 4. This is an assumption, since no name of a card says how it is connected.
    pub fn of_card(name: Option<&str>) -> Self {
        let [nvlink4, nvlink3, _, pcie4, ..] = LINKS;
        let name = name.unwrap_or_default();
        let is_sxm =
            |card: &str| name.contains(card) && !["PCIe", "NVL"].iter().any(|it| name.contains(it));
        if ["H100", "H200", "B200"].into_iter().any(is_sxm) {
            nvlink4
        } else if name.contains("SXM") {
            nvlink3
        } else {
            pcie4
        }
    }

    /// The link between machines where none is named: an assumption.
    pub const fn of_network() -> Self {
        let [.., ethernet_100, _, _, _] = LINKS;
        ethernet_100
    }
}

impl fmt::Display for Link {
    /// The name and the bandwidth: `pcie4 (18.6 GiB/s)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.bytes_per_second / Bytes::GIB as f64;
        let speed = if gib < 1.0 {
            format!("{gib:.2} GiB/s")
        } else {
            format!("{gib:.1} GiB/s")
        };
        match self.name {
            Some(name) => write!(f, "{name} ({speed})"),
            None => f.write_str(&speed),
        }
    }
}

/// A text that names no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it takes {}, or a bandwidth such as `20GB/s` in a machine or `25Gb/s` between machines",
    names()
)]
pub struct LinkError;

fn names() -> String {
    let names: Vec<_> = LINKS.iter().filter_map(|link| link.name).collect();
    names.join(", ")
}

impl FromStr for Link {
    type Err = LinkError;

    /// A name in any case, or what a ring reaches: bytes per second of a link inside a machine (`20GB/s`, `20GiB/s`),
    /// or bits per second of a network (`25Gb/s`).
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let is_it = |link: &&Self| link.name.is_some_and(|it| it.eq_ignore_ascii_case(text));
        if let Some(link) = LINKS.iter().find(is_it) {
            return Ok(*link);
        }
        let units = [
            ("GiB/s", Bytes::GIB as f64, false),
            ("MiB/s", Bytes::MIB as f64, false),
            ("GB/s", 1e9, false),
            ("MB/s", 1e6, false),
            ("Gb/s", 1e9 / 8.0, true),
            ("Mb/s", 1e6 / 8.0, true),
        ];
        let given = units.into_iter().find_map(|(unit, bytes, is_network)| {
            let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            Some((number * bytes, is_network))
        });
        match given {
            Some((bytes_per_second, is_network)) if (1e3..1e15).contains(&bytes_per_second) => {
                Ok(Self {
                    name: None,
                    is_network,
                    bytes_per_second,
                    hop_seconds: if is_network { NETWORK_HOP } else { PCIE_HOP },
                })
            }
            _ => Err(LinkError),
        }
    }
}

#[cfg(test)]
mod tests {
    use machine::Hardware;

    use super::*;

    #[test]
    fn links_are_names_or_bandwidths() {
        for link in Link::named() {
            let name = link.name.unwrap();
            assert_eq!(name.to_uppercase().parse(), Ok(*link));
        }
        let shown = |text: &str| {
            text.parse::<Link>()
                .map(|link| (link.to_string(), link.is_network))
        };
        assert_eq!(shown("pcie4"), Ok(("pcie4 (18.6 GiB/s)".to_owned(), false)));
        assert_eq!(shown("20GB/s"), Ok(("18.6 GiB/s".to_owned(), false)));
        assert_eq!(shown("25 Gb/s"), Ok(("2.9 GiB/s".to_owned(), true)));
        for text in [
            "", "nvlink", "20GB", "0GB/s", "-1GB/s", "nanGB/s", "infGB/s", "1e30Gb/s",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cards_that_are_sold_with_nvlink() {
        let with = |wanted: &str| {
            let wanted: Link = wanted.parse().unwrap();
            let cards = Hardware::cards().iter().map(|card| card.name);
            cards
                .filter(|name| Link::of_card(Some(name)) == wanted)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            with("nvlink4"),
            ["NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA B200"]
        );
        assert!(with("nvlink3").iter().all(|name| name.contains("SXM")));
        assert_eq!(Link::of_card(None), "pcie4".parse().unwrap());
        assert_eq!(Link::of_network(), "100gbe".parse().unwrap());
    }
}
