//! A rung in a form that travels: rank 0 chooses, and all ranks take it.

use config::{Precision, RunConfig};
use serde::{Deserialize, Serialize};

use super::{Rung, StepRecipe};
use crate::error::{Error, Result};

/// A [`Rung`] as text and numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChosenRung {
    config: String,
    precision: Precision,
    micro_batch: u32,
    scale: Option<f64>,
    from: String,
    to: String,
    is_bit_exact: bool,
}

impl From<Rung> for ChosenRung {
    fn from(rung: Rung) -> Self {
        Self {
            config: rung.recipe.config.to_toml(),
            precision: rung.recipe.precision,
            micro_batch: rung.recipe.micro_batch,
            scale: rung.scale,
            from: rung.from,
            to: rung.to,
            is_bit_exact: rung.is_bit_exact,
        }
    }
}

impl TryFrom<ChosenRung> for Rung {
    type Error = Error;

    fn try_from(chosen: ChosenRung) -> Result<Self> {
        Ok(Self {
            recipe: StepRecipe {
                config: RunConfig::from_toml(&chosen.config).map_err(Error::told)?,
                precision: chosen.precision,
                micro_batch: chosen.micro_batch,
            },
            scale: chosen.scale,
            from: chosen.from,
            to: chosen.to,
            is_bit_exact: chosen.is_bit_exact,
        })
    }
}

impl StepRecipe {
    /// [`ranks::fingerprint`] of the recipe.
    pub(crate) fn fingerprint(&self) -> u64 {
        let text = format!(
            "{}{}{}",
            self.config.to_toml(),
            self.precision.as_str(),
            self.micro_batch
        );
        ranks::fingerprint(text.as_bytes())
    }
}
