//! What each stage keeps of its forward, in the words of `torch.utils.checkpoint`.

use config::{Block, Keep, RunConfig};
use schedule::{Plan, Recompute};
use serde::Serialize;

/// A stage of the network.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stage {
    /// Its double convolution in the guide's script, such as `downs.0`.
    name: String,
    keep: Keep,
}

/// The stages in the order in which they run: downs, bottleneck, ups.
pub(crate) fn of(config: &RunConfig) -> Vec<Stage> {
    let network = config.network();
    let plan = match Recompute::of(config) {
        Some(Recompute::Plan(plan)) => plan,
        // The guide's script has segments of such blocks.
        Some(Recompute::Segments(_)) => Plan::uniform(&network, Keep::Nothing),
        Some(Recompute::Off) | None => Plan::uniform(&network, Keep::Everything),
    };
    let names = network.blocks().into_iter().filter_map(name);
    names
        .zip(plan.stages)
        .map(|(name, keep)| Stage { name, keep })
        .collect()
}

/// The module of a block's double convolution. The head has none.
fn name(block: Block) -> Option<String> {
    let (Block::Down { conv, .. } | Block::Bottleneck { conv, .. } | Block::Up { conv, .. }) =
        block
    else {
        return None;
    };
    let name = conv.name.strip_suffix(".conv").unwrap_or(&conv.name);
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use config::{CheckpointPolicy, PlanLetters};

    use super::*;

    fn text(config: &RunConfig) -> Vec<String> {
        let line = |stage: &Stage| format!("{} {}", stage.name, stage.keep);
        of(config).iter().map(line).collect()
    }

    #[test]
    fn each_letter_has_its_stage() {
        let plan: PlanLetters = "NNLCENLCE".parse().unwrap();
        let text = text(&RunConfig::default().with_plan(plan.into()));
        assert_eq!(
            text,
            [
                "downs.0 nothing",
                "downs.1 nothing",
                "downs.2 last-conv",
                "downs.3 convs",
                "bottleneck everything",
                "up_convs.0 nothing",
                "up_convs.1 last-conv",
                "up_convs.2 convs",
                "up_convs.3 everything",
            ]
        );
    }

    #[test]
    fn policies_have_stages_too() {
        let with = |policy| text(&RunConfig::default().with_policy(policy));
        let all = |policy, word: &str| with(policy).iter().all(|line| line.contains(word));
        assert!(all(CheckpointPolicy::Off, " everything"));
        assert!(all(CheckpointPolicy::Block, " nothing"));
        assert_eq!(with(CheckpointPolicy::Selective)[0], "downs.0 last-conv");
        assert_eq!(with(CheckpointPolicy::Mixed).len(), 9);
    }
}
