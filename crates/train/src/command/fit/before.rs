//! Checks before the first step: whether AMP agrees with fp32, and in a long run whether checkpointing
//! and channels-last pay off.

use super::recorder::Recorder;
use crate::command::console;
use crate::error::Result;
use crate::run::run_data::RunData;
use data::Batch;
use engine::interrupt::Interrupt;
use engine::trainer::Trainer;

/// Runs the checks and reports their results.
pub(super) fn look(
    trainer: &mut Trainer,
    data: &RunData,
    recorder: &mut Recorder,
    interrupt: &Interrupt,
) -> Result<()> {
    let position = *trainer.position();
    let num_steps = trainer.steps_left(data.train.num_batches());
    let is_timed = position.steps == 0 && trainer.may_warm_up(num_steps);
    if !trainer.learner.precision.is_half() && !is_timed {
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
        Ok(Some(agreement)) => recorder.compared(trainer.learner.precision, &agreement),
        Ok(None) => {}
        Err(error) if error.is_out_of_memory() => {
            console::note("AMP check: left out, there is no memory for fp32");
        }
        Err(error) => return Err(error.into()),
    }
    if is_timed {
        let mut num_tries = 0;
        let mut clock = |trainer: &mut Trainer, batches: &[Batch]| {
            if interrupt.requested() {
                let step = trainer.steps();
                return Err(engine::Error::Interrupted { step });
            }
            num_tries += 1;
            // One try is enough to see that a run is short.
            if num_tries == 2 {
                console::note("timing steps with and without checkpointing and channels-last");
            }
            trainer.time_of_step(batches)
        };
        trainer.warm_up(&batches, num_steps, &mut clock, recorder)?;
        recorder.write_config(trainer)?;
    }
    Ok(())
}
