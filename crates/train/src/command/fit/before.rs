//! What is looked at before the first step: whether AMP answers as fp32 does, and in a long run whether
//! checkpointing and channels-last pay.

use super::recorder::Recorder;
use crate::command::console;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::precision::Precision;
use crate::run_data::RunData;
use crate::trainer::Trainer;

/// Looks, and says what there is to see.
pub(super) fn look(trainer: &mut Trainer, data: &RunData, recorder: &mut Recorder) -> Result<()> {
    let position = *trainer.position();
    let is_new = position.steps == 0;
    if trainer.precision == Precision::Fp32 && !is_new {
        return Ok(());
    }
    let first = usize::try_from(position.micro_batches).unwrap_or(usize::MAX);
    let group = trainer.config.accumulation.max(1) as usize;
    let batches = data.train.epoch_from(u64::from(position.epoch), first);
    let batches: Vec<Batch> = batches.take(group).collect::<Result<_, _>>()?;
    let Some(batch) = batches.first() else {
        return Ok(());
    };
    match trainer.preflight(batch) {
        Ok(Some(agreement)) => recorder.compared(trainer.precision, &agreement),
        Ok(None) => {}
        Err(Error::Tensor(error)) if error.is_out_of_memory() => {
            console::note("AMP check: left out, there is no memory for fp32");
        }
        Err(error) => return Err(error),
    }
    if is_new {
        let num_steps = trainer.steps_left(data.train.num_batches());
        trainer.warm_up(&batches, num_steps, &mut Trainer::time_of_step, recorder)?;
    }
    Ok(())
}
