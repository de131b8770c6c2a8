//! A step that runs out of memory is retried, and the run equals a run without the failure.

use config::{ImageSize, Precision, RunConfig};
use tch::Device;
use torch_ext::meter;

use super::tiny::{Comparison, OFF, config_of};
use super::{Finding, OneThread, resume};
use crate::error::Result;
use crate::run::run_data::{Pages, RunData};
use engine::interrupt::Interrupt;
use engine::ladder::{Failure, Ladder, Means, Rung};
use engine::trainer::{Observer, Trainer};

/// An allocation in the middle of the second step's forward pass.
const COUNTDOWN: u32 = 50;

/// Runs on the CPU, where an allocation can be made to fail; without a ladder if `broken`.
pub(super) fn second_try(broken: bool) -> Result<Finding> {
    let _one_thread = OneThread::begin();
    let config = RunConfig {
        img_size: ImageSize::new(64, 96),
        epochs: 1,
        workers: 1,
        ..config_of(OFF, Precision::Fp32)
    };
    let data = RunData::built_in(&config, Pages { train: 6, val: 2 })?;
    let fit = |fails: bool| -> Result<(Trainer, RungWatch)> {
        let mut trainer = Trainer::new(config.clone(), Device::Cpu, Precision::Fp32)?;
        if !broken {
            trainer = trainer.with_ladder(Ladder::new(None, Means::of(Device::Cpu)));
        }
        let mut watch = RungWatch {
            fails,
            rungs: Vec::new(),
        };
        trainer.fit(&data.train, &data.val, &mut watch, &Interrupt::default())?;
        Ok((trainer, watch))
    };
    let (whole, _) = fit(false)?;
    let (failed, watch) = fit(true)?;
    let ended = Comparison::of(&resume::copies(&whole)?, &resume::copies(&failed)?)?;
    let detail = format!(
        "a step ran out of memory, and {} of {} tensors are those of the run without; rungs: {}",
        ended.num_equal,
        ended.num,
        watch.rungs.join(", ")
    );
    Ok(if ended.all_equal() && watch.rungs.len() == 1 {
        Finding::ok(detail)
    } else {
        Finding::fail(detail)
    })
}

/// Makes an allocation fail after the first step.
struct RungWatch {
    fails: bool,
    rungs: Vec<String>,
}

impl Observer for RungWatch {
    fn step_done(&mut self, trainer: &Trainer, _is_last: bool) {
        if self.fails && trainer.steps() == 1 {
            meter::fail_after(Some(COUNTDOWN));
        }
    }

    fn rung_taken(&mut self, _trainer: &Trainer, _failure: &Failure, rung: &Rung) {
        self.rungs.push(rung.to.clone());
    }
}
