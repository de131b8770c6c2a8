//! Ranks in the pods of Kubernetes, and variables that were set by hand: without `LOCAL_RANK`, a pod is one rank.

use super::variables::{Launcher, Variables};
use super::{Address, Launch};
use crate::error::{Error, Result};

/// How many ranks torchrun would start in each pod: a number, or a word such as `auto`.
const RANKS_OF_POD: &str = "PET_NPROC_PER_NODE";

/// The rank of this process.
pub(super) fn launch(variables: &Variables<'_>) -> Result<Launch> {
    let store = variables.address()?;
    let local_rank = match variables.launcher {
        Launcher::TrainJob => None,
        _ => variables.number("LOCAL_RANK")?,
    };
    let of_pod = variables.text(RANKS_OF_POD);
    let of_pod = of_pod.and_then(|it| it.parse().ok()).unwrap_or(1);
    let Some(local_rank) = local_rank else {
        // In that case `RANK` numbers the pods, while `WORLD_SIZE` counts processes, and nothing starts the others.
        if of_pod > 1 {
            return Err(Error::PodOfSeveral {
                launcher: variables.launcher,
                num: of_pod,
            });
        }
        let alone = variables.rank_with(0, 1, store)?;
        return Ok(if is_loopback(&alone.store) && is_one_of_many(&alone) {
            all_here(alone)
        } else {
            alone
        });
    };
    let local_size = match variables.number("LOCAL_WORLD_SIZE")? {
        None if is_loopback(&store) => variables.size()?,
        None => variables.needed_number("LOCAL_WORLD_SIZE")?,
        Some(size) => size,
    };
    variables.rank_with(local_rank, local_size, store)
}

/// Whether the loopback device says that all ranks are here. Rank 0 of a `PyTorchJob` has it as its own address.
fn is_one_of_many(launch: &Launch) -> bool {
    launch.launcher == Launcher::Hand || launch.shard.rank() > 0
}

/// The rank on a machine that has them all.
fn all_here(launch: Launch) -> Launch {
    Launch {
        local_rank: launch.shard.rank(),
        local_size: launch.shard.size(),
        ..launch
    }
}

fn is_loopback(address: &Address) -> bool {
    matches!(address.host.as_str(), "localhost" | "127.0.0.1" | "::1")
}
