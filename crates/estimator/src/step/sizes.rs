//! Bytes of the tensors of a step.

use config::{ImageSize, Network, Precision};
use schedule::{Nth, Value};

/// The sizes of a step's tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) network: Network,
    pub(super) size: ImageSize,
    pub(super) batch: u64,
    pub(super) precision: Precision,
    /// Whether some pixels of the masks do not count.
    pub(super) ignores: bool,
}

/// One convolution, described by the larger of its two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConvSize {
    pub(super) batch: u64,
    pub(super) inputs: u64,
    pub(super) outputs: u64,
    pub(super) height: u64,
    pub(super) width: u64,
    /// Elements of the kernel: 9, 4 or 1.
    pub(super) taps: u64,
    pub(super) stride: u64,
    pub(super) precision: Precision,
}

impl ConvSize {
    /// Bytes of one number of an activation.
    pub(super) const fn element_bytes(&self) -> u64 {
        self.precision.activation_bytes()
    }

    /// Bytes of the weight in the type of activations.
    pub(super) const fn weight_bytes(&self) -> u64 {
        self.weight_elements().saturating_mul(self.element_bytes())
    }

    /// Bytes of the weight in fp32, like the parameter.
    pub(super) const fn parameter_bytes(&self) -> u64 {
        self.weight_elements().saturating_mul(4)
    }

    const fn weight_elements(&self) -> u64 {
        self.inputs
            .saturating_mul(self.outputs)
            .saturating_mul(self.taps)
    }

    /// Pixels of all images that it reads; a transposed convolution reads the smaller image.
    pub(super) const fn input_pixels(&self) -> u64 {
        self.output_pixels() / (self.stride * self.stride)
    }

    /// Pixels of all images that it writes.
    pub(super) const fn output_pixels(&self) -> u64 {
        let image = self.height.saturating_mul(self.width);
        self.batch.saturating_mul(image)
    }

    /// Whether libtorch uses its own kernels instead of oneDNN's (`use_mkldnn` of its
    /// `Convolution.cpp`): for fp32 and one image with few elements.
    pub(super) const fn is_small(&self) -> bool {
        const FEW: u64 = 20_480;
        let pixels = self.height.saturating_mul(self.width) / (self.stride * self.stride);
        !self.precision.is_half() && self.batch == 1 && self.inputs.saturating_mul(pixels) <= FEW
    }

    /// Whether a row of a block of input and gradient fits the cache size that oneDNN plans for.
    pub(super) const fn full_spatial(&self) -> bool {
        const AT_HAND_BYTES: u64 = 48 * 1024;
        32 * (2 * self.width + 2) <= AT_HAND_BYTES && self.taps > 1
    }
}

impl Sizes {
    pub(super) const fn depth(&self) -> usize {
        self.network.depth as usize
    }

    pub(super) const fn num_stages(&self) -> usize {
        2 * self.depth() + 1
    }

    /// The stage whose output an up's skip is.
    pub(super) const fn skip_of(&self, up: usize) -> usize {
        match self.network.stage(up).skip {
            Some(skip) => skip,
            None => up,
        }
    }

    /// How many times the image is halved at a stage.
    pub(super) const fn level(&self, stage: usize) -> u32 {
        self.network.stage(stage).level
    }

    pub(super) fn channels(&self, stage: usize) -> u64 {
        self.network.stage(stage).channels.into()
    }

    /// Channels that a stage's first convolution reads.
    pub(super) fn inputs(&self, stage: usize) -> u64 {
        self.network.stage(stage).in_channels.into()
    }

    fn numbers(&self, level: u32, channels: u64) -> u64 {
        let pixels = self.size.pixels().checked_shr(2 * level).unwrap_or(0);
        self.batch.saturating_mul(channels).saturating_mul(pixels)
    }

    /// A tensor with the image size of a stage.
    pub(super) fn map(&self, stage: usize, channels: u64) -> u64 {
        self.numbers(self.level(stage), channels)
            .saturating_mul(self.precision.activation_bytes())
    }

    /// The input of a stage's first convolution.
    pub(super) fn input_map(&self, stage: usize) -> u64 {
        self.map(stage, self.inputs(stage))
    }

    /// The output of one of a stage's convolutions.
    pub(super) fn output_map(&self, stage: usize) -> u64 {
        self.map(stage, self.channels(stage))
    }

    /// Indices of a stage's pooled input, with eight bytes each.
    pub(super) fn indices(&self, stage: usize) -> u64 {
        self.numbers(self.level(stage), self.inputs(stage))
            .saturating_mul(8)
    }

    /// Images in fp32, as the caller provides them.
    pub(super) fn images(&self) -> u64 {
        self.numbers(0, u64::from(self.network.in_channels))
            .saturating_mul(4)
    }

    /// Masks, with one byte per pixel.
    pub(super) fn masks(&self) -> u64 {
        self.numbers(0, 1)
    }

    /// Images in the type of activations.
    pub(super) fn cast_images(&self) -> u64 {
        if self.is_half() { self.images() / 2 } else { 0 }
    }

    /// Logits or probabilities in fp32.
    pub(super) fn logits_fp32(&self) -> u64 {
        self.numbers(0, u64::from(self.network.classes))
            .saturating_mul(4)
    }

    pub(super) fn logits(&self) -> u64 {
        self.logits_fp32() / 4 * self.precision.activation_bytes()
    }

    pub(super) const fn is_half(&self) -> bool {
        self.precision.is_half()
    }

    fn conv_of(&self, stage: usize, taps: u64, inputs: u64, outputs: u64) -> ConvSize {
        let level = self.level(stage);
        let side = |side: u32| u64::from(side.checked_shr(level).unwrap_or(0));
        ConvSize {
            batch: self.batch,
            inputs,
            outputs,
            height: side(self.size.height),
            width: side(self.size.width),
            taps,
            stride: if taps == 4 { 2 } else { 1 },
            precision: self.precision,
        }
    }

    pub(super) fn conv(&self, stage: usize, nth: Nth) -> ConvSize {
        let inputs = match nth {
            Nth::First => self.inputs(stage),
            Nth::Second => self.channels(stage),
        };
        self.conv_of(stage, 9, inputs, self.channels(stage))
    }

    /// The convolution over one half of a concatenation.
    pub(super) fn half_conv(&self, stage: usize) -> ConvSize {
        self.conv(stage, Nth::Second)
    }

    /// The transposed convolution of a stage, described by its output.
    pub(super) fn up(&self, stage: usize) -> ConvSize {
        let channels = self.channels(stage);
        self.conv_of(stage, 4, channels.saturating_mul(2), channels)
    }

    pub(super) fn head(&self) -> ConvSize {
        let classes = u64::from(self.network.classes);
        self.conv_of(0, 1, self.channels(0), classes)
    }

    pub(super) fn of(&self, value: Value) -> u64 {
        match value {
            Value::Image => 0,
            Value::Logits | Value::GradLogits => self.logits(),
            Value::Input(s) | Value::GradInput(s) => self.input_map(s),
            Value::Up(s)
            | Value::GradUp(s)
            | Value::Conv(s, _)
            | Value::Act(s, _)
            | Value::GradConv(s, _)
            | Value::GradAct(s, _) => self.output_map(s),
        }
    }

    /// Whole rows of a stage's activation: at most `part_bytes`, but at least two rows.
    pub(super) fn part(&self, stage: usize, part_bytes: u64) -> u64 {
        let whole = self.output_map(stage);
        let height = u64::from(self.size.height) >> self.level(stage);
        let rows = self.batch.saturating_mul(height).max(1);
        let row = whole / rows;
        whole.min((part_bytes / row.max(1)).max(2).saturating_mul(row))
    }
}
