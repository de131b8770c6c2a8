//! The parts that both forms of a step share: gradients, weights and the loss.

use config::Category;
use schedule::Nth;

use super::kernels::Machine;
use super::sizes::{ConvSize, Sizes};
use super::tape::{At, Held, Tape};

/// The state of a running step.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) tape: Tape,
    pub(super) sizes: Sizes,
    pub(super) machine: Machine,
    /// Whether gradients of an earlier micro-batch exist, to which new ones are added.
    pub(super) accumulates: bool,
    /// Tensors that the caller hands over: masks, and images if nothing else holds them.
    pub(super) handed_over: Vec<Held>,
    /// Gradients of parameters, held until the optimizer's step.
    pub(super) gradients: Vec<Held>,
    /// On CUDA under autograd, gradients that are converted (to this many bytes) or added to existing ones
    /// once their convolution's node has released what it saved.
    pub(super) unsettled: Vec<(Held, Option<u64>)>,
    /// Whether autograd runs the step.
    pub(super) is_autograd: bool,
}

/// The tensors that the loss holds until its backward.
#[derive(Debug)]
pub(super) struct Loss(Vec<Held>);

impl Books {
    /// Holds an activation, or a gradient of one that is made in backward.
    pub(super) fn map(&mut self, bytes: u64) -> Held {
        self.tape.hold(bytes, Category::Activations)
    }

    pub(super) fn transient(&mut self, bytes: u64) -> Held {
        self.tape.hold(bytes, Category::Transients)
    }

    /// Holds a parameter's gradient, which stays until the optimizer's step.
    fn gradient(&mut self, bytes: u64) {
        if self.accumulates {
            self.tape.touch(bytes);
        } else {
            let held = self.tape.hold(bytes, Category::Gradients);
            self.gradients.push(held);
        }
    }

    /// A library's workspace, for the duration of an operation.
    pub(super) fn work(&mut self, bytes: u64) {
        self.tape.touch_all([], bytes);
    }

    /// Gradients of a convolution's weight and bias, and the tensors held while they are computed.
    pub(super) fn weight_gradient(&mut self, conv: &ConvSize) {
        self.weight_gradient_of(conv, conv.parameter_bytes(), 0);
    }

    /// The same over half of the inputs: the other half of the gradient is filled with zeros, and
    /// the second result is added to the `first`.
    pub(super) fn half_weight_gradient(&mut self, half: &ConvSize, first: bool) {
        let accumulates = self.accumulates;
        self.accumulates |= !first;
        let slice = half.parameter_bytes();
        self.weight_gradient_of(half, slice.saturating_mul(2), slice);
        self.accumulates = accumulates;
    }

    fn weight_gradient_of(&mut self, conv: &ConvSize, parameter_bytes: u64, slice_bytes: u64) {
        // A schedule on a GPU makes its slice itself.
        let is_made = self.tape.has_blocks() && !self.is_autograd;
        let slice = self.transient(if is_made { 0 } else { slice_bytes });
        if let Some(columns) = self.machine.columns(conv) {
            self.gradient(parameter_bytes);
            self.tape.touch(columns);
            self.tape.release(slice);
            self.gradient(conv.outputs.saturating_mul(4));
            return;
        }
        if matches!(self.machine, Machine::Cuda(_)) {
            self.cudnn_weight_gradient(conv, parameter_bytes);
            self.tape.release(slice);
            self.gradient(conv.outputs.saturating_mul(4));
            return;
        }
        let bytes = conv.weight_bytes();
        // The gradient is computed in blocks, then reordered as the parameter.
        let made = self.transient(bytes);
        let scratch = self.machine.weight_gradient(conv);
        self.tape.touch(scratch.max(self.machine.reordered(conv)));
        if self.sizes.is_half() {
            // It is computed in half precision first.
            self.gradient(parameter_bytes);
            self.tape.release(made);
        } else {
            self.tape.release(made);
            self.gradient(parameter_bytes);
        }
        self.tape.release(slice);
        self.gradient(conv.outputs.saturating_mul(4));
    }

    /// Computes the gradient in the type of activations, then converts it to the parameter's type.
    fn cudnn_weight_gradient(&mut self, conv: &ConvSize, parameter_bytes: u64) {
        let scratch = self.machine.weight_gradient(conv);
        // `AccumulateGrad` takes it unchanged, or adds it to the existing gradient.
        let is_taken = !self.sizes.is_half() && conv.parameter_bytes() == parameter_bytes;
        if is_taken && !self.accumulates {
            self.gradient(parameter_bytes);
            self.work(scratch);
            return;
        }
        let made = self.transient(conv.weight_bytes());
        self.work(scratch);
        self.unsettled
            .push((made, (!is_taken).then_some(parameter_bytes)));
        if !self.is_autograd {
            self.settle();
        }
    }

    /// Converts or adds the gradients that a convolution's node has computed.
    pub(super) fn settle(&mut self) {
        for (made, converted_bytes) in std::mem::take(&mut self.unsettled) {
            if let Some(bytes) = converted_bytes {
                self.gradient(bytes);
            }
            self.tape.release(made);
        }
    }

    /// Gradients of batch norm's scale and shift.
    pub(super) fn norm_gradients(&mut self, stage: usize) {
        let channels = self.sizes.channels(stage);
        self.gradient(channels.saturating_mul(4));
        self.gradient(channels.saturating_mul(4));
        let sums = self.machine.norm(&self.sizes, stage).backward_sums;
        self.tape.touch(sums);
    }

    /// What batch norm's forward leaves for its backward, in addition to its result.
    pub(super) fn statistics(&mut self, stage: usize) -> Held {
        let norm = self.machine.norm(&self.sizes, stage);
        let sums = self.transient(norm.forward_sums);
        let held = self.tape.hold(norm.statistics, Category::Activations);
        self.tape.release(sums);
        held
    }

    /// The loss of the logits, which are freed afterwards. Returns the tensors that stay for
    /// backward.
    pub(super) fn loss(&mut self, logits: Held) -> Loss {
        self.tape.enter(At::Loss);
        let one = self.sizes.logits_fp32();
        let mut held = Vec::new();
        let cast = self.sizes.is_half().then(|| self.map(one));
        if self.sizes.ignores {
            // Flags, for the gradient as well.
            held.push(self.map(self.sizes.masks()));
        }
        // Targets; several classes first need indices and a flag per class.
        let classes = self.sizes.network.classes;
        if classes > 1 {
            let indices = self.map(self.sizes.masks().saturating_mul(8));
            // The result of `log_softmax` stays.
            held.push(self.map(one));
            let flags = self.transient(one / 4);
            held.push(self.map(one));
            self.tape.release(flags);
            held.push(indices);
        } else {
            let flags = self.transient(if self.sizes.ignores {
                self.sizes.masks()
            } else {
                0
            });
            held.push(self.map(one));
            self.tape.release(flags);
            self.tape.touch_all([one; 2], 0);
        }
        // Probabilities are held; their product with the targets is not.
        held.push(self.map(one));
        self.tape.touch(one);
        let logits = if let Some(cast) = cast {
            self.tape.release(logits);
            cast
        } else {
            logits
        };
        for batch in std::mem::take(&mut self.handed_over) {
            self.tape.release(batch);
        }
        // Backward reads the logits only for one class; with several, it reads `log_softmax` and
        // the probabilities.
        if classes > 1 {
            self.tape.release(logits);
        } else {
            held.push(logits);
        }
        Loss(held)
    }

    /// The backward of the loss. Returns the gradient of the logits.
    pub(super) fn loss_backward(&mut self, loss: Loss) -> Held {
        self.tape.enter(At::Loss);
        let one = self.sizes.logits_fp32();
        // Backward goes through a product and a sum, then the probabilities and the entropy.
        let first = self.transient(one);
        self.tape.touch(one);
        self.tape.touch(one);
        self.tape.release(first);
        let gradient = self.transient(one);
        for held in loss.0 {
            self.tape.release(held);
        }
        if !self.sizes.is_half() {
            return gradient;
        }
        let cast = self.transient(self.sizes.logits());
        self.tape.release(gradient);
        cast
    }

    /// A copy of the gradient of the logits in the format that the head's kernels read: of several classes
    /// it is channels-first, and of one class cuDNN takes its strides for that.
    pub(super) fn turned_gradient(&mut self) -> Held {
        let is_turned = self.sizes.network.classes > 1 || self.tape.has_blocks();
        let turns = is_turned && self.machine.is_channels_last();
        self.transient(if turns { self.sizes.logits() } else { 0 })
    }

    /// The optimizer's step, after which all gradients are set to `None`.
    pub(super) fn update(&mut self) {
        self.tape.enter(At::Update);
        let convs = (0..self.sizes.num_stages())
            .flat_map(|stage| [Nth::First, Nth::Second].map(|nth| self.sizes.conv(stage, nth)));
        let ups = (self.sizes.depth() + 1..self.sizes.num_stages()).map(|s| self.sizes.up(s));
        let largest = convs.chain(ups).map(|conv| conv.parameter_bytes()).max();
        self.tape.touch(self.machine.update(largest.unwrap_or(0)));
        for held in self.gradients.drain(..) {
            self.tape.release(held);
        }
    }
}
