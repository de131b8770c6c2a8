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
    action: Action,
}

/// What a script does with a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    /// Calls it.
    Keep,
    /// Calls it in a checkpoint that keeps outputs of convolutions.
    Selective,
    /// Calls it in a checkpoint.
    Checkpoint,
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
        .map(|(name, keep)| Stage {
            name,
            keep,
            action: Action::of(keep),
        })
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

impl Action {
    const fn of(keep: Keep) -> Self {
        match keep {
            Keep::Everything => Self::Keep,
            Keep::Convs | Keep::LastConv => Self::Selective,
            Keep::Nothing => Self::Checkpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use config::{CheckpointPolicy, PlanLetters};

    use super::*;

    fn text(config: &RunConfig) -> Vec<String> {
        let line = |stage: &Stage| format!("{} {} {:?}", stage.name, stage.keep, stage.action);
        of(config).iter().map(line).collect()
    }

    #[test]
    fn each_letter_has_its_stage() {
        let plan: PlanLetters = "NNLCENLCE".parse().unwrap();
        let text = text(&RunConfig::default().with_plan(plan.into()));
        assert_eq!(
            text,
            [
                "downs.0 nothing Checkpoint",
                "downs.1 nothing Checkpoint",
                "downs.2 last-conv Selective",
                "downs.3 convs Selective",
                "bottleneck everything Keep",
                "up_convs.0 nothing Checkpoint",
                "up_convs.1 last-conv Selective",
                "up_convs.2 convs Selective",
                "up_convs.3 everything Keep",
            ]
        );
    }

    #[test]
    fn policies_have_stages_too() {
        let with = |policy| text(&RunConfig::default().with_policy(policy));
        let all = |policy, word: &str| with(policy).iter().all(|line| line.contains(word));
        assert!(all(CheckpointPolicy::Off, " Keep"));
        assert!(all(CheckpointPolicy::Block, " Checkpoint"));
        assert!(all(CheckpointPolicy::Selective, " Selective"));
        assert_eq!(
            with(CheckpointPolicy::Selective)[0],
            "downs.0 last-conv Selective"
        );
        assert_eq!(with(CheckpointPolicy::Mixed).len(), 9);
    }
}
