//! The loss that training minimises: half cross-entropy, half soft Dice.

use data::Batch;
use data::masks::IGNORE;
use tch::{Kind, Reduction, Tensor};
use torch_ext::Result;
use torch_ext::ops::{add_scalar, indices, mul_scalar, one_value_of};

/// The weight of a pixel's entropy in the loss of its images, if other pixels are ignored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelWeight(pub f64);

impl PixelWeight {
    /// For a whole batch; `None` if all of its pixels count.
    pub fn of(batch: &Batch) -> Option<Self> {
        let counted = batch.masks.iter().filter(|&&class| class != IGNORE).count();
        (counted < batch.masks.len()).then(|| Self(1.0 / counted.max(1) as f64))
    }

    /// For `part` of the `all` images of the batch: the losses of the parts, each times its share of the
    /// images, add up to the loss of the batch.
    #[must_use]
    pub fn of_part(self, part: usize, all: usize) -> Self {
        Self(self.0 * all as f64 / part.max(1) as f64)
    }
}

/// Keeps the Dice of an empty mask defined.
const EPS: f64 = 1e-7;

/// `logits`: `[N, C, H, W]`, any floating dtype; `masks`: `[N, H, W]` of class indices, u8 or
/// int64. One class: binary cross-entropy with logits and Dice of the foreground. Several:
/// cross-entropy and the mean Dice of the classes. A scalar in fp32.
///
/// Without `ignoring`, every pixel counts, and the cross-entropy is the mean over pixels. With it, pixels
/// of [`IGNORE`] count neither in the loss nor in its gradient; the cross-entropy is the sum over the
/// others, each of this weight.
///
/// # Errors
/// If shapes do not fit, or memory runs out.
pub fn segmentation_loss(
    logits: &Tensor,
    masks: &Tensor,
    ignoring: Option<PixelWeight>,
) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    let classes = logits.size()[1];
    let device = logits.device();
    let of_class = |class: u8| -> Result<Tensor> {
        let class = one_value_of(Kind::Uint8, class.into(), device)?;
        Ok(masks.f_eq_tensor(&class)?.f_unsqueeze(1)?)
    };
    let ignored = ignoring.map(|_| of_class(IGNORE)).transpose()?;
    let (entropy, probabilities, targets) = if classes == 1 {
        let targets = match ignoring {
            Some(_) => of_class(1)?,
            None => masks.f_unsqueeze(1)?,
        };
        let targets = targets.f_to_kind(Kind::Float)?;
        let entropy = |reduction| {
            let none = None::<&Tensor>;
            logits.f_binary_cross_entropy_with_logits(&targets, none, none, reduction)
        };
        let entropy = match &ignored {
            Some(ignored) => without(&entropy(Reduction::None)?, ignored)?.f_sum(Kind::Float)?,
            None => entropy(Reduction::Mean)?,
        };
        (entropy, logits.f_sigmoid()?, targets)
    } else {
        let masks = masks.f_to_kind(Kind::Int64)?;
        let reduction = match ignoring {
            Some(_) => Reduction::Sum,
            None => Reduction::Mean,
        };
        let none = None::<&Tensor>;
        let entropy = logits.f_cross_entropy_loss(&masks, none, reduction, IGNORE.into(), 0.0)?;
        // Ignored pixels are of no class.
        let targets = masks
            .f_unsqueeze(-1)?
            .f_eq_tensor(&indices(classes, device)?)?
            .f_permute([0, 3, 1, 2])?
            .f_to_kind(Kind::Float)?;
        (entropy, logits.f_softmax(1, Kind::Float)?, targets)
    };
    let entropy = match ignoring {
        Some(PixelWeight(weight)) => mul_scalar(&entropy, weight)?,
        None => entropy,
    };
    let dice = soft_dice(&probabilities, &targets, ignored.as_ref())?;
    // 0.5 * entropy + 0.5 * (1 - dice)
    mul_scalar(&add_scalar(&entropy.f_sub(&dice)?, 1.0)?, 0.5)
}

/// Soft Dice per sample and channel, averaged: both `[N, C, H, W]`. `ignored` pixels, `[N, 1, H, W]`,
/// are 0 in `targets`. An image without any other pixel has a Dice of 1.
fn soft_dice(probabilities: &Tensor, targets: &Tensor, ignored: Option<&Tensor>) -> Result<Tensor> {
    let over_pixels = |t: &Tensor| t.f_sum_dim_intlist([2, 3].as_slice(), false, Kind::Float);
    let intersection = over_pixels(&probabilities.f_mul(targets)?)?;
    let answers = match ignored {
        Some(ignored) => over_pixels(&without(probabilities, ignored)?)?,
        None => over_pixels(probabilities)?,
    };
    let total = answers.f_add(&over_pixels(targets)?)?;
    let twice = add_scalar(&mul_scalar(&intersection, 2.0)?, EPS)?;
    let dice = twice.f_div(&add_scalar(&total, EPS)?)?;
    Ok(dice.f_mean(Kind::Float)?)
}

/// `t` with 0 at the `ignored` pixels, which get no gradient then.
fn without(t: &Tensor, ignored: &Tensor) -> Result<Tensor> {
    let scalar: [i64; 0] = [];
    let zero = Tensor::f_zeros(scalar, (Kind::Float, t.device()))?;
    Ok(t.f_masked_fill_tensor(ignored, &zero)?)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn a_perfect_answer_costs_nothing_and_a_wrong_one_costs_much() {
        let mut masks = Tensor::zeros([2, 4, 6], (Kind::Uint8, Device::Cpu));
        let _filled = masks.narrow(1, 0, 2).fill_(1);
        masks = masks.contiguous();
        let signs = masks.unsqueeze(1).to_kind(Kind::Float) * 2.0 - 1.0;
        let right = segmentation_loss(&(&signs * 40.0), &masks, None)
            .unwrap()
            .double_value(&[]);
        let wrong = segmentation_loss(&(&signs * -40.0), &masks, None)
            .unwrap()
            .double_value(&[]);
        assert!(right < 1e-6, "{right}");
        assert!(wrong > 20.0, "{wrong}");
    }

    #[test]
    fn several_classes_agree_with_the_formula() {
        // Uniform logits over 4 classes: entropy ln 4; each class has probability 1/4.
        let logits = Tensor::zeros([1, 4, 2, 2], (Kind::Float, Device::Cpu));
        let masks = Tensor::from_slice(&[0_u8, 1, 2, 3]).view([1, 2, 2]);
        let loss = segmentation_loss(&logits, &masks, None)
            .unwrap()
            .double_value(&[]);
        // Dice per class: 2 * 0.25 / (1 + 1) = 0.25.
        let expected = 0.5 * 4_f64.ln() + 0.5 * 0.75;
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
    }

    const LOGITS: [f32; 12] = [
        0.5, -1.0, 2.0, 0.0, 1.5, -0.5, 0.25, -2.0, 1.0, 0.75, -0.25, 3.0,
    ];

    /// The loss and its gradient.
    fn with_gradient(logits: &Tensor, masks: &Tensor, weight: Option<f64>) -> (f64, Vec<f32>) {
        let logits = logits.copy().set_requires_grad(true);
        let loss = segmentation_loss(&logits, masks, weight.map(PixelWeight)).unwrap();
        loss.backward();
        let gradient = logits.grad().contiguous().flatten(0, -1);
        (loss.double_value(&[]), gradient.try_into().unwrap())
    }

    /// The figures are those that tests/reference/loss.py prints with torch 2.11.0.
    #[test]
    fn equals_pytorch() {
        let (i, logits) = (IGNORE, Tensor::from_slice(&LOGITS));
        let first = logits.narrow(0, 0, 6).view([1, 1, 2, 3]);
        let masks = Tensor::from_slice(&[1_u8, 0, 1, 0, 0, 1]).view([1, 2, 3]);
        check_pytorch(
            &first,
            &masks,
            None,
            0.566_092_848_777_771,
            &[
                -0.057_231_456,
                0.031_252_84,
                -0.021_446_837,
                0.052_908_424,
                0.074_837_88,
                -0.077_641_34,
            ],
        );
        let masks = [1, i, 1, 0, 0, i, i, i, 1, 0, i, 0];
        let masks = Tensor::from_slice(&masks).view([2, 2, 3]);
        let one_class = logits.view([2, 1, 2, 3]);
        check_pytorch(
            &one_class,
            &masks,
            Some(1.0 / 7.0),
            0.770_695_984_363_555_9,
            &[
                -0.043_740_61,
                0.0,
                -0.016_008_433,
                0.043_799_646,
                0.063_221_79,
                0.0,
                0.0,
                0.0,
                -0.042_088_2,
                0.055_555_876,
                0.0,
                0.069_501_27,
            ],
        );
        let masks = Tensor::from_slice(&[0_u8, i, 2, 1]).view([1, 2, 2]);
        let three = logits.view([1, 3, 2, 2]);
        check_pytorch(
            &three,
            &masks,
            Some(1.0 / 3.0),
            1.994_711_875_915_527_3,
            &[
                -0.158_733_22,
                0.0,
                0.141_685_66,
                0.008_376_68,
                0.097_992_17,
                0.0,
                0.022_649_905,
                -0.166_914_94,
                0.060_741_052,
                0.0,
                -0.164_335_58,
                0.158_538_27,
            ],
        );
    }

    fn check_pytorch(
        logits: &Tensor,
        masks: &Tensor,
        weight: Option<f64>,
        expected: f64,
        gradient: &[f32],
    ) {
        let (loss, found) = with_gradient(logits, masks, weight);
        assert!((loss - expected).abs() < 1e-6, "{loss}");
        for (found, expected) in found.iter().zip(gradient) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            // What is ignored has exactly no gradient.
            assert!(*expected != 0.0 || *found == 0.0);
        }
    }

    #[test]
    fn parts_of_a_batch_add_up_to_it() {
        let mut batch = Batch::new(3, 2, 3);
        for (nth, ignored) in [0, 4, 6, 1].into_iter().enumerate() {
            let mask = (0..6).map(|at| {
                if at < ignored {
                    IGNORE
                } else {
                    u8::from(at > 3)
                }
            });
            let sample = data::Sample {
                image: vec![0; 18],
                mask: mask.collect(),
            };
            batch.push(&sample, nth);
        }
        let masks = Tensor::from_slice(&batch.masks).view([4, 2, 3]);
        let weight = PixelWeight::of(&batch).unwrap();
        for classes in [1, 2] {
            tch::manual_seed(5);
            let logits = Tensor::randn([4, classes, 2, 3], (Kind::Float, Device::Cpu));
            let (whole, _) = with_gradient(&logits, &masks, Some(weight.0));
            let mut sum = 0.0;
            for (from, len) in [(0, 1_u8), (1, 2), (3, 1)] {
                let part = |t: &Tensor| t.narrow(0, from, len.into());
                let weight = weight.of_part(len.into(), batch.len);
                let (loss, gradient) = with_gradient(&part(&logits), &part(&masks), Some(weight.0));
                assert!(gradient.iter().all(|it| it.is_finite()));
                sum += loss * f64::from(len) / batch.len as f64;
            }
            assert!((whole - sum).abs() < 1e-6, "{whole} {sum}");
        }
        batch.masks.fill(0);
        assert_eq!(PixelWeight::of(&batch), None);
        // Nothing counts: nothing is learnt, and nothing is NaN.
        batch.masks.fill(IGNORE);
        let weight = PixelWeight::of(&batch).unwrap();
        let masks = Tensor::from_slice(&batch.masks).view([4, 2, 3]);
        for classes in [1, 2] {
            let logits = Tensor::ones([4, classes, 2, 3], (Kind::Float, Device::Cpu));
            let (loss, gradient) = with_gradient(&logits, &masks, Some(weight.0));
            assert!(
                loss.abs() < 1e-6 && gradient.iter().all(|&it| it == 0.0),
                "{loss}"
            );
        }
    }
}
