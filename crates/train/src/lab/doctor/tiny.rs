//! A network so small that a step takes milliseconds, and the comparison of the results of two such
//! networks.

use std::fmt;

use config::{CheckpointPolicy, ImageSize, Precision, RunConfig};
use tch::{Device, Kind, Tensor};
use torch_ext::ops::add_scalar_;

use crate::error::{Error, Result};
use engine::batch::{MicroBatch, noise};
use engine::compose::FEATURES;
use engine::learner::Learner;
use engine::model::Entry;

/// The size is not square, so that height and width cannot be confused.
const SIZE: ImageSize = ImageSize::new(32, 48);

/// Keeps small fp16 gradients above zero, and is far below the largest fp16 number.
pub(super) const FP16_SCALE: f64 = 1024.0;

/// A checkpoint policy in one of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) recomputes: CheckpointPolicy,
    pub(super) use_reentrant: bool,
    pub(super) split_concat: bool,
}

pub(super) const OFF: Policy = Policy::of(CheckpointPolicy::Off);
pub(super) const OFF_SPLIT: Policy = OFF.with_split();
pub(super) const SELECTIVE: Policy = Policy::of(CheckpointPolicy::Selective);

impl Policy {
    pub(super) const fn of(recomputes: CheckpointPolicy) -> Self {
        Self {
            recomputes,
            use_reentrant: false,
            split_concat: false,
        }
    }

    const fn with_split(self) -> Self {
        Self {
            split_concat: true,
            ..self
        }
    }

    /// All except [`OFF`]. Those with split concatenation come last.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let named = || CheckpointPolicy::NAMED.iter().copied().map(Self::of);
        let forms = named().filter(|policy| *policy != OFF).flat_map(|policy| {
            let reentrant = policy.recomputes.has_segments().then_some(Self {
                use_reentrant: true,
                ..policy
            });
            [policy].into_iter().chain(reentrant)
        });
        let without_segments = named().filter(|policy| !policy.recomputes.has_segments());
        forms.chain(without_segments.map(Self::with_split))
    }
}

/// The name in the report, such as `block-reentrant`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.recomputes.as_str())?;
        if self.use_reentrant {
            f.write_str("-reentrant")?;
        }
        if self.split_concat {
            f.write_str("-split")?;
        }
        Ok(())
    }
}

/// The configuration of a run with this policy and precision, in the memory format of this build.
pub(super) fn config_of(policy: Policy, precision: Precision) -> RunConfig {
    RunConfig {
        img_size: SIZE,
        batch: 2,
        width: 4,
        seed: 7,
        lr: 1e-3,
        use_reentrant: policy.use_reentrant,
        split_concat: policy.split_concat,
        use_channels_last: FEATURES.contains(&"layout"),
        init_scale: FP16_SCALE,
        deterministic: true,
        ..RunConfig::default().with_policy(policy.recomputes)
    }
    .with_precision(precision)
}

/// Images `[N, 3, H, W]` and masks `[N, H, W]`.
pub(super) type Batch = (Tensor, Tensor);

/// A network in training.
#[derive(Debug)]
pub(super) struct Tiny {
    pub(super) learner: Learner,
    config: RunConfig,
}

impl Tiny {
    pub(super) fn new(config: RunConfig, device: Device, precision: Precision) -> Result<Self> {
        let learner = Learner::new(&config, device, precision)?;
        Ok(Self { learner, config })
    }

    /// A batch of noise, determined by `seed`.
    pub(super) fn batch(&self, seed: u64) -> Result<Batch> {
        Ok(self.learner.upload.batch(&noise(&self.config, seed))?)
    }

    /// Runs forward and backward; gradients exist afterwards.
    pub(super) fn gradients(&self, (images, masks): &Batch) -> engine::Result<()> {
        let whole = [MicroBatch::whole(images, masks)];
        self.learner.accumulate_gradients(whole, &mut ())
    }

    /// Updates the parameters with the present gradients, and clears the gradients.
    pub(super) fn update(&mut self) -> Result<()> {
        let _is_skipped = self.learner.optimizer_step()?;
        self.clear()
    }

    pub(super) fn clear(&mut self) -> Result<()> {
        Ok(self.learner.zero_grad()?)
    }

    /// Adds `by` to the weights of one output channel, in the middle of the decoder.
    pub(super) fn alter(&self, by: f64) -> Result<()> {
        let weight = self
            .learner
            .model
            .parameters()
            .get("up_convs.1.conv.3.weight");
        let weight = weight.ok_or_else(|| missing("a weight of this name"))?;
        let _no_grad = tch::no_grad_guard();
        Ok(add_scalar_(&weight.f_narrow(0, 0, 1)?, by)?)
    }

    /// Copies of all gradients, by name.
    pub(super) fn named_gradients(&self) -> Result<Vec<(String, Tensor)>> {
        let copy = |entry: &Entry| {
            let gradient = entry.tensor.grad();
            if !gradient.defined() {
                return Err(missing(&format!("a gradient of `{}`", entry.spec.name)));
            }
            Ok((entry.spec.name.clone(), copied(&gradient)?))
        };
        let entries = self.learner.model.parameters().entries().iter();
        let trainable = entries.filter(|entry| entry.spec.role.is_trainable());
        trainable.map(copy).collect()
    }

    /// Copies of parameters (if `trainable`) or of BatchNorm's buffers, by name.
    pub(super) fn named_state(&self, trainable: bool) -> Result<Vec<(String, Tensor)>> {
        let entries = self.learner.model.parameters().entries().iter();
        let wanted = entries.filter(|entry| entry.spec.role.is_trainable() == trainable);
        wanted
            .map(|entry| Ok((entry.spec.name.clone(), copied(&entry.tensor)?)))
            .collect()
    }
}

pub(super) fn copied(tensor: &Tensor) -> Result<Tensor> {
    let detached = tensor.f_detach()?;
    let mut copy = detached.f_empty_like()?;
    copy.f_copy_(&detached)?;
    Ok(copy)
}

pub(super) fn missing(what: &str) -> Error {
    torch_ext::Error::InvalidArgument(format!("there is not {what}")).into()
}

/// How two lists of the same tensors differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Comparison {
    pub(super) num: usize,
    /// The number of tensors that are equal bit for bit.
    pub(super) num_equal: usize,
    /// Norm of the difference of all tensors, seen as one vector, relative to the norm of the second
    /// list. A single tensor says less: the gradient of a bias in front of batch norm is pure
    /// rounding error.
    pub(super) relative: f64,
}

impl Comparison {
    pub(super) fn of(ours: &[(String, Tensor)], theirs: &[(String, Tensor)]) -> Result<Self> {
        if ours.len() != theirs.len() {
            return Err(missing("the same number of tensors on both sides"));
        }
        let (mut num_equal, mut difference, mut length) = (0, 0.0, 0.0);
        for ((_, a), (_, b)) in ours.iter().zip(theirs) {
            num_equal += usize::from(a.f_equal(b)?);
            let (a, b) = (a.f_to_kind(Kind::Double)?, b.f_to_kind(Kind::Double)?);
            difference += square_sum(&a.f_sub(&b)?)?;
            length += square_sum(&b)?;
        }
        Ok(Self {
            num: ours.len(),
            num_equal,
            relative: (difference / length.max(f64::MIN_POSITIVE)).sqrt(),
        })
    }

    pub(super) fn all_equal(&self) -> bool {
        self.num_equal == self.num
    }

    /// The larger of two differences; a non-finite one counts as larger.
    pub(super) fn worse(self, other: Self) -> Self {
        if self.relative >= other.relative || self.relative.is_nan() {
            self
        } else {
            other
        }
    }
}

fn square_sum(tensor: &Tensor) -> Result<f64> {
    Ok(tensor
        .f_mul(tensor)?
        .f_sum(Kind::Double)?
        .f_double_value(&[])?)
}

/// Largest difference between two tensors, relative to the largest value of the second.
pub(super) fn relative_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let (a, b) = (a.f_to_kind(Kind::Double)?, b.f_to_kind(Kind::Double)?);
    let largest = |t: &Tensor| -> Result<f64> { Ok(t.f_abs()?.f_max()?.f_double_value(&[])?) };
    let scale = largest(&b)?.max(f64::MIN_POSITIVE);
    Ok(largest(&a.f_sub(&b)?)? / scale)
}

/// Names of gradients that are zero everywhere.
pub(super) fn zeros_among(gradients: &[(String, Tensor)]) -> Result<Vec<&str>> {
    let mut zeros = Vec::new();
    for (name, gradient) in gradients {
        if gradient.f_count_nonzero(None)?.f_int64_value(&[])? == 0 {
            zeros.push(name.as_str());
        }
    }
    Ok(zeros)
}
