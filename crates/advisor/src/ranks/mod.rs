//! Several equal GPUs that train together: what each of them runs, and what all of them reach.

mod text;

use config::RunConfig;
use estimator::{EstimateError, Exchange, Forecast, Link, Ranks};
use machine::Device;

use crate::changes::changes;
use crate::fit::Fit;
use crate::recommend::{Advice, AdviceError, advise, statistics};
use crate::request::Request;
use crate::target::Target;

pub use text::{to_json, to_text};

/// The most GPUs of a machine where nothing else is said.
const PER_MACHINE: u32 = 8;

/// What a person says about the GPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpus {
    /// The number of all of them, at least 1.
    pub num: u32,
    /// The number in each machine.
    pub per_machine: Option<u32>,
    /// At most one link inside a machine and one between machines.
    pub links: Vec<Link>,
}

/// GPUs that train together, and what summing the gradients of a network takes there.
#[derive(Clone, Debug, PartialEq)]
pub struct Together {
    /// The ranks.
    pub ranks: Ranks,
    /// What they do once a step.
    pub exchange: Exchange,
    /// Whether the link inside a machine, and the one between machines, were not named.
    is_assumed: (bool, bool),
}

/// The predicted speed of all ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speeds {
    /// Seconds of a step with everything.
    pub step_seconds: f64,
    /// Images per second of all ranks.
    pub images_per_second: f64,
    /// The share of the speed that as many GPUs reach that need not wait for each other.
    pub efficiency: f64,
    /// An upper bound on the same, if gradients travelled during backward.
    pub overlapped_efficiency: f64,
}

impl Gpus {
    /// The ranks on a device, and whether their links are assumed.
    fn ranks(&self, device: &Device) -> Result<(Ranks, (bool, bool)), AdviceError> {
        if matches!(device, Device::Cpu { .. }) {
            return Err(AdviceError::GpusOfCpu);
        }
        let (networks, inside): (Vec<&Link>, Vec<&Link>) =
            self.links.iter().partition(|link| link.is_network);
        if networks.len() > 1 || inside.len() > 1 {
            return Err(AdviceError::Links);
        }
        // Only a network: a machine for each GPU.
        let is_spread = inside.is_empty() && !networks.is_empty();
        let most = if is_spread { 1 } else { PER_MACHINE };
        let per_machine = self.per_machine.unwrap_or(most).min(self.num);
        if !self.num.is_multiple_of(per_machine) {
            return Err(AdviceError::Uneven {
                gpus: self.num,
                per_machine,
            });
        }
        let ranks = Ranks {
            num: self.num,
            per_machine,
            inside: inside
                .first()
                .map_or_else(|| Link::of_card(device.name().as_deref()), |link| **link),
            between: networks
                .first()
                .map_or_else(Link::of_network, |link| **link),
        };
        Ok((ranks, (inside.is_empty(), networks.is_empty())))
    }

    /// What the steps of a configuration's network exchange on a device.
    ///
    /// # Errors
    /// [`AdviceError`] if the device is a CPU, or the GPUs do not fill machines.
    pub fn together(&self, device: &Device, config: &RunConfig) -> Result<Together, AdviceError> {
        let (ranks, is_assumed) = self.ranks(device)?;
        let exchange = ranks.exchange(&config.network())?;
        Ok(Together {
            ranks,
            exchange,
            is_assumed,
        })
    }
}

impl Together {
    /// The device of one rank, which leaves room for what it needs besides its step.
    #[must_use]
    pub fn room_on(&self, target: &Target) -> Target {
        let budget = target.budget().filter(|_| self.ranks.num > 1);
        budget.map_or_else(
            || target.clone(),
            |budget| {
                let left = budget.0.saturating_sub(self.exchange.memory().0);
                target.clone().with_budget(config::Bytes(left))
            },
        )
    }

    /// A rank's part of a step. Every rank takes at least one micro-batch, and all take equally many.
    #[must_use]
    pub fn part(&self, config: &RunConfig) -> RunConfig {
        let accumulation = config.accumulation.div_ceil(self.ranks.num);
        RunConfig {
            accumulation,
            ..config.clone()
        }
    }

    /// What to run, so that each rank gets the part `each`.
    #[must_use]
    pub fn whole(&self, each: &RunConfig) -> RunConfig {
        let accumulation = each.accumulation.saturating_mul(self.ranks.num);
        RunConfig {
            accumulation,
            ..each.clone()
        }
    }

    /// What starts the ranks.
    pub(crate) fn program(&self) -> String {
        let Ranks {
            num, per_machine, ..
        } = self.ranks;
        match self.ranks.num_machines() {
            _ if num == 1 => crate::line::PROGRAM.to_owned(),
            1 => format!("snug train --nproc {num}"),
            machines => format!(
                "torchrun --no-python --nnodes {machines} --nproc-per-node {per_machine} --rdzv-backend c10d \
                 --rdzv-endpoint HOST:29500 snug train"
            ),
        }
    }

    /// The speed of all ranks, if each takes its part as predicted.
    pub fn speeds(&self, each: &RunConfig, prediction: &Forecast) -> Speeds {
        let alone = prediction.step_seconds;
        let step_seconds = self.exchange.step_seconds(alone);
        let efficiency = alone / step_seconds;
        Speeds {
            step_seconds,
            images_per_second: prediction.images_per_second
                * f64::from(self.ranks.num)
                * efficiency,
            efficiency,
            overlapped_efficiency: alone
                / self.exchange.overlapped_seconds(alone, each.accumulation),
        }
    }
}

/// Proposes a recipe for each of several GPUs. The `target` that the advice is for comes with it: it leaves room for what a
/// rank needs besides its step. For one GPU it is [`advise`].
///
/// # Errors
/// As [`advise`], and as [`Gpus::together`]; also if a batch that was asked for cannot be divided.
pub fn advise_together(
    device: &Device,
    target: &Target,
    request: &Request,
    gpus: &Gpus,
) -> Result<(Advice, Target), AdviceError> {
    let each = divided(request, gpus.num)?;
    let mut advice = advise(device, target, &each)?;
    let together = gpus.together(device, &advice.guide.config)?;
    let target = together.room_on(target);
    if gpus.num > 1 {
        advice = advise(device, &target, &each)?;
        let is_divided = request.target_batch.is_some();
        share(&mut advice, &target, &together, is_divided)?;
    }
    advice.together = Some(together);
    Ok((advice, target))
}

fn divided(request: &Request, num: u32) -> Result<Request, AdviceError> {
    let target_batch = match request.target_batch {
        Some(batch) if !batch.is_multiple_of(num) => {
            return Err(AdviceError::Batch { batch, gpus: num });
        }
        batch => batch.map(|batch| batch / num),
    };
    Ok(Request {
        target_batch,
        ..*request
    })
}

/// Gives each rank its part of the micro-batches of each recipe, unless the recipes are for a part already.
fn share(
    advice: &mut Advice,
    target: &Target,
    together: &Together,
    is_divided: bool,
) -> Result<(), EstimateError> {
    let others = advice.alternatives.iter_mut().map(|other| &mut other.fit);
    let before = advice
        .recommended
        .as_ref()
        .and_then(|fit| statistics(&fit.config));
    for fit in advice.recommended.iter_mut().chain(others) {
        let part = together.part(&fit.config);
        if is_divided || part == fit.config {
            continue;
        }
        if let Some(prediction) = target.predict(&part)? {
            *fit = Fit {
                config: part,
                prediction,
            };
        }
    }
    if let Some(fit) = &advice.recommended {
        advice.changes = changes(target, &advice.guide.config, &advice.guide.prediction, fit)?;
        advice
            .warnings
            .retain(|warning| Some(warning) != before.as_ref());
        advice
            .warnings
            .extend(statistics(&together.whole(&fit.config)));
    }
    Ok(())
}
