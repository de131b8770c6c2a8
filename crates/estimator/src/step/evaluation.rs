//! A forward without gradients in evaluation mode and the operations around it: the upload of a
//! batch, and afterwards the loss and the scores, or the answers. It follows `train`'s
//! `evaluation.rs`, `loss.rs` and `metrics.rs` tensor by tensor. No tensor is saved, so each
//! activation is freed after its last use.

use config::{ImageSize, Network, Precision};
use schedule::{Nth, Op, Statistics};

use super::books::Books;
use super::sizes::{ConvSize, Sizes};
use super::tape::{At, Held};
use super::{Machine, Peak, StepMemory, known};
use crate::{EstimateError, Flops};

/// The tensors that are held in addition to the step's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resident {
    /// Parameters and the optimizer's state, without gradients: validation between epochs.
    Training,
    /// Only parameters.
    Parameters,
}

/// The purpose of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To compute the loss and the scores against masks.
    Scores,
    /// To predict masks, at the original size of the scaled pictures.
    Answers(ImageSize),
}

/// An evaluation of a network on one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationStep {
    /// The network.
    pub network: Network,
    /// Size of the images.
    pub size: ImageSize,
    /// Images per forward.
    pub batch: u32,
    /// Precision of convolutions and activations.
    pub precision: Precision,
    /// The purpose of the logits.
    pub purpose: Purpose,
    /// The tensors that are held in addition to the step's.
    pub resident: Resident,
    /// Whether some pixels of the masks do not count.
    pub ignores: bool,
}

impl EvaluationStep {
    /// The most that the step holds in tensors, including resident tensors.
    ///
    /// # Errors
    /// [`EstimateError::ImageSize`] for a size that the network cannot halve,
    /// [`EstimateError::TooLarge`] if a figure exceeds 64 bits, [`EstimateError::Kernels`] if the
    /// memory of the kernels is unknown.
    pub fn peak(&self, on: impl Into<Machine>) -> Result<Peak, EstimateError> {
        Ok(self.memory(on)?.peak)
    }

    /// The same, operation by operation.
    ///
    /// # Errors
    /// The same as [`Self::peak`].
    pub fn memory(&self, on: impl Into<Machine>) -> Result<StepMemory, EstimateError> {
        // This refuses sizes that cannot run, and figures that exceed 64 bits.
        Flops::per_image(&self.network, self.size)?;
        let machine = known(on, self.precision)?;
        let sizes = Sizes {
            network: self.network,
            size: self.size,
            batch: u64::from(self.batch),
            precision: self.precision,
            ignores: self.ignores,
        };
        let mut books = Books::new(sizes, machine, machine.allocator());
        books.hold_fixed(self.resident)?;
        self.walk(&mut books);
        books.tape.finish(self.network.width)
    }

    /// Walks the step with the tensors that `books` hold, and with the cache of earlier steps.
    pub(super) fn walk(&self, books: &mut Books) {
        books.sizes.batch = u64::from(self.batch);
        EvaluationWalk { books }.run(self.purpose);
    }
}

struct EvaluationWalk<'a> {
    books: &'a mut Books,
}

impl EvaluationWalk<'_> {
    fn run(&mut self, purpose: Purpose) {
        let (images, masks) = self.upload();
        let mut held = vec![images];
        if purpose == Purpose::Scores {
            held.push(masks);
        } else {
            self.books.tape.release(masks);
        }
        let logits = self.forward();
        match purpose {
            Purpose::Scores => {
                self.loss();
                self.scores();
            }
            Purpose::Answers(size) => self.answers(size),
        }
        held.push(logits);
        for held in held {
            self.books.tape.release(held);
        }
    }

    /// Converts bytes to images and masks.
    fn upload(&mut self) -> (Held, Held) {
        let sizes = self.books.sizes;
        self.books.tape.enter(At::Upload);
        if self.books.tape.has_blocks() {
            return self.books.uploaded();
        }
        let bytes = self.books.transient(sizes.images() / 4);
        let mut images = self.books.map(sizes.images());
        if !self.books.machine.is_channels_last() {
            // The bytes are channels-last.
            let copy = self.books.map(sizes.images());
            let masks = self.books.map(sizes.masks());
            let before = std::mem::replace(&mut images, copy);
            self.books.tape.release(before);
            self.books.tape.release(bytes);
            return (images, masks);
        }
        let masks = self.books.map(sizes.masks());
        self.books.tape.release(bytes);
        (images, masks)
    }

    /// Runs the forward and returns the logits.
    fn forward(&mut self) -> Held {
        let sizes = self.books.sizes;
        let mut skips = Vec::new();
        let mut x: Option<Held> = None;
        for stage in 0..sizes.num_stages() {
            if stage > sizes.depth() {
                x = Some(self.join(stage, x, skips.pop()));
            }
            let out = self.double_conv(stage, x);
            if stage < sizes.depth() {
                self.at(Op::Pool(stage + 1));
                x = Some(self.books.map(sizes.input_map(stage + 1)));
                self.touch(sizes.indices(stage + 1));
                skips.push(out);
            } else {
                x = Some(out);
            }
        }
        self.at(Op::Head);
        let conv = sizes.head();
        let weight = self.cast(&conv);
        let logits = self.books.map(sizes.logits());
        self.books.work(self.books.machine.convolution(&conv));
        self.books.tape.release(weight);
        self.release(x);
        logits
    }

    /// Runs the transposed convolution of `x` and concatenates the result with the skip.
    fn join(&mut self, stage: usize, x: Option<Held>, skip: Option<Held>) -> Held {
        let sizes = self.books.sizes;
        self.at(Op::Up(stage));
        let conv = sizes.up(stage);
        let weight = self.cast(&conv);
        let up = self.books.map(sizes.map(stage, conv.outputs));
        self.books.work(self.books.machine.transposed(&conv));
        self.books.tape.release(weight);
        self.release(x);
        self.at(Op::Concat(stage));
        let joined = self.books.map(sizes.input_map(stage));
        self.books.tape.release(up);
        self.release(skip);
        joined
    }

    /// Runs both layers; the first frees its input.
    fn double_conv(&mut self, stage: usize, input: Option<Held>) -> Held {
        let hidden = self.layer(stage, Nth::First);
        self.release(input);
        let out = self.layer(stage, Nth::Second);
        self.books.tape.release(hidden);
        out
    }

    fn layer(&mut self, stage: usize, nth: Nth) -> Held {
        let sizes = self.books.sizes;
        self.at(Op::Conv(stage, nth));
        let conv = sizes.conv(stage, nth);
        let images = self.books.transient(if stage == 0 && nth == Nth::First {
            sizes.cast_images()
        } else {
            0
        });
        let weight = self.cast(&conv);
        let convolved = self.books.map(sizes.output_map(stage));
        self.books.work(self.books.machine.convolution(&conv));
        self.books.tape.release(images);
        self.books.tape.release(weight);
        self.at(Op::Norm {
            stage,
            nth,
            // Evaluation uses the running statistics.
            statistics: Statistics::Saved,
            in_place: false,
        });
        // Scale and shift, which include the statistics: of ours before the result.
        let norm = self.books.machine.norm(&sizes, stage).statistics;
        let is_fused = self.books.machine.is_fused();
        let table = self.books.transient(if is_fused { norm } else { 0 });
        let out = self.books.map(sizes.output_map(stage));
        if !is_fused {
            self.touch(norm);
        }
        self.books.tape.release(table);
        self.books.tape.release(convolved);
        out
    }

    fn loss(&mut self) {
        self.books.tape.enter(At::Loss);
        let sizes = self.books.sizes;
        let one = sizes.logits_fp32();
        let logits = self.single_logits();
        // Targets, and two tensors for the entropy, or for probabilities and their product. Several
        // classes also need indices.
        let indices = if sizes.network.classes > 1 {
            sizes.masks().saturating_mul(8)
        } else {
            0
        };
        let ignored = if sizes.ignores { sizes.masks() } else { 0 };
        let tape = &mut self.books.tape;
        tape.touch_all([one, one, one, indices, ignored], 0);
        tape.release(logits);
    }

    fn scores(&mut self) {
        /// The number of thresholds at which `train` counts one class.
        const THRESHOLDS: u64 = 101;
        /// Background, foreground and ignored.
        const MASK_VALUES: u64 = 3;
        self.books.tape.enter(At::Scores);
        let sizes = self.books.sizes;
        let logits = self.single_logits();
        // Numbers of eight bytes: answers, masks, their product and a sum, then counts. One class
        // needs bins for answers, in addition to probabilities and their hundredths.
        let classes = u64::from(sizes.network.classes);
        let (probability, of_image) = if classes == 1 {
            (
                sizes.masks().saturating_mul(4),
                THRESHOLDS * MASK_VALUES * 8,
            )
        } else {
            (0, classes.saturating_mul(classes + 1).saturating_mul(8))
        };
        let counts = sizes.batch.saturating_mul(of_image);
        let number = sizes.masks().saturating_mul(8);
        let (two, four) = ([probability; 2], [number; 4]);
        let held = two.map(|bytes| self.books.transient(bytes));
        let held = held
            .into_iter()
            .chain(four.map(|bytes| self.books.transient(bytes)));
        let held: Vec<_> = held.chain([self.books.transient(counts), logits]).collect();
        for held in held {
            self.books.tape.release(held);
        }
    }

    fn answers(&mut self, size: ImageSize) {
        self.books.tape.enter(At::Scores);
        let sizes = self.books.sizes;
        let classes = u64::from(sizes.network.classes);
        let pixels = sizes.batch.saturating_mul(size.pixels());
        let logits = self.single_logits();
        let scaled = self.books.transient(pixels.saturating_mul(4 * classes));
        self.books.tape.release(logits);
        // Probabilities and flags, or indices and bytes.
        self.touch(pixels.saturating_mul(if classes == 1 { 5 } else { 9 }));
        self.books.tape.release(scaled);
    }

    /// Casts the logits to fp32, if they are not in fp32.
    fn single_logits(&mut self) -> Held {
        let bytes = if self.books.sizes.is_half() {
            self.books.sizes.logits_fp32()
        } else {
            0
        };
        self.books.transient(bytes)
    }

    /// The weight in half precision.
    fn cast(&mut self, conv: &ConvSize) -> Held {
        let is_half = self.books.sizes.is_half();
        self.books
            .transient(if is_half { conv.weight_bytes() } else { 0 })
    }

    fn at(&mut self, op: Op) {
        self.books.tape.enter(At::Forward(op));
    }

    fn touch(&mut self, bytes: u64) {
        self.books.tape.touch(bytes);
    }

    fn release(&mut self, held: Option<Held>) {
        if let Some(held) = held {
            self.books.tape.release(held);
        }
    }
}
