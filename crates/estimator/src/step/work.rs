//! The operations and the bytes of each step operation: the two numbers of a roofline model.

use schedule::{Alive, Half, Nth, Op, Plan, Segment, Statistics, Target, Value, Visitor, visit};

use super::kernels::Machine;
use super::sizes::{ConvSize, Sizes};
use crate::EstimateError;
use crate::time::Speed;

/// The work of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Multiplications and additions of convolutions.
    pub(crate) flops: f64,
    /// Bytes read and written; each pass over a tensor counts.
    pub(crate) bytes: f64,
    /// Kernels that it launches.
    pub(crate) kernels: f64,
}

/// Channels that matrix units (in half precision) or vectors (in fp32) process at a time; fewer
/// channels are padded.
const PADDED: u64 = 8;

impl Work {
    /// The work of passes over a tensor.
    pub(crate) fn passes(bytes: u64, passes: f64, kernels: f64) -> Self {
        Self {
            flops: 0.0,
            bytes: bytes as f64 * passes,
            kernels,
        }
    }

    /// The work of a convolution, for the forward or for either gradient.
    fn conv(conv: &ConvSize) -> Self {
        let padded = |channels: u64| channels.div_ceil(PADDED).saturating_mul(PADDED) as f64;
        let pixels = conv.batch as f64 * conv.height as f64 * conv.width as f64;
        let small = (conv.stride * conv.stride) as f64;
        // If the stride equals the kernel size, each pixel of the larger image sees one tap.
        let taps = conv.taps as f64 / small;
        let maps = pixels * (conv.inputs as f64 / small + conv.outputs as f64);
        Self {
            flops: 2.0 * pixels * taps * padded(conv.inputs) * padded(conv.outputs),
            bytes: maps * conv.element_bytes() as f64 + conv.weight_bytes() as f64,
            kernels: 1.0,
        }
    }

    #[must_use]
    fn and(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
            kernels: self.kernels + other.kernels,
        }
    }
}

/// The activation that an operation must rebuild unless it is alive.
pub(super) const fn asks_for(sizes: &Sizes, op: Op) -> Option<Value> {
    match op {
        Op::Pool(s) | Op::PoolBackward(s) => Some(Value::Act(s - 1, Nth::Second)),
        Op::Concat(s) | Op::ConcatSkip(s) => Some(Value::Act(sizes.skip_of(s), Nth::Second)),
        Op::NormBackward { stage, nth, .. } => Some(Value::Act(stage, nth)),
        _ => None,
    }
}

/// Counts the work of a step's operations on a machine.
#[derive(Clone, Copy)]
pub(super) struct Costs<'a> {
    sizes: &'a Sizes,
    /// Whether batch norm, ReLU and pooling are our own kernels.
    fused: bool,
}

impl<'a> Costs<'a> {
    pub(super) const fn new(sizes: &'a Sizes, machine: Machine) -> Self {
        Self {
            sizes,
            fused: machine.is_fused(),
        }
    }

    /// The work of a schedule's operation.
    pub(super) fn work(self, op: Op, alive: &Alive) -> Work {
        let sizes = self.sizes;
        let rebuilds = !self.fused && asks_for(sizes, op).is_some_and(|act| !alive.contains(act));
        let map = |stage| sizes.output_map(stage);
        // The map is read once; the rebuilt parts stay in a cache until they are read. Our kernels read the convolution
        // in place of the activation.
        let rebuild = |stage| Work::passes(if rebuilds { map(stage) } else { 0 }, 1.0, 2.0);
        match op {
            Op::Conv(s, n) | Op::ConvWeight(s, n) | Op::ConvInput(s, n) => {
                Work::conv(&sizes.conv(s, n))
            }
            Op::ConvHalf(s, half) => {
                // The other half's product has to be added.
                let passes = if half == Half::Skip { 3.0 } else { 0.0 };
                Work::conv(&sizes.half_conv(s)).and(Work::passes(map(s), passes, 1.0))
            }
            Op::Moments(s, _) => Work::passes(map(s), 1.0, 1.0),
            Op::Norm {
                stage, statistics, ..
            } => match statistics {
                Statistics::Batch => self.norm(stage),
                Statistics::Saved => {
                    Work::passes(map(stage), 2.0, if self.fused { 1.0 } else { 2.0 })
                }
            },
            Op::Pool(s) if self.fused => Work::passes(map(s - 1), 1.25, 1.0),
            Op::Pool(s) => rebuild(s - 1).and(Work::passes(map(s - 1), 1.5, 2.0)),
            Op::Up(s) | Op::UpWeight(s) | Op::UpInput(s) => Work::conv(&sizes.up(s)),
            Op::Concat(s) => {
                let skip = sizes.skip_of(s);
                rebuild(skip).and(Work::passes(map(skip), 4.0, 2.0))
            }
            Op::ConcatSkip(s) => {
                let skip = sizes.skip_of(s);
                rebuild(skip).and(Work::passes(map(skip), 2.0, 1.0))
            }
            Op::ConcatUp(s) | Op::TakeUp(s) | Op::TakeSkip(s) => Work::passes(map(s), 2.0, 1.0),
            Op::Head | Op::HeadWeight | Op::HeadInput => Work::conv(&sizes.head()),
            Op::NormBackward { stage, masked, .. } => {
                let passes = if masked || self.fused { 5.0 } else { 8.0 };
                Work::passes(map(stage), passes, 3.0)
            }
            Op::ConvWeightHalf(s, _) | Op::ConvInputHalf(s, _) => Work::conv(&sizes.half_conv(s)),
            Op::PoolBackward(s) if self.fused => Work::passes(map(s - 1), 3.25, 1.0),
            Op::PoolBackward(s) => rebuild(s - 1).and(Work::passes(map(s - 1), 5.5, 4.0)),
            Op::Free(_) => Work::default(),
        }
    }

    /// Batch norm and ReLU with the statistics of the batch: these, then the norm; libtorch computes the statistics in
    /// two passes, and ReLU in place.
    fn norm(self, stage: usize) -> Work {
        let (passes, kernels) = if self.fused { (3.0, 2.0) } else { (5.0, 3.0) };
        Work::passes(self.sizes.output_map(stage), passes, kernels)
    }

    /// Seconds of a plan's forward and backward, including the loss.
    pub(super) fn seconds_of_plan(
        self,
        plan: &Plan,
        target: Target,
        speed: &Speed,
    ) -> Result<f64, EstimateError> {
        struct StepSum<'a> {
            costs: Costs<'a>,
            speed: &'a Speed,
            seconds: f64,
        }
        impl Visitor for StepSum<'_> {
            fn op(&mut self, op: Op, alive: &Alive) {
                self.seconds += self.speed.seconds(self.costs.work(op, alive));
            }
            fn loss(&mut self) {
                self.seconds += self.speed.loss_seconds(self.costs.sizes.logits_fp32());
            }
        }
        let mut sum = StepSum {
            costs: self,
            speed,
            seconds: 0.0,
        };
        visit(&self.sizes.network, plan, target, &mut sum)
            .map_err(|_other| EstimateError::Schedule)?;
        Ok(sum.seconds)
    }

    /// Seconds of forward and backward as autograd runs them, including the loss.
    pub(super) fn seconds_of_autograd(
        self,
        segment: Option<Segment>,
        split_concat: bool,
        speed: &Speed,
    ) -> f64 {
        let sizes = self.sizes;
        let conv = |conv: &ConvSize| speed.seconds(Work::conv(conv));
        let passes = |bytes, passes, kernels| speed.seconds(Work::passes(bytes, passes, kernels));
        // How often the operations of a segment run forward.
        let forwards = if segment.is_some() { 2.0 } else { 1.0 };
        let entries = if segment == Some(Segment::Stage) {
            2.0
        } else {
            1.0
        };
        let mut seconds = speed.loss_seconds(sizes.logits_fp32()) + 3.0 * conv(&sizes.head());
        for stage in 0..sizes.num_stages() {
            let map = sizes.output_map(stage);
            for nth in [Nth::First, Nth::Second] {
                // The images need no gradient.
                let is_first = stage == 0 && nth == Nth::First;
                let gradients = if is_first { 1.0 } else { 2.0 };
                seconds += (forwards + gradients) * conv(&sizes.conv(stage, nth));
                seconds += forwards * speed.seconds(self.norm(stage))
                    + passes(map, if self.fused { 5.0 } else { 8.0 }, 2.0);
            }
            if stage > sizes.depth() {
                seconds += (entries + 2.0) * conv(&sizes.up(stage));
                // Either concatenation and its split in backward, or the addition of the halves'
                // products; and the addition of a skip's two gradients.
                seconds += if split_concat {
                    passes(map, 3.0, 1.0)
                } else {
                    passes(map, 2.0, 1.0) + entries * passes(map, 4.0, 2.0)
                };
                seconds += passes(map, 3.0, 1.0);
            } else if stage > 0 {
                let before = sizes.output_map(stage - 1);
                seconds += (entries + 1.0) * passes(before, 1.25, 1.0);
                // Each pooled element has an index of eight bytes.
                seconds += (entries + 1.0) * passes(sizes.indices(stage), 1.0, 0.0);
            }
        }
        seconds
    }
}
