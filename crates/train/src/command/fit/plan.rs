//! The plan of a run: the flags that decide it, and the proposal of the advisor.

use advisor::Change;
use clap::Args;
use config::{Precision, RunConfig, SizeArg};
use tch::Device;
use torch_ext::{cuda, meter};

use crate::command::console;
use crate::error::Result;
use crate::run::proposal::{Consent, Limits, ladder, propose};
use crate::run::run_data::RunData;
use engine::device;
use engine::ladder::Ladder;

#[derive(Debug, Args)]
pub(super) struct PlanFlags {
    /// Let the advisor choose the checkpoint policy: the fastest within the free memory
    #[arg(long, conflicts_with_all = ["strict", "force"])]
    auto: bool,
    /// Run exactly as configured, or fail (exit code 3); without this flag the nearest recipe predicted
    /// to fit is run, and every change is reported
    #[arg(long, conflicts_with = "force")]
    strict: bool,
    /// Run as configured even if it is predicted not to fit, or if there is nothing to learn
    #[arg(long)]
    pub(super) force: bool,
    /// Use at most this much memory, such as `2GiB`: a budget for a shared machine; on the CPU it counts
    /// the bytes of tensors, on CUDA what is reserved from the driver besides the context
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_limit: Option<SizeArg>,
}

/// The plan of a run.
pub(super) struct RunPlan {
    pub(super) config: RunConfig,
    pub(super) precision: Precision,
    pub(super) data: RunData,
    /// The changes to the requested configuration.
    pub(super) changes: Vec<Change>,
    /// The ladder for failed steps; `None` with `--strict`.
    pub(super) ladder: Option<Ladder>,
}

impl PlanFlags {
    /// As with `--auto`, unless another flag forbids it.
    pub(super) const fn let_advisor_choose(&mut self) {
        self.auto = !self.strict && !self.force;
    }

    /// Bytes that the run may use, if they are limited.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.memory_limit.as_ref().map(|limit| limit.bytes.0)
    }

    /// Sets the limit on a GPU, which must be in effect before the first tensor exists.
    pub(super) fn limit_gpu(&self, device: Device) -> Result<()> {
        let (Some(limit), Device::Cuda(n)) = (&self.memory_limit, device) else {
            return Ok(());
        };
        if !cuda::set_limit(n, limit.bytes.0)? {
            console::note(
                "`--memory-limit`: set, and not tried out: less than that is free on the GPU",
            );
        }
        Ok(())
    }

    /// Decides what to run within `limits`, given the request, and sets the limit on the CPU. A run that `is_resumed`
    /// continues unchanged.
    pub(super) fn decide(
        &self,
        asked: RunConfig,
        device: Device,
        precision: Precision,
        data: RunData,
        limits: Limits,
        is_resumed: bool,
    ) -> Result<RunPlan> {
        if let Some(note) = self.memory_limit.as_ref().and_then(|l| l.note.as_ref()) {
            console::note(note);
        }
        let images = data.images(limits.ranks);
        let (batch, use_amp) = (asked.batch, asked.use_amp);
        // A resumed run continues unchanged; the ladder handles circumstances that have changed.
        let consent = if is_resumed {
            Consent::Force
        } else {
            self.consent()
        };
        let proposal = propose(asked, device, images, limits, consent)?;
        proposal.notes.iter().for_each(|line| console::note(line));
        let config = proposal.config;
        if let Some(bytes) = self.memory_limit().filter(|_| !device.is_cuda()) {
            meter::set_limit(Some(bytes));
        }
        let precision = if config.use_amp == use_amp {
            precision
        } else {
            config.precision_on(device::processor(device).arithmetic())
        };
        Ok(RunPlan {
            ladder: (self.consent() != Consent::Strict)
                .then(|| ladder(&config, device, images, limits)),
            precision,
            data: if config.batch == batch {
                data
            } else {
                data.in_batches(&config)?
            },
            config,
            changes: proposal.changes,
        })
    }

    const fn consent(&self) -> Consent {
        match (self.auto, self.strict, self.force) {
            (true, ..) => Consent::Auto,
            (_, true, _) => Consent::Strict,
            (_, _, true) => Consent::Force,
            _ => Consent::Adapt,
        }
    }
}
