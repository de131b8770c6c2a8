//! The flags that say how many GPUs train together, and what connects them.

use crate::ranks::Gpus;
use estimator::Link;

#[derive(Debug, clap::Args)]
pub(super) struct RanksArgs {
    /// For this many equal GPUs that train together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    gpus: Option<u32>,
    /// What connects them: nvlink4, nvlink3, pcie5, pcie4 or pcie3 inside a machine, 400GbIB, 100GbE, 25GbE,
    /// 10GbE or 1GbE between machines, a bandwidth (`20GB/s` inside, `25Gb/s` between), or one of each,
    /// separated by a comma
    #[arg(long, value_name = "LINK", value_delimiter = ',', requires = "gpus")]
    link: Vec<Link>,
    /// GPUs in each machine (8, or 1 if `--link` names only what connects machines)
    #[arg(long, value_name = "N", requires = "gpus", value_parser = clap::value_parser!(u32).range(1..=64))]
    per_machine: Option<u32>,
}

impl RanksArgs {
    /// The GPUs, if there is a word about them.
    pub(super) fn gpus(&self) -> Option<Gpus> {
        let num = self.gpus?;
        Some(Gpus {
            num,
            per_machine: self.per_machine,
            links: self.link.clone(),
        })
    }
}
