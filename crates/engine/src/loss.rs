//! The loss that training minimises: half cross-entropy, half soft Dice.

use tch::{Kind, Reduction, Tensor};
use torch_ext::Result;
use torch_ext::ops::{add_scalar, mul_scalar};

/// Keeps the Dice of an empty mask defined.
const EPS: f64 = 1e-7;

/// `logits`: `[N, C, H, W]`, any floating dtype; `masks`: `[N, H, W]` of class indices, u8 or
/// int64. One class: binary cross-entropy with logits and Dice of the foreground. Several:
/// cross-entropy and the mean Dice of the classes. A scalar in fp32.
///
/// # Errors
/// If shapes do not fit, or memory runs out.
pub fn segmentation_loss(logits: &Tensor, masks: &Tensor) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    let classes = logits.size()[1];
    let (entropy, probabilities, targets) = if classes == 1 {
        let targets = masks.f_unsqueeze(1)?.f_to_kind(Kind::Float)?;
        let entropy = logits.f_binary_cross_entropy_with_logits(
            &targets,
            None::<&Tensor>,
            None::<&Tensor>,
            Reduction::Mean,
        )?;
        (entropy, logits.f_sigmoid()?, targets)
    } else {
        let masks = masks.f_to_kind(Kind::Int64)?;
        let entropy = logits.f_cross_entropy_loss(
            &masks,
            None::<&Tensor>,
            Reduction::Mean,
            // The masks are checked, so no index has to be ignored.
            -100,
            0.0,
        )?;
        let targets = masks
            .f_one_hot(classes)?
            .f_permute([0, 3, 1, 2])?
            .f_to_kind(Kind::Float)?;
        (entropy, logits.f_softmax(1, Kind::Float)?, targets)
    };
    let dice = soft_dice(&probabilities, &targets)?;
    // 0.5 * entropy + 0.5 * (1 - dice)
    mul_scalar(&add_scalar(&entropy.f_sub(&dice)?, 1.0)?, 0.5)
}

/// Soft Dice per sample and channel, averaged: both `[N, C, H, W]`.
fn soft_dice(probabilities: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let over_pixels = |t: &Tensor| t.f_sum_dim_intlist([2, 3].as_slice(), false, Kind::Float);
    let intersection = over_pixels(&probabilities.f_mul(targets)?)?;
    let total = over_pixels(probabilities)?.f_add(&over_pixels(targets)?)?;
    let twice = add_scalar(&mul_scalar(&intersection, 2.0)?, EPS)?;
    let dice = twice.f_div(&add_scalar(&total, EPS)?)?;
    Ok(dice.f_mean(Kind::Float)?)
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
        let right = segmentation_loss(&(&signs * 40.0), &masks)
            .unwrap()
            .double_value(&[]);
        let wrong = segmentation_loss(&(&signs * -40.0), &masks)
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
        let loss = segmentation_loss(&logits, &masks)
            .unwrap()
            .double_value(&[]);
        // Dice per class: 2 * 0.25 / (1 + 1) = 0.25.
        let expected = 0.5 * 4_f64.ln() + 0.5 * 0.75;
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
    }

    #[test]
    fn equals_pytorch() {
        // torch 2.11.0: tests/reference/loss.py prints this figure for these inputs.
        let logits = Tensor::from_slice(&[0.5_f32, -1.0, 2.0, 0.0, 1.5, -0.5]).view([1, 1, 2, 3]);
        let masks = Tensor::from_slice(&[1_u8, 0, 1, 0, 0, 1]).view([1, 2, 3]);
        let loss = segmentation_loss(&logits, &masks)
            .unwrap()
            .double_value(&[]);
        assert!((loss - PYTORCH_LOSS).abs() < 1e-6, "{loss}");
    }

    const PYTORCH_LOSS: f64 = 0.566_092_848_777_771;
}
