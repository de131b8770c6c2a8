//! What both forms of a step share: gradients, weights and the loss.

use config::Category;
use schedule::Nth;

use super::kernels::Machine;
use super::sizes::{ConvSize, Sizes};
use super::tape::{At, Held, Tape};

/// A step under way.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) tape: Tape,
    pub(super) sizes: Sizes,
    pub(super) machine: Machine,
    /// Gradients of an earlier micro-batch are there: new ones are added to them.
    pub(super) accumulates: bool,
    /// What the caller hands over: masks, and images where nothing else holds them.
    pub(super) handed_over: Vec<Held>,
    /// Gradients of parameters, until the optimizer's step.
    pub(super) gradients: Vec<Held>,
}

/// What the loss holds until its backward.
#[derive(Debug)]
pub(super) struct Loss(Vec<Held>);

impl Books {
    /// An activation, or a gradient of one made in backward.
    pub(super) fn map(&mut self, bytes: u64) -> Held {
        self.tape.hold(bytes, Category::Activations)
    }

    pub(super) fn transient(&mut self, bytes: u64) -> Held {
        self.tape.hold(bytes, Category::Transients)
    }

    /// A parameter's gradient, which stays until the optimizer's step.
    fn gradient(&mut self, bytes: u64) {
        if self.accumulates {
            self.tape.touch(bytes);
        } else {
            let held = self.tape.hold(bytes, Category::Gradients);
            self.gradients.push(held);
        }
    }

    /// What a library works in for the length of an operation.
    pub(super) fn work(&mut self, bytes: u64) {
        self.tape.touch_all([], bytes);
    }

    /// Gradients of a convolution's weight and bias, and what is held while they are made.
    pub(super) fn weight_gradient(&mut self, conv: &ConvSize) {
        self.weight_gradient_of(conv, conv.parameter_bytes(), 0);
    }

    /// The same over half of the inputs: the other half of the gradient is made with zeros, and what
    /// comes second is added to what came `first`.
    pub(super) fn half_weight_gradient(&mut self, half: &ConvSize, first: bool) {
        let accumulates = self.accumulates;
        self.accumulates |= !first;
        let slice = half.parameter_bytes();
        self.weight_gradient_of(half, slice.saturating_mul(2), slice);
        self.accumulates = accumulates;
    }

    fn weight_gradient_of(&mut self, conv: &ConvSize, parameter_bytes: u64, slice_bytes: u64) {
        let slice = self.transient(slice_bytes);
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
        // In blocks, and then in the parameter's order.
        let made = self.transient(bytes);
        let scratch = self.machine.weight_gradient(conv);
        self.tape.touch(scratch.max(self.machine.reordered(conv)));
        if self.sizes.is_half() {
            // In half precision first.
            self.gradient(parameter_bytes);
            self.tape.release(made);
        } else {
            self.tape.release(made);
            self.gradient(parameter_bytes);
        }
        self.tape.release(slice);
        self.gradient(conv.outputs.saturating_mul(4));
    }

    /// In the type of activations, then as the parameter's.
    fn cudnn_weight_gradient(&mut self, conv: &ConvSize, parameter_bytes: u64) {
        let scratch = self.machine.weight_gradient(conv);
        // `AccumulateGrad` takes it as it is, or adds it to what is there.
        let is_taken = !self.sizes.is_half() && conv.parameter_bytes() == parameter_bytes;
        if is_taken && !self.accumulates {
            self.gradient(parameter_bytes);
            self.work(scratch);
            return;
        }
        let made = self.transient(conv.weight_bytes());
        self.work(scratch);
        if !is_taken {
            self.gradient(parameter_bytes);
        }
        self.tape.release(made);
    }

    /// Gradients of batch norm's scale and shift.
    pub(super) fn norm_gradients(&mut self, stage: usize) {
        let channels = self.sizes.channels(stage);
        self.gradient(channels.saturating_mul(4));
        self.gradient(channels.saturating_mul(4));
    }

    /// Mean and deviation that batch norm takes.
    pub(super) fn statistics(&mut self, stage: usize) -> Held {
        let bytes = self.sizes.channels(stage).saturating_mul(8);
        self.tape.hold(bytes, Category::Activations)
    }

    /// The loss of the logits, which are freed once it is there, and what it leaves for backward.
    pub(super) fn loss(&mut self, logits: Held) -> Loss {
        self.tape.enter(At::Loss);
        let one = self.sizes.logits_fp32();
        let mut held = Vec::new();
        let cast = self.sizes.is_half().then(|| self.map(one));
        // Targets: for several classes indices and a flag of eight bytes for each class first.
        let classes = self.sizes.network.classes;
        if classes > 1 {
            let indices = self.map(self.sizes.masks().saturating_mul(8));
            // `log_softmax` stays.
            held.push(self.map(one));
            let flags = self.transient(one.saturating_mul(2));
            held.push(self.map(one));
            self.tape.release(flags);
            held.push(indices);
        } else {
            held.push(self.map(one));
            self.tape.touch_all([one; 2], 0);
        }
        // Probabilities, and their product with the targets.
        held.push(self.map(one));
        self.tape.touch(one);
        for batch in std::mem::take(&mut self.handed_over) {
            self.tape.release(batch);
        }
        let logits = if let Some(cast) = cast {
            self.tape.release(logits);
            cast
        } else {
            logits
        };
        // Backward reads them for one class alone; several have `log_softmax` and probabilities.
        if classes > 1 {
            self.tape.release(logits);
        } else {
            held.push(logits);
        }
        Loss(held)
    }

    /// Its backward. Returns the gradient of the logits.
    pub(super) fn loss_backward(&mut self, loss: Loss) -> Held {
        self.tape.enter(At::Loss);
        let one = self.sizes.logits_fp32();
        // A product and a sum, then through the probabilities and the entropy.
        self.tape.touch_all([one; 2], 0);
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

    /// The gradient of several classes' logits, which comes channels-first, once more as the head's
    /// kernels read it.
    pub(super) fn turned_gradient(&mut self) -> Held {
        let turns = self.sizes.network.classes > 1 && self.machine.is_channels_last();
        self.transient(if turns { self.sizes.logits() } else { 0 })
    }

    /// The optimizer's step, after which all gradients are set to none.
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
