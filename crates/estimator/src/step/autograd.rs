//! A step as autograd runs it, under `block`, `stage`, and `off` without our own kernels: which tensors each
//! node saves and receives, and when they are freed, by the formulas of libtorch 2.11.

use schedule::{Nth, Op, Segment, Statistics};

use super::books::Books;
use super::sizes::ConvSize;
use super::tape::{At, Held};

/// The tensors that the forward of a stage leaves.
#[derive(Debug, Default)]
struct Saved {
    /// The pooled or concatenated input, and the indices of the pooling before the stage.
    input: Option<Held>,
    indices: Option<Held>,
    /// Weights in half precision.
    weights: Vec<Held>,
    /// Convolution outputs and activations.
    layers: Vec<[Held; 2]>,
    statistics: Vec<Held>,
    /// Statistics of a segment's forward, which our own nodes keep for backward.
    tables: Vec<Held>,
}

pub(super) struct Autograd<'a> {
    books: &'a mut Books,
    segment: Option<Segment>,
    split_concat: bool,
    in_backward: bool,
    saved: Vec<Saved>,
    /// The output of each stage.
    outputs: Vec<Option<Held>>,
    /// For a split concatenation, the upper half, which is a separate input.
    ups: Vec<Option<Held>>,
    /// Gradients of which one half waits for the stage of its skip.
    waiting: Vec<Option<Held>>,
    images: Option<Held>,
}

impl<'a> Autograd<'a> {
    /// Runs forward, loss and backward.
    pub(super) fn run(books: &'a mut Books, segment: Option<Segment>, split_concat: bool) {
        let num = books.sizes.num_stages();
        books.is_autograd = true;
        let none = || (0..num).map(|_| None).collect::<Vec<_>>();
        let mut step = Self {
            books,
            segment,
            split_concat,
            in_backward: false,
            saved: Vec::new(),
            outputs: none(),
            ups: none(),
            waiting: none(),
            images: None,
        };
        for stage in 0..num {
            let mut saved = Saved::default();
            step.enter_stage(stage, &mut saved);
            if segment.is_some() {
                // The first segment casts the images itself; its input is the uncast images.
                step.forward_segment(stage, &mut saved);
            } else {
                step.forward(stage, &mut saved);
            }
            step.saved.push(saved);
        }
        let head = step.books.sizes.head();
        step.at(Op::Head);
        let weight = step.cast(&head);
        let logits = step.books.map(step.books.sizes.logits());
        step.books.work(step.books.machine.convolution(&head));
        let loss = step.books.loss(logits);
        let gradient = step.books.loss_backward(loss);
        step.in_backward = true;
        step.at(Op::HeadInput);
        let turned = step.books.turned_gradient();
        let mut out = step.conv_backward(&head, Some(step.books.sizes.map(num - 1, head.inputs)));
        step.books.tape.release(turned);
        step.books.tape.release(gradient);
        step.release(weight);
        step.books.settle();
        for stage in (0..num).rev() {
            out = step.backward(stage, out);
        }
        step.release(out);
        let images = step.images.take();
        step.release(images);
    }

    /// From the outputs of earlier stages to the input of this stage's convolution.
    fn enter_stage(&mut self, stage: usize, saved: &mut Saved) {
        let sizes = self.books.sizes;
        if stage == 0 {
            let cast = self.books.map(sizes.cast_images());
            self.images = Some(cast);
            return;
        }
        if stage <= sizes.depth() {
            self.at(Op::Pool(stage));
            saved.input = Some(self.books.map(sizes.input_map(stage)));
            saved.indices = Some(self.books.map(sizes.indices(stage)));
            if self.saves_nothing() {
                let indices = saved.indices.take();
                self.release(indices);
            }
            return;
        }
        self.at(Op::Up(stage));
        let conv = sizes.up(stage);
        saved.weights.extend(self.cast(&conv));
        let up = self.books.map(sizes.map(stage, conv.outputs));
        self.books.work(self.books.machine.transposed(&conv));
        if self.saves_nothing() {
            for weight in saved.weights.drain(..) {
                self.books.tape.release(weight);
            }
        }
        if self.split_concat {
            self.ups[stage] = Some(up);
        } else {
            self.at(Op::Concat(stage));
            saved.input = Some(self.books.map(sizes.input_map(stage)));
            self.books.tape.release(up);
        }
    }

    /// Whether nothing in the segment saves a stage's output: our own node saves its input, and pooling its own.
    fn frees_output(&self, stage: usize) -> bool {
        let pools = self.segment == Some(Segment::Stage) && stage < self.books.sizes.depth();
        self.books.machine.is_fused() && !pools
    }

    /// Whether this is the forward of a segment of the policy `stage`, in which the operations before the
    /// convolution save nothing.
    fn saves_nothing(&self) -> bool {
        self.segment == Some(Segment::Stage) && !self.in_backward
    }

    /// Frees what the first layer of such a segment has read. What the previous segment pooled is an input of
    /// this one, and stays.
    fn leave_input(&mut self, stage: usize, saved: &mut Saved) {
        if self.saves_nothing() && stage > self.books.sizes.depth() {
            let read = [saved.input.take(), self.ups[stage].take()];
            for it in read {
                self.release(it);
            }
        }
    }

    /// Runs both layers and holds what they save.
    fn forward(&mut self, stage: usize, saved: &mut Saved) {
        for nth in [Nth::First, Nth::Second] {
            self.convolve(stage, nth, &mut saved.weights);
            let y = self.books.map(self.books.sizes.output_map(stage));
            self.convolved(stage, nth);
            self.at_norm(stage, nth);
            let bytes = self.books.sizes.output_map(stage);
            if self.in_backward && nth == Nth::Second && self.frees_output(stage) {
                // The recompute ends here, and this output is freed at once.
                self.books.tape.touch(bytes);
                let nothing = self.books.map(0);
                saved.layers.push([y, nothing]);
                continue;
            }
            let z = self.books.map(bytes);
            saved.statistics.push(self.books.statistics(stage));
            saved.layers.push([y, z]);
        }
    }

    /// Runs both layers of a segment, of which only the output stays.
    fn forward_segment(&mut self, stage: usize, saved: &mut Saved) {
        let bytes = self.books.sizes.output_map(stage);
        let mut weights = Vec::new();
        let mut input: Option<Held> = None;
        for nth in [Nth::First, Nth::Second] {
            self.convolve(stage, nth, &mut weights);
            let y = self.books.map(bytes);
            self.convolved(stage, nth);
            // Nothing is saved: casts end with the convolution.
            let images = self.images.take();
            self.release(images);
            for weight in weights.drain(..) {
                self.books.tape.release(weight);
            }
            self.at_norm(stage, nth);
            let z = self.books.map(bytes);
            if self.books.machine.is_fused() {
                let table = self.books.statistics(stage);
                saved.tables.push(table);
            }
            self.books.tape.release(y);
            let before = input.replace(z);
            self.release(before);
            self.leave_input(stage, saved);
        }
        self.outputs[stage] = input;
    }

    fn convolve(&mut self, stage: usize, nth: Nth, weights: &mut Vec<Held>) {
        self.at(Op::Conv(stage, nth));
        let conv = self.books.sizes.conv(stage, nth);
        weights.extend(self.cast(&conv));
        if self.splits(stage, nth) {
            // The products of both halves exist until they are added.
            let bytes = self.books.sizes.output_map(stage);
            self.books.tape.touch_all([bytes; 2], 0);
        }
    }

    fn convolved(&mut self, stage: usize, nth: Nth) {
        let conv = self.books.sizes.conv(stage, nth);
        self.books.work(self.books.machine.convolution(&conv));
    }

    /// From the gradient of a stage's output to the gradient of the previous stage's output.
    fn backward(&mut self, stage: usize, gradient: Option<Held>) -> Option<Held> {
        let sizes = self.books.sizes;
        let mut saved = self.saved.pop().unwrap_or_default();
        let bytes = sizes.output_map(stage);
        let mut gradient = gradient;
        let is_down = stage < sizes.depth();
        if is_down && self.segment != Some(Segment::Stage) {
            gradient = Some(self.join(stage, gradient));
        }
        if self.segment.is_some() {
            let output = self.outputs[stage].take();
            self.release(output);
            self.rebuild(stage, &mut saved);
        }
        if is_down && self.segment == Some(Segment::Stage) {
            // The pooling belongs to the segment.
            self.at(Op::Pool(stage + 1));
            let pooled = self.books.map(sizes.input_map(stage + 1));
            let indices = self.books.map(sizes.indices(stage + 1));
            self.books.tape.release(pooled);
            let spread = self.pool_backward(stage + 1, gradient, Some(indices));
            if self.books.machine.is_fused()
                && let Some([_, z]) = saved.layers.last_mut()
            {
                // Only the pooling has saved it.
                let nothing = self.books.map(0);
                self.books.tape.release(std::mem::replace(z, nothing));
            }
            gradient = Some(self.join(stage, Some(spread)));
        }
        for nth in [Nth::Second, Nth::First] {
            self.at_norm_backward(stage, nth);
            let Some([y, z]) = saved.layers.pop() else {
                return gradient;
            };
            if self.books.machine.is_fused() {
                // The gradient of the input takes the bytes of that of the output.
                let passed = gradient.take()?;
                self.books.norm_gradients(stage);
                self.books.tape.release(y);
                self.books.tape.release(z);
                let statistics = saved.statistics.pop();
                self.release(statistics);
                self.at(Op::ConvInput(stage, nth));
                gradient = self.layer_backward(stage, nth, passed, &mut saved);
                continue;
            }
            let masked = self.books.transient(bytes);
            self.release(gradient);
            self.books.tape.release(z);
            self.books
                .tape
                .touch(self.books.machine.norm_backward(bytes));
            let passed = self.books.transient(bytes);
            self.books.norm_gradients(stage);
            self.books.tape.release(y);
            self.books.tape.release(masked);
            let statistics = saved.statistics.pop();
            self.release(statistics);
            self.at(Op::ConvInput(stage, nth));
            gradient = self.layer_backward(stage, nth, passed, &mut saved);
        }
        let tables = saved.tables.drain(..).chain(saved.statistics.drain(..));
        for table in tables {
            self.books.tape.release(table);
        }
        self.leave_stage(stage, gradient, &mut saved)
    }

    fn layer_backward(
        &mut self,
        stage: usize,
        nth: Nth,
        passed: Held,
        saved: &mut Saved,
    ) -> Option<Held> {
        if self.splits(stage, nth) {
            return Some(self.split_backward(stage, passed, saved));
        }
        let sizes = self.books.sizes;
        let conv = sizes.conv(stage, nth);
        let input = match nth {
            Nth::First if stage == 0 => None,
            Nth::First => Some(sizes.input_map(stage)),
            Nth::Second => Some(sizes.output_map(stage)),
        };
        let out = self.conv_backward(&conv, input);
        let weight = saved.weights.pop();
        let input = if nth == Nth::First {
            saved.input.take()
        } else {
            None
        };
        let is_up = stage > sizes.depth();
        let freed = match self.segment {
            None => [Some(passed), input, weight],
            // The cast of the images belongs to the segment.
            Some(_) if stage == 0 && nth == Nth::First => {
                [weight, self.images.take(), Some(passed)]
            }
            // The concatenation belongs to the segment.
            Some(Segment::Stage) if is_up => [weight, input, Some(passed)],
            Some(_) => [weight, Some(passed), input],
        };
        for held in freed {
            self.release(held);
        }
        if self.segment == Some(Segment::Stage) && is_up && nth == Nth::First && !sizes.is_half() {
            // Without casts nothing else holds the skip, an input of the segment.
            let skip = self.outputs[sizes.skip_of(stage)].take();
            self.release(skip);
        }
        self.books.settle();
        out
    }

    /// The gradients of the halves of a split concatenation: first the skip's, which waits, then
    /// the other.
    fn split_backward(&mut self, stage: usize, passed: Held, saved: &mut Saved) -> Held {
        let conv = self.books.sizes.half_conv(stage);
        let bytes = self.books.sizes.map(stage, conv.inputs);
        let half = |step: &mut Self, first: bool| {
            let out = step.books.transient(bytes);
            step.books.work(step.books.machine.input_gradient(&conv));
            step.books.half_weight_gradient(&conv, first);
            out
        };
        let skip = half(self, true);
        self.waiting[self.books.sizes.skip_of(stage)] = Some(skip);
        let out = half(self, false);
        self.books.tape.release(passed);
        for held in [saved.weights.pop(), self.ups[stage].take()] {
            self.release(held);
        }
        self.books.settle();
        out
    }

    /// Computes the gradient of the input, then that of the weight.
    fn conv_backward(&mut self, conv: &ConvSize, input: Option<u64>) -> Option<Held> {
        let out = input.map(|bytes| self.books.transient(bytes));
        if out.is_some() {
            self.books.work(self.books.machine.input_gradient(conv));
        }
        self.books.weight_gradient(conv);
        out
    }

    /// From the gradient of a stage's input to the gradients of the stages that it comes from.
    fn leave_stage(
        &mut self,
        stage: usize,
        gradient: Option<Held>,
        saved: &mut Saved,
    ) -> Option<Held> {
        let sizes = self.books.sizes;
        if stage == 0 {
            self.release(gradient);
            return None;
        }
        if stage <= sizes.depth() {
            if self.segment == Some(Segment::Stage) {
                return gradient;
            }
            let indices = saved.indices.take();
            return Some(self.pool_backward(stage, gradient, indices));
        }
        self.at(Op::UpInput(stage));
        let conv = sizes.up(stage);
        let dense = if self.split_concat {
            gradient
        } else {
            // One half is copied to be dense; the other half keeps the whole tensor alive.
            self.waiting[sizes.skip_of(stage)] = gradient;
            Some(self.books.transient(sizes.map(stage, conv.outputs)))
        };
        let out = self.conv_backward(&conv, Some(sizes.map(stage - 1, conv.inputs)));
        self.release(dense);
        let weight = saved.weights.pop();
        // Only this convolution has saved the output of the segment before it.
        let before = self.segment.and_then(|_| self.outputs[stage - 1].take());
        match self.segment {
            None => self.release(weight),
            Some(Segment::Block) => {
                for it in [before, weight] {
                    self.release(it);
                }
            }
            Some(Segment::Stage) => {
                // The skip was an input of the segment.
                let skip = self.outputs[sizes.skip_of(stage)].take();
                for it in [weight, before, skip] {
                    self.release(it);
                }
            }
        }
        self.books.settle();
        out
    }

    fn pool_backward(
        &mut self,
        stage: usize,
        gradient: Option<Held>,
        indices: Option<Held>,
    ) -> Held {
        self.at(Op::PoolBackward(stage));
        let sizes = self.books.sizes;
        let spread = self.books.transient(sizes.output_map(stage - 1));
        let freed = match self.segment {
            None => [gradient, None, indices],
            // The pooling has saved the output of the segment before it.
            Some(Segment::Block) => [gradient, self.outputs[stage - 1].take(), indices],
            Some(Segment::Stage) => [indices, None, gradient],
        };
        for it in freed {
            self.release(it);
        }
        spread
    }

    /// Adds the gradient that comes through the skip.
    fn join(&mut self, stage: usize, gradient: Option<Held>) -> Held {
        let bytes = self.books.sizes.output_map(stage);
        let sum = self.books.transient(bytes);
        let waiting = self.waiting[stage].take();
        self.release(waiting);
        self.release(gradient);
        sum
    }

    /// Runs the forward of a segment again, up to the tensors that its last node saves.
    fn rebuild(&mut self, stage: usize, saved: &mut Saved) {
        let is_up = stage > self.books.sizes.depth();
        if stage == 0 || (self.segment == Some(Segment::Stage) && is_up) {
            self.enter_stage(stage, saved);
        }
        self.forward(stage, saved);
    }

    fn splits(&self, stage: usize, nth: Nth) -> bool {
        self.split_concat && nth == Nth::First && stage > self.books.sizes.depth()
    }

    fn cast(&mut self, conv: &ConvSize) -> Option<Held> {
        let half = self.books.sizes.is_half();
        half.then(|| self.books.map(conv.weight_bytes()))
    }

    fn at(&mut self, op: Op) {
        self.books.tape.enter(if self.in_backward {
            At::Backward(op)
        } else {
            At::Forward(op)
        });
    }

    fn at_norm(&mut self, stage: usize, nth: Nth) {
        self.at(Op::Norm {
            stage,
            nth,
            statistics: Statistics::Batch,
            in_place: false,
        });
    }

    fn at_norm_backward(&mut self, stage: usize, nth: Nth) {
        self.at(Op::NormBackward {
            stage,
            nth,
            masked: false,
        });
    }

    fn release(&mut self, held: Option<Held>) {
        if let Some(held) = held {
            self.books.tape.release(held);
        }
    }
}
