//! Chooses the guide's recommendation for a size of memory.

use config::{ConfigError, Overrides, RunConfig, resolve};
use estimator::{Bytes, StaticBytes};

use crate::device::Device;
use crate::guide::{EXAMPLES, Recipe, SPEED, TABLE};

/// A recommendation and where in the guide it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The whole configuration.
    pub config: RunConfig,
    /// The line that starts it.
    pub command: String,
    /// Which part of the guide says so, as a noun.
    pub from: String,
    /// What speaks against it, in sentences.
    pub warnings: Vec<String>,
    /// Other recipes of the guide for such a card, as lines to copy.
    pub alternatives: Vec<Alternative>,
}

/// Another recipe of the guide.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// The whole configuration.
    pub config: RunConfig,
    /// The line that starts it.
    pub command: String,
    /// When the guide takes it, as a fragment.
    pub when: &'static str,
}

/// The guide speaks of cards in GB, and a card sold as 8 GB has somewhat less
/// than 8 GiB free: 10^9 bytes each makes the class that the guide means.
const GB: u64 = 1_000_000_000;

/// Room beside the simulated tensor bytes for what they leave out: CUDA context
/// (290 to 430 MB), workspaces, rounding. A rough allowance, not calibrated.
const MARGIN: Bytes = Bytes(Bytes::GIB);

fn has_room(simulated: Bytes, memory: Bytes) -> bool {
    simulated
        .checked_add(MARGIN)
        .is_some_and(|needed| needed <= memory)
}

/// What the guide recommends for a device.
///
/// # Errors
///
/// None as long as the presets that are compiled in are valid.
pub fn advise(device: &Device) -> Result<Advice, ConfigError> {
    let memory = device.memory();
    let (preset, recipe, from) = choose(memory);
    let (config, command) = proposal(preset, recipe)?;
    let warnings = memory
        .map(|memory| warnings(memory, &config, recipe))
        .unwrap_or_default();
    let alternatives = alternatives(memory)?;
    Ok(Advice {
        config,
        command,
        from,
        warnings,
        alternatives,
    })
}

/// The preset to start from, the recipe where it differs, and its source.
fn choose(memory: Option<Bytes>) -> (&'static str, Option<Recipe>, String) {
    let Some(memory) = memory else {
        let from = "the guide's first preset; it gives none for the CPU".to_owned();
        return ("best-balance", None, from);
    };
    let example = EXAMPLES
        .iter()
        .find(|example| example.recommended && memory.0 >= u64::from(example.card_gb) * GB);
    if let Some(example) = example {
        let from = format!("the guide's example for a card of {} GB", example.card_gb);
        let preset = if example.recipe.use_grad_checkpoint {
            "max-memory"
        } else {
            "best-balance"
        };
        return (preset, Some(example.recipe), from);
    }
    // Below the examples the row for the smallest card: the rows for 4 and 6 GB
    // ask for more than the example for 8 GB does.
    let row = &TABLE[3];
    let from = if memory.0 >= u64::from(row.card_gb) * GB {
        format!(
            "the row of the guide's table for {} GB or more",
            row.card_gb
        )
    } else {
        format!(
            "the guide's smallest row, meant for {} GB or more",
            row.card_gb
        )
    };
    ("max-memory", Some(row.recipe), from)
}

/// The configuration of a recipe over a preset, and the line that starts it.
fn proposal(
    preset: &'static str,
    recipe: Option<Recipe>,
) -> Result<(RunConfig, String), ConfigError> {
    let base = resolve(Some(preset), None, Overrides::default())?.config;
    let mut command = format!("cargo xtask train --preset {preset}");
    let Some(recipe) = recipe else {
        return Ok((base, command));
    };
    let flags = Overrides {
        img_size: Some(recipe.img_size),
        batch: Some(recipe.batch),
        use_amp: Some(recipe.use_amp),
        use_grad_checkpoint: Some(recipe.use_grad_checkpoint),
        use_channels_last: Some(recipe.use_channels_last),
        ..Overrides::default()
    };
    let config = resolve(Some(preset), None, flags)?.config;
    if config.img_size != base.img_size {
        command = format!("{command} --img-size {}", config.img_size);
    }
    if config.batch != base.batch {
        command = format!("{command} --batch {}", config.batch);
    }
    Ok((config, command))
}

fn warnings(memory: Bytes, config: &RunConfig, recipe: Option<Recipe>) -> Vec<String> {
    let mut all = Vec::new();
    let simulated = recipe.and_then(|recipe| recipe.simulated());
    if let Some(simulated) = simulated.filter(|simulated| !has_room(*simulated, memory)) {
        all.push(format!(
            "this recipe was simulated at {simulated} of tensors at width 64, to which CUDA \
             context and workspaces come; with {memory} expect to need a smaller `--batch` or \
             `--width`"
        ));
    }
    // The least that a step holds: weights and optimizer state.
    let least = StaticBytes::of(&config.network())
        .ok()
        .and_then(|bytes| bytes.parameters.checked_add(bytes.optimizer))
        .filter(|least| *least > memory);
    if let Some(least) = least {
        all.push(format!(
            "at width {} weights and `AdamW` state alone take {least}: nothing fits at that width",
            config.width
        ));
    }
    all
}

fn alternatives(memory: Option<Bytes>) -> Result<Vec<Alternative>, ConfigError> {
    let mut all = Vec::new();
    let Some(memory) = memory else {
        return Ok(all);
    };
    if memory.0 >= u64::from(EXAMPLES[1].card_gb) * GB {
        let (config, command) = proposal("max-memory", Some(EXAMPLES[1].recipe))?;
        let when = "for the largest batch, at the price of time";
        all.push(Alternative {
            config,
            command,
            when,
        });
    }
    if SPEED
        .simulated()
        .is_some_and(|simulated| has_room(simulated, memory))
    {
        let (config, command) = proposal("speed", Some(SPEED))?;
        let when = "when memory is left over (AMP is faster still on tensor cores)";
        all.push(Alternative {
            config,
            command,
            when,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(memory: u64) -> String {
        advise(&Device::Given {
            memory: Bytes(memory),
        })
        .unwrap()
        .command
    }

    #[test]
    fn classes_of_cards() {
        let small = "cargo xtask train --preset max-memory --img-size 512x512 --batch 8";
        let eight = "cargo xtask train --preset max-memory --batch 10";
        let twelve = "cargo xtask train --preset best-balance";
        for (memory, expected) in [
            (1, small),
            (6 * Bytes::GIB, small),
            (8 * GB - 1, small),
            (8 * GB, eight),
            (8 * Bytes::GIB, eight),
            (12 * GB - 1, eight),
            (12 * Bytes::GIB, twelve),
            (24 * Bytes::GIB, twelve),
            (u64::MAX, twelve),
        ] {
            assert_eq!(command(memory), expected, "{memory}");
        }
    }

    #[test]
    fn what_is_known_not_to_fit_is_said() {
        let count = |memory| {
            advise(&Device::Given {
                memory: Bytes(memory),
            })
            .unwrap()
            .warnings
            .len()
        };
        assert_eq!(count(6 * Bytes::GIB), 0);
        assert_eq!(count(4 * Bytes::GIB), 1);
        assert_eq!(count(Bytes::GIB / 4), 2);
        assert_eq!(count(12 * Bytes::GIB), 0);
        assert_eq!(count(5 * Bytes::GIB), 1);
    }

    #[test]
    fn every_line_gives_its_configuration() {
        for memory in [1, 8 * GB, 12 * GB, 24 * GB] {
            let advice = advise(&Device::Given {
                memory: Bytes(memory),
            })
            .unwrap();
            let lines = advice.alternatives.iter().map(|a| (&a.command, &a.config));
            for (command, config) in lines.chain([(&advice.command, &advice.config)]) {
                assert_eq!(&read(command), config, "{command}");
            }
        }
    }

    /// The configuration that a line asks for.
    fn read(command: &str) -> RunConfig {
        let words: Vec<_> = command.split(' ').collect();
        let value = |flag| {
            words
                .iter()
                .position(|word| *word == flag)
                .map(|at| words[at + 1])
        };
        let flags = Overrides {
            img_size: value("--img-size").map(|text| text.parse().unwrap()),
            batch: value("--batch").map(|text| text.parse().unwrap()),
            ..Overrides::default()
        };
        resolve(value("--preset"), None, flags).unwrap().config
    }
}
