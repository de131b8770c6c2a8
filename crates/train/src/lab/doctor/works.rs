//! The checks of what works: their names, their order, and which of them this build and this
//! machine can run.

use config::{CheckpointPolicy, Precision, RunConfig};
use machine::is_stand_in;
use tch::Device;
use torch_ext::cuda;

use super::tiny::{OFF, Policy, SELECTIVE, config_of};
use super::{
    Finding, Trial, failures, files, graph, ladder, memory, optimizer, policies, resume, techniques,
};
use crate::error::Result;
use engine::{compose, device};

const PRECISIONS: [Precision; 3] = [Precision::Fp32, Precision::Bf16, Precision::Fp16];

/// One check.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Amp(Precision),
    Policy(Policy, Precision),
    Peak(Precision),
    ChannelsLast(Precision),
    Scaler,
    Optimizer,
    /// Every allocation of a step is made to fail once, on the CPU.
    OutOfMemory(Policy),
    CudaOutOfMemory,
    /// Tensor bytes on the CPU.
    Meter,
    CudaMemory,
    Graph,
    Prediction,
    Data,
    Weights,
    Ladder,
    Resume,
}

impl What {
    /// All checks, in the order of the report.
    pub(super) fn all() -> Vec<Self> {
        let each = |what: fn(Precision) -> Self| PRECISIONS.into_iter().map(what);
        let on_each_precision = |policy| PRECISIONS.map(|p| Self::Policy(policy, p));
        let failing = [OFF, SELECTIVE, Policy::of(CheckpointPolicy::Block)];
        let mut all: Vec<Self> = each(Self::Amp).skip(1).collect();
        all.extend(Policy::all().flat_map(on_each_precision));
        all.extend(each(Self::Peak));
        all.extend(each(Self::ChannelsLast));
        all.extend([Self::Scaler, Self::Optimizer]);
        all.extend(failing.map(Self::OutOfMemory));
        all.extend([
            Self::CudaOutOfMemory,
            Self::Meter,
            Self::CudaMemory,
            Self::Graph,
            Self::Data,
            Self::Weights,
            Self::Prediction,
            Self::Ladder,
            Self::Resume,
        ]);
        all
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Amp(precision) => format!("amp-{precision}"),
            Self::Policy(policy, precision) => {
                format!("policy-{policy}-{precision}")
            }
            Self::Peak(precision) => format!("peak-{precision}"),
            Self::ChannelsLast(precision) => format!("channels-last-{precision}"),
            Self::Scaler => "scaler".to_owned(),
            Self::Optimizer => "optimizer".to_owned(),
            Self::OutOfMemory(policy) => format!("out-of-memory-{policy}"),
            Self::CudaOutOfMemory => "cuda-out-of-memory".to_owned(),
            Self::Meter => "memory-meter".to_owned(),
            Self::CudaMemory => "cuda-memory".to_owned(),
            Self::Graph => "cuda-graph".to_owned(),
            Self::Prediction => "memory-prediction".to_owned(),
            Self::Data => "data".to_owned(),
            Self::Weights => "weights".to_owned(),
            Self::Resume => "resume".to_owned(),
            Self::Ladder => "fallback-ladder".to_owned(),
        }
    }

    fn precision(self) -> Precision {
        match self {
            Self::Amp(p) | Self::Policy(_, p) | Self::Peak(p) | Self::ChannelsLast(p) => p,
            _ => Precision::Fp32,
        }
    }

    /// Whether the check compares values, which a stand-in for a GPU does not compute.
    fn compares_values(self) -> bool {
        matches!(
            self,
            Self::Amp(_)
                | Self::Policy(..)
                | Self::Scaler
                | Self::Optimizer
                | Self::Graph
                | Self::Weights
                | Self::Resume
        )
    }

    fn wants_gpu(self) -> bool {
        matches!(self, Self::CudaOutOfMemory | Self::CudaMemory | Self::Graph)
            || self.precision() == Precision::Fp16
    }

    /// A configuration with the requirements of this check.
    fn needs(self) -> RunConfig {
        let policy = match self {
            Self::Policy(policy, _) | Self::OutOfMemory(policy) => policy,
            Self::Peak(_) => SELECTIVE,
            _ => OFF,
        };
        let mut needs = config_of(policy, self.precision());
        needs.use_amp |= matches!(self, Self::Scaler);
        needs.use_channels_last = matches!(
            self,
            Self::ChannelsLast(_) | Self::Optimizer | Self::Prediction
        );
        needs
    }
}

impl Trial {
    pub(super) fn on(device: Device) -> Self {
        let bf16 = device::processor(device).multiplies_bf16();
        Self {
            device,
            any_gpu: cuda::is_available(),
            is_stand_in: is_stand_in(&device::name(device)),
            bf16,
        }
    }

    /// Why a check cannot run here, if it cannot.
    pub(super) fn skip(&self, what: What) -> Option<Finding> {
        if what.wants_gpu() && !self.device.is_cuda() {
            return Some(if self.any_gpu {
                Finding::skipped("the device is the CPU").hinted("`--device cuda` checks the GPU")
            } else {
                Finding::skipped("no GPU")
            });
        }
        if self.is_stand_in && what.compares_values() {
            return Some(Finding::skipped("this stand-in for a GPU computes nothing"));
        }
        if let Some(feature) = compose::missing_feature(&what.needs()) {
            return Some(
                Finding::skipped(format!("built without `{feature}`")).hinted(format!(
                    "rebuild with `cargo build -p train --features full`, or add `{feature}` to \
                     `--features`"
                )),
            );
        }
        if what.precision() == Precision::Bf16 && !self.bf16 {
            return Some(Finding::skipped(if self.device.is_cuda() {
                "this GPU does not multiply bf16"
            } else {
                "this CPU has neither AVX512-BF16 nor AMX"
            }));
        }
        None
    }

    /// Runs a check; if `broken`, with its subject broken.
    ///
    /// # Errors
    /// The errors of the check itself.
    pub(super) fn run(&self, what: What, broken: bool) -> Result<Finding> {
        match what {
            What::Amp(precision) => techniques::amp(self.device, precision, broken),
            What::ChannelsLast(precision) => {
                techniques::channels_last(self.device, precision, broken)
            }
            What::Policy(policy, precision) => {
                policies::equal(self.device, policy, precision, broken)
            }
            What::Peak(precision) => policies::peak(self.device, precision, broken),
            What::Scaler => optimizer::scaler(self.device, broken),
            What::Optimizer => optimizer::formats(self.device, broken),
            What::OutOfMemory(policy) => failures::every_allocation(policy, broken),
            What::CudaOutOfMemory => failures::cuda(self.device, broken),
            What::Meter => memory::meter(broken),
            What::CudaMemory => memory::cuda(self.device, broken),
            What::Graph => graph::equal(self.device, broken),
            What::Prediction => memory::prediction(broken),
            What::Data => files::data(broken),
            What::Weights => files::weights(self.device, broken),
            What::Resume => resume::exact(self.device, broken),
            What::Ladder => ladder::second_try(broken),
        }
    }
}
